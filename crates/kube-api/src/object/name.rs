//! Names: which are well-formed (the names page; RFC 1123), and those that the server makes.

/// Letters of names that the server makes: none that spell words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How much of a name that the server makes is random.
const RANDOM_LEN: usize = 5;
/// The longest beginning of a name that the server makes.
const BASE_MAX: usize = 63 - RANDOM_LEN;

/// A name with this beginning, made from random bytes.
pub fn generate(base: &str, random: [u8; RANDOM_LEN]) -> String {
    let base: String = base.chars().take(BASE_MAX).collect();
    let end = random.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    end.iter().fold(base, |mut name, letter| {
        name.push(*letter);
        name
    })
}

/// Whether it is a DNS label (RFC 1123): at most 63 of lower case letters, digits and `-`, with no `-` at either end.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether it is a DNS name: labels with dots between them, at most 253 characters.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| is_dns_label(label) || (label.len() > 63 && is_long_label(label)))
}

// Kubernetes bounds the whole name, not its labels.
fn is_long_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// Whether it can be the key of a label: `[prefix/]name`.
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_qualified(name),
        None => is_qualified(text),
    }
}

/// Whether it can be the value of a label; it may be empty.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified(text)
}

fn is_qualified(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let outer = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

/// Whether it can be the name in a path at all.
pub fn is_path_segment(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '%'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_names() {
        assert_eq!(generate("web-", [0, 1, 2, 26, 27]), "web-bcd9b");
        assert_eq!(generate(&"x".repeat(80), [0; 5]).len(), 63);
    }

    #[test]
    fn well_formed() {
        let check = |judge: fn(&str) -> bool, good: &[&str], bad: &[&str]| {
            good.iter().for_each(|text| assert!(judge(text), "{text}"));
            bad.iter().for_each(|text| assert!(!judge(text), "{text}"));
        };
        check(is_dns_label, &["a", "a-1", "9"], &["", "-a", "a-", "A", "a.b", "a_b"]);
        check(is_dns_subdomain, &["a", "a.b-c.d"], &["", ".a", "a..b", "a.", "A.b"]);
        check(is_label_key, &["app", "kubernetes.io/os", "a_B.c"], &["", "/a", "a/", "-a", "a b", "x/y/z"]);
        check(is_label_value, &["", "a", "A.b_c"], &["-", "a b", "a/"]);
    }
}
