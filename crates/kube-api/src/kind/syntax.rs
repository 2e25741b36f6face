//! How names, labels, ports and addresses are written, with Kubernetes' messages for those that are not.

use std::net::IpAddr;

use serde_json::Value;

use super::{Errors, Path};

/// What is wrong with a text; nothing if it is well-formed.
pub type Wrong = Option<String>;

/// Judges a text.
pub type Rule = fn(&str) -> Wrong;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const WILDCARD: &str = r"a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// An RFC 1123 label: at most 63 of lower case letters, digits and `-`.
pub fn label(text: &str) -> Wrong {
    too_long(text, 63).or_else(|| (!is_label(text)).then(|| LABEL.to_owned()))
}

/// An RFC 1035 label: one that starts with a letter.
pub fn label_1035(text: &str) -> Wrong {
    let well_formed = is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    too_long(text, 63).or_else(|| (!well_formed).then(|| LABEL_1035.to_owned()))
}

/// RFC 1123 labels, joined by dots, at most 253 characters.
pub fn subdomain(text: &str) -> Wrong {
    too_long(text, 253).or_else(|| (!text.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned()))
}

/// `*.` before a subdomain.
pub fn wildcard(text: &str) -> Wrong {
    let well_formed = text.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label));
    too_long(text, 253).or_else(|| (!well_formed).then(|| WILDCARD.to_owned()))
}

/// What can be a segment of a path.
pub fn segment(text: &str) -> Wrong {
    match text {
        "." | ".." => Some(format!("may not be '{text}'")),
        _ => ["/", "%"].iter().find(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")),
    }
}

/// The value of a label; may be empty.
pub fn label_value(text: &str) -> Wrong {
    let well_formed = text.is_empty() || is_name_part(text);
    too_long(text, 63).or_else(|| (!well_formed).then(|| LABEL_VALUE.to_owned()))
}

/// `name` or `example.com/name`: keys of labels and annotations, names of resources and finalizers.
pub fn qualified_name(text: &str) -> Wrong {
    let (prefix, name) = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (None, *name),
        [prefix, name] => (Some(*prefix), *name),
        _ => {
            let with = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return Some(format!("a qualified name {NAME_PART} {with}"));
        }
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some("prefix part must be non-empty".to_owned());
        }
        if let Some(wrong) = subdomain(prefix) {
            return Some(format!("prefix part {wrong}"));
        }
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    too_long(name, 63).map(|wrong| format!("name part {wrong}")).or_else(|| {
        let wrong = format!("name part {NAME_PART}");
        (!is_name_part(name)).then_some(wrong)
    })
}

/// A key of a `ConfigMap` or `Secret`.
pub fn config_key(text: &str) -> Wrong {
    let known = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    match text {
        _ if text.len() > 253 => too_long(text, 253),
        "" => Some(CONFIG_KEY.to_owned()),
        _ if !known => Some(CONFIG_KEY.to_owned()),
        "." => Some("must not be '.'".to_owned()),
        _ if text.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// The name of an environment variable.
pub fn variable(text: &str) -> Wrong {
    let well_formed = !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    let wrong = "a valid environment variable name must consist only of printable ASCII characters other than '='";
    (!well_formed).then(|| wrong.to_owned())
}

/// The name of a port (RFC 6335).
pub fn port_name(text: &str) -> Wrong {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let wrong = if text.len() > 15 {
        "must be no more than 15 characters"
    } else if !text.bytes().all(known) {
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    } else if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        "must contain at least one letter (a-z)"
    } else if text.contains("--") {
        "must not contain consecutive hyphens"
    } else if text.starts_with('-') || text.ends_with('-') {
        "must not begin or end with a hyphen"
    } else {
        return None;
    };
    Some(wrong.to_owned())
}

/// The number of a port.
pub fn port_number(number: i64) -> Wrong {
    (!(1..=65535).contains(&number)).then(|| "must be between 1 and 65535, inclusive".to_owned())
}

/// An address.
pub fn ip(text: &str) -> Wrong {
    let wrong = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    text.parse::<IpAddr>().is_err().then(|| wrong.to_owned())
}

/// A block of addresses.
pub fn cidr(text: &str) -> Wrong {
    let parsed = text.split_once('/').and_then(|(address, length)| {
        let most = if address.parse::<IpAddr>().ok()?.is_ipv4() { 32 } else { 128 };
        length.parse::<u8>().ok().filter(|length| *length <= most)
    });
    let wrong = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    parsed.is_none().then(|| wrong.to_owned())
}

/// A number that is not negative.
pub fn not_negative(number: i64) -> Wrong {
    (number < 0).then(|| "must be greater than or equal to 0".to_owned())
}

/// Checks a text, if there is one.
pub fn check(value: Option<&Value>, path: &Path, rule: Rule, errors: &mut Errors) {
    if let Some(text) = value.and_then(Value::as_str)
        && let Some(wrong) = rule(text)
    {
        errors.invalid(path, text, wrong);
    }
}

/// Checks a number, if there is one.
pub fn check_number(value: Option<&Value>, path: &Path, rule: fn(i64) -> Wrong, errors: &mut Errors) {
    if let Some(number) = value.and_then(Value::as_i64)
        && let Some(wrong) = rule(number)
    {
        errors.invalid(path, number, wrong);
    }
}

/// Checks the number or name of a port.
pub fn check_port(value: Option<&Value>, path: &Path, errors: &mut Errors) {
    match value {
        Some(Value::String(_)) => check(value, path, port_name, errors),
        Some(Value::Number(_)) => check_number(value, path, port_number, errors),
        _ => errors.invalid(path, 0, "must be between 1 and 65535, inclusive"),
    }
}

/// Checks labels: keys and values.
pub fn check_labels(labels: Option<&Value>, path: &Path, errors: &mut Errors) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        if let Some(wrong) = qualified_name(key) {
            errors.invalid(path, key.as_str(), wrong);
        }
        check(Some(value), path, label_value, errors);
    }
}

fn is_label(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(known) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_name_part(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.bytes().all(known) && text.starts_with(outer) && text.ends_with(outer)
}

fn too_long(text: &str, most: usize) -> Wrong {
    (text.len() > most).then(|| format!("must be no more than {most} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_formed() {
        let check = |rule: Rule, good: &[&str], bad: &[&str]| {
            good.iter().for_each(|text| assert_eq!(rule(text), None, "{text}"));
            bad.iter().for_each(|text| assert!(rule(text).is_some(), "{text}"));
        };
        check(label, &["a", "9-a"], &["", "A", "-a", "a.b", &"a".repeat(64)]);
        check(label_1035, &["a9"], &["9a", ""]);
        check(subdomain, &["a.b", "a"], &["a..b", "A.b", ""]);
        check(wildcard, &["*.a.b"], &["*", "*.", "a.*", "*.*.a"]);
        check(label_value, &["", "a_b.C"], &["-a", "a b"]);
        check(qualified_name, &["a", "x.io/A_b"], &["", "/a", "x/", "a/b/c", "X/a", "a b"]);
        check(config_key, &["a.B_c-", ".x"], &["", ".", "..", "a/b"]);
        check(port_name, &["http", "h2c-1"], &["80", "a--b", "-a", "http_", "a-very-long-port-name"]);
        check(cidr, &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33", "x/8"]);
    }
}
