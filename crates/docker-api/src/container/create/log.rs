//! Where output goes, and what each line of it says of the container besides.

use std::collections::BTreeMap;

use model::{
    ContainerId,
    container::{Log, LogPart},
};
use regex_lite::Regex;

use crate::{
    ApiError,
    wire::{config::Config, host_config::LogConfig},
};

/// Options of `json-file`.
const OPTIONS: [&str; 8] = ["max-size", "max-file", "compress", "env", "env-regex", "labels", "labels-regex", "tag"];
/// Options of every driver: how output waits for the log. Here no container ever waits.
const COMMON_OPTIONS: [&str; 2] = ["mode", "max-buffer-size"];

/// The container, as its log knows it.
pub(super) struct Subject<'a> {
    pub(super) id: &'a ContainerId,
    pub(super) config: &'a Config,
    pub(super) image_id: &'a str,
    /// The host's name.
    pub(super) hostname: &'a str,
}

/// Reads the driver and its options.
pub(super) fn log(config: &LogConfig, subject: &Subject<'_>) -> Result<Log, ApiError> {
    match config.driver.as_str() {
        "none" => Ok(Log::None),
        "" | "json-file" => {
            check(&config.config).and_then(|()| json_file(&config.config, subject)).map_err(ApiError::invalid)
        }
        other => Err(ApiError::invalid(format!("logger: no log driver named '{other}' is registered"))),
    }
}

/// Refuses what no start could make sense of.
fn check(options: &BTreeMap<String, String>) -> Result<(), String> {
    let non_blocking = match options.get("mode").map_or("", String::as_str) {
        "" | "blocking" => false,
        "non-blocking" => true,
        other => return Err(format!("logger: logging mode not supported: {other}")),
    };
    if let Some(size) = options.get("max-buffer-size") {
        if !non_blocking {
            return Err("logger: max-buffer-size option is only supported with 'mode=non-blocking'".to_owned());
        }
        bytes(size, 1024.0).map_err(|error| format!("error parsing option max-buffer-size: {error}"))?;
    }
    let known = |name: &str| OPTIONS.contains(&name) || COMMON_OPTIONS.contains(&name);
    match options.keys().find(|name| !known(name)) {
        Some(name) => Err(format!("unknown log opt '{name}' for json-file log driver")),
        None => Ok(()),
    }
}

fn json_file(options: &BTreeMap<String, String>, subject: &Subject<'_>) -> Result<Log, String> {
    let failed = |why: String| format!("failed to initialize logging driver: {why}");
    let (max_size, max_file) = (max_size(options).map_err(failed)?, max_file(options).map_err(failed)?);
    check_compress(options, max_size.is_some() && max_file > 1).map_err(failed)?;
    Ok(Log::JsonFile { max_size, max_file, attributes: attributes(options, subject).map_err(failed)? })
}

/// Files that were rotated away stay as they are, which their reader does not notice; what makes no sense is refused all the same.
fn check_compress(options: &BTreeMap<String, String>, rotates: bool) -> Result<(), String> {
    match options.get("compress").map_or("false", String::as_str) {
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(()),
        "1" | "t" | "T" | "true" | "True" | "TRUE" if rotates => Ok(()),
        "1" | "t" | "T" | "true" | "True" | "TRUE" => {
            Err("compress cannot be true when max-file is less than 2 or max-size is not set".to_owned())
        }
        other => Err(format!("strconv.ParseBool: parsing {other:?}: invalid syntax")),
    }
}

fn max_size(options: &BTreeMap<String, String>) -> Result<Option<u64>, String> {
    match options.get("max-size").map(String::as_str) {
        None | Some("" | "-1") => Ok(None),
        Some(text) => match bytes(text, 1000.0)? {
            0 => Err("max-size must be a positive number".to_owned()),
            bytes => Ok(Some(bytes)),
        },
    }
}

fn max_file(options: &BTreeMap<String, String>) -> Result<u32, String> {
    let Some(text) = options.get("max-file") else { return Ok(1) };
    let number: i64 = text.parse().map_err(|_| format!("invalid max-file {text:?}: a whole number is expected"))?;
    u32::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| "max-file cannot be less than 1".to_owned())
}

