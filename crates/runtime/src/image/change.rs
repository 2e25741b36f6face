//! Changes to an image's configuration in the words of a Dockerfile, as `docker commit --change` and
//! `docker import --change` take them.

use super::config::{Config, Healthcheck, Present};
use super::error::ImageError;

const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies instructions in order.
pub(crate) fn apply(config: &mut Config, changes: &[String]) -> Result<(), ImageError> {
    let lines = changes.iter().flat_map(|change| change.lines()).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).try_for_each(|line| apply_one(config, line))
}

fn apply_one(config: &mut Config, line: &str) -> Result<(), ImageError> {
    let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (instruction, rest) = (instruction.to_uppercase(), rest.trim());
    if rest.is_empty() {
        return Err(ImageError::Invalid(format!("{instruction} requires at least one argument")));
    }
    match instruction.as_str() {
        "CMD" => config.cmd = Some(command(config, rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(config, rest)),
        "ENV" => pairs(rest, "ENV")?.into_iter().for_each(|(name, value)| set_env(config, &name, &value)),
        "EXPOSE" => {
            for word in rest.split_whitespace() {
                config.exposed_ports.extend(ports(word)?.map(|port| (port, Present {})));
            }
        }
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(config, rest)?),
        "LABEL" => config.labels.extend(pairs(rest, "LABEL")?),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "USER" => config.user = rest.to_owned(),
        "VOLUME" => {
            let paths = json_list(rest).unwrap_or_else(|| words(rest));
            config.volumes.extend(paths.into_iter().map(|path| (path, Present {})));
        }
        "WORKDIR" => config.working_dir = working_dir(&config.working_dir, rest),
        other => return Err(ImageError::Invalid(format!("{other} is not a valid change command"))),
    }
    Ok(())
}

/// A JSON list is the command itself; anything else is for the shell.
fn command(config: &Config, text: &str) -> Vec<String> {
    json_list(text).unwrap_or_else(|| {
        let shell = config.shell.clone().unwrap_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec());
        shell.into_iter().chain([text.to_owned()]).collect()
    })
}

fn json_list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

fn set_env(config: &mut Config, name: &str, value: &str) {
    let line = format!("{name}={value}");
    let same_name = |other: &&mut String| other.split('=').next() == Some(name);
    match config.env.iter_mut().find(same_name) {
        Some(old) => *old = line,
        None => config.env.push(line),
    }
}

/// `a=1 b="2 3"`, or the old form `a 1`.
fn pairs(text: &str, instruction: &str) -> Result<Vec<(String, String)>, ImageError> {
    let words = words(text);
    if let [first, ..] = &words[..]
        && !first.contains('=')
    {
        let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if value.is_empty() {
            return Err(ImageError::Invalid(format!("{instruction} must have two arguments")));
        }
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(ImageError::Invalid(format!(
            "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
        ))),
    };
    words.into_iter().map(pair).collect()
}

/// Words as a shell would cut them: quotes and backslashes protect blanks.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn ports(text: &str) -> Result<impl Iterator<Item = String> + use<'_>, ImageError> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last && matches!(protocol, "tcp" | "udp" | "sctp") => {
            Ok((first..=last).map(move |port| format!("{port}/{protocol}")))
        }
        _ => Err(ImageError::Invalid(format!("invalid containerPort: {text}"))),
    }
}

fn healthcheck(config: &Config, text: &str) -> Result<Healthcheck, ImageError> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let invalid = || ImageError::Invalid(format!("invalid HEALTHCHECK option --{option}"));
        let ns = || nanoseconds(value).ok_or_else(invalid);
        match name {
            "interval" => check.interval = ns()?,
            "timeout" => check.timeout = ns()?,
            "start-period" => check.start_period = ns()?,
            "start-interval" => check.start_interval = ns()?,
            "retries" => check.retries = value.parse().map_err(|_| invalid())?,
            _ => return Err(invalid()),
        }
        rest = after.trim_start();
    }
    let (kind, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match kind.to_uppercase().as_str() {
        "NONE" => vec!["NONE".to_owned()],
        "CMD" if !arguments.is_empty() => match json_list(arguments.trim()) {
            Some(list) => ["CMD".to_owned()].into_iter().chain(list).collect(),
            None if config.shell.is_some() => {
                ["CMD".to_owned()].into_iter().chain(command(config, arguments.trim())).collect()
            }
            None => vec!["CMD-SHELL".to_owned(), arguments.trim().to_owned()],
        },
        _ => return Err(ImageError::Invalid(format!("unknown type {kind:?} in HEALTHCHECK (try CMD)"))),
    };
    Ok(check)
}

/// Go's durations, `1m30s`, `500ms`, as nanoseconds.
fn nanoseconds(text: &str) -> Option<i64> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    (!text.is_empty() && total < i64::MAX as f64).then_some(total as i64)
}

fn working_dir(current: &str, next: &str) -> String {
    if next.starts_with('/') { next.to_owned() } else { format!("{}/{next}", current.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(changes: &str, expected: serde_json::Value) {
        let mut config = Config { env: vec!["A=0".to_owned()], working_dir: "/w".to_owned(), ..Config::default() };
        let found = match apply(&mut config, &[changes.to_owned()]) {
            Ok(()) => serde_json::to_value(&config).expect("serializes"),
            Err(error) => serde_json::Value::String(error.to_string()),
        };
        match expected.as_object() {
            Some(fields) => fields.iter().for_each(|(key, value)| assert_eq!(&found[key], value, "{changes}")),
            None => assert_eq!(found, expected, "{changes}"),
        }
    }

    #[test]
    fn dockerfile_instructions_change_the_configuration() {
        use serde_json::json;
        check(r#"CMD ["a", "b c"]"#, json!({"Cmd": ["a", "b c"]}));
        check("cmd a b", json!({"Cmd": ["/bin/sh", "-c", "a b"]}));
        check("ENTRYPOINT [\"x\"]\nUSER me", json!({"Entrypoint": ["x"], "User": "me"}));
        check(r#"ENV A=1 B="2 3" C=4\ 5 D='"'"#, json!({"Env": ["A=1", "B=2 3", "C=4 5", "D=\""]}));
        check("ENV A some words", json!({"Env": ["A=some words"]}));
        check("ENV A", json!("ENV must have two arguments"));
        check("EXPOSE 80 53/udp 1-2", json!({"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "1/tcp": {}, "2/tcp": {}}}));
        check("EXPOSE 99999", json!("invalid containerPort: 99999"));
        check("LABEL a=b c", json!("Syntax error - can't find = in \"c\". Must be of the form: name=value"));
        check("VOLUME /a /b", json!({"Volumes": {"/a": {}, "/b": {}}}));
        check("WORKDIR x", json!({"WorkingDir": "/w/x"}));
        check("HEALTHCHECK NONE", json!({"Healthcheck": {"Test": ["NONE"]}}));
        check(
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl x",
            json!({"Healthcheck": {"Test": ["CMD-SHELL", "curl x"], "Interval": 90_000_000_000_i64, "Retries": 2}}),
        );
        check("HEALTHCHECK --interval=5 CMD x", json!("invalid HEALTHCHECK option --interval=5"));
        check("STOPSIGNAL SIGINT", json!({"StopSignal": "SIGINT"}));
        check("RUN x", json!("RUN is not a valid change command"));
        check("CMD", json!("CMD requires at least one argument"));
    }
}