/// Reads `10m`, `1.5GB`, `4096`, with prefixes that are powers of `kilo`.
fn bytes(text: &str, kilo: f64) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let value: f64 = text[..digits].parse().map_err(|_| format!("invalid size: '{text}'"))?;
    let suffix = text[digits..].strip_prefix(' ').unwrap_or(&text[digits..]).to_ascii_lowercase();
    let bare = suffix.strip_suffix("ib").filter(|bare| !bare.is_empty());
    let power = match bare.or(suffix.strip_suffix('b')).unwrap_or(&suffix) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(format!("invalid suffix: '{suffix}'")),
    };
    Ok((value * kilo.powi(power)) as u64)
}

/// The chosen labels, variables and the tag.
fn attributes(
    options: &BTreeMap<String, String>,
    subject: &Subject<'_>,
) -> Result<BTreeMap<String, Vec<LogPart>>, String> {
    let config = subject.config;
    let labels = config.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let env = config.env.iter().filter_map(|variable| variable.split_once('=')).collect();
    let mut attributes = BTreeMap::new();
    for (all, list, pattern) in [(labels, "labels", "labels-regex"), (env, "env", "env-regex")] {
        let chosen = chosen(&all, options.get(list), options.get(pattern))?;
        attributes.extend(chosen.map(|(name, value)| (name.to_owned(), vec![LogPart::Text(value.to_owned())])));
    }
    let tag = tag(options.get("tag").map_or("", String::as_str), subject)?;
    if !tag.is_empty() {
        attributes.insert("tag".to_owned(), tag);
    }
    Ok(attributes)
}

/// Those that a list names or whose names a pattern matches.
fn chosen<'a>(
    all: &BTreeMap<&'a str, &'a str>,
    list: Option<&String>,
    pattern: Option<&String>,
) -> Result<impl Iterator<Item = (&'a str, &'a str)>, String> {
    let pattern = pattern.filter(|pattern| !pattern.is_empty()).map(|pattern| Regex::new(pattern));
    let pattern = pattern.transpose().map_err(|error| format!("error parsing regexp: {error}"))?;
    let is_listed = |name: &str| list.is_some_and(|list| list.split(',').any(|listed| listed == name));
    let is_wanted = |name: &str| is_listed(name) || pattern.as_ref().is_some_and(|pattern| pattern.is_match(name));
    let chosen: Vec<_> = all.iter().map(|(name, value)| (*name, *value)).filter(|(name, _)| is_wanted(name)).collect();
    Ok(chosen.into_iter())
}

/// Reads `{{.Name}}/{{.ID}}`. Of Go's templates that is all that is understood: text, and fields.
fn tag(template: &str, subject: &Subject<'_>) -> Result<Vec<LogPart>, String> {
    let mut parts = Vec::new();
    let mut pieces = template.split("{{");
    let before = pieces.next().map(str::to_owned).map(LogPart::Text);
    parts.extend(before);
    for piece in pieces {
        let refused = || format!("log tag {template:?}: only text and fields like {{{{.Name}}}} are supported");
        let (field, text) = piece.split_once("}}").ok_or_else(refused)?;
        parts.push(field_of(subject, field.trim()).ok_or_else(refused)?);
        parts.push(LogPart::Text(text.to_owned()));
    }
    parts.retain(|part| *part != LogPart::Text(String::new()));
    Ok(parts)
}

fn field_of(subject: &Subject<'_>, field: &str) -> Option<LogPart> {
    let Subject { id, config, image_id, hostname } = subject;
    Some(LogPart::Text(match field {
        ".Name" => return Some(LogPart::Name),
        ".ID" => id.short().to_owned(),
        ".FullID" => id.to_string(),
        ".Command" => {
            config.entrypoint.iter().chain(&config.cmd).flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
        }
        ".ImageID" => image_id.trim_start_matches("sha256:").chars().take(12).collect(),
        ".ImageFullID" => (*image_id).to_owned(),
        ".ImageName" => config.image.clone(),
        ".Hostname" => (*hostname).to_owned(),
        ".DaemonName" => "docker".to_owned(),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Log, String> {
        let config = json!({
            "Image": "box:1", "Entrypoint": ["/entry"], "Cmd": ["serve", "-v"],
            "Env": ["LANG=de", "LEVEL=a=b", "BARE"], "Labels": {"com.a": "1", "com.b": "2", "other": ""},
        });
        let config: Config = serde_json::from_value(config).unwrap();
        let id = ContainerId::from_bytes([0xab; 32]);
        let image_id = format!("sha256:{}", "cd".repeat(32));
        let subject = Subject { id: &id, config: &config, image_id: &image_id, hostname: "host" };
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        log(&LogConfig { driver: String::new(), config: options }, &subject).map_err(|error| error.message)
    }

    #[test]
    fn attributes_are_chosen() {
        let (short, image) = ("ab".repeat(6), "cd".repeat(6));
        for (options, expected) in [
            (&[][..], ""),
            (&[("labels", "com.b,other,absent")], "com.b=2 other="),
            (&[("labels-regex", r"^com\.")], "com.a=1 com.b=2"),
            (&[("labels", "other"), ("labels-regex", "a$")], "com.a=1 other="),
            (&[("env", "LEVEL,BARE,HOME")], "LEVEL=a=b"),
            (&[("env-regex", "^L"), ("labels", ""), ("tag", "")], "LANG=de LEVEL=a=b"),
            (&[("tag", "plain")], "tag=plain"),
            (&[("tag", "{{.Name}}")], "tag=NAME"),
            (&[("tag", "a{{ .Name }}/{{.ID}}{{.ImageName}}")], &format!("tag=aNAME/{short}box:1")),
            (&[("tag", "{{.Command}} {{.ImageID}} {{.Hostname}}")], &format!("tag=/entry serve -v {image} host")),
        ] {
            let Log::JsonFile { attributes, .. } = read(options).unwrap() else { panic!("{options:?}") };
            let value = |part: &LogPart| match part {
                LogPart::Text(text) => text.clone(),
                LogPart::Name => "NAME".to_owned(),
            };
            let shown: Vec<String> = attributes
                .iter()
                .map(|(name, parts)| format!("{name}={}", parts.iter().map(value).collect::<String>()))
                .collect();
            assert_eq!(shown.join(" "), expected, "{options:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("10k", 10_000), ("1.5MB", 1_500_000), ("2 GiB", 2_000_000_000), ("4096", 4096), ("7b", 7)]
        {
            let Ok(Log::JsonFile { max_size, max_file: 1, .. }) = read(&[("max-size", text)]) else { panic!("{text}") };
            assert_eq!(max_size, Some(bytes), "{text}");
        }
    }

    #[test]
    fn refusals() {
        for (options, words) in [
            (&[("size", "1")][..], "unknown log opt 'size' for json-file log driver"),
            (&[("mode", "fast")], "logger: logging mode not supported: fast"),
            (&[("max-buffer-size", "1m")], "logger: max-buffer-size option is only supported with 'mode=non-blocking'"),
            (
                &[("max-buffer-size", "1x"), ("mode", "non-blocking")],
                "error parsing option max-buffer-size: invalid suffix: 'x'",
            ),
            (&[("max-size", "much")], "failed to initialize logging driver: invalid size: 'much'"),
            (&[("max-size", "1kbb")], "failed to initialize logging driver: invalid suffix: 'kbb'"),
            (&[("max-size", "0")], "failed to initialize logging driver: max-size must be a positive number"),
            (&[("max-file", "0")], "failed to initialize logging driver: max-file cannot be less than 1"),
            (
                &[("compress", "true"), ("max-file", "2")],
                "failed to initialize logging driver: compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            (
                &[("compress", "maybe")],
                "failed to initialize logging driver: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (&[("max-file", "-1")], "failed to initialize logging driver: max-file cannot be less than 1"),
            (
                &[("tag", "{{json .}}")],
                "failed to initialize logging driver: log tag \"{{json .}}\": only text and fields like {{.Name}} are supported",
            ),
        ] {
            assert_eq!(read(options).unwrap_err(), words, "{options:?}");
        }
        assert!(read(&[("env-regex", "(")]).unwrap_err().contains("error parsing regexp: "));
        assert!(read(&[("compress", "true"), ("max-size", "1m"), ("max-file", "2")]).is_ok());
        assert!(read(&[("mode", "non-blocking"), ("max-buffer-size", "4m"), ("max-file", "2")]).is_ok());
    }
}
