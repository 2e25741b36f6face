//! The path of a request as rules see it: one spelling of what has many, so that nobody walks around a rule.

use thiserror::Error;

/// A path whose dots and percent signs have been read (RFC 3986, 6.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Normal {
    /// It was written the plain way.
    AsIs,
    /// Octets were written as %XX that need not be. The same path, so the backend gets it as it came.
    Decoded(String),
    /// It went up and down (`/a/../b`). The backend gets this: otherwise it would see another path than the rule did.
    Resolved(String),
}

/// A path that means nothing, or nothing good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadPath {
    /// Not from the root.
    #[error("the path does not begin with /")]
    Relative,
    /// A percent sign without two hexadecimal digits.
    #[error("a % in the path is not followed by two hexadecimal digits")]
    Percent,
    /// `%00`.
    #[error("the path contains a zero octet")]
    Zero,
    /// `..` at the root.
    #[error("the path leads above the root")]
    AboveRoot,
}

/// Reads a path, without its query.
///
/// # Errors
/// When it should be refused with status 400.
pub fn normalise(path: &str) -> Result<Normal, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::Relative);
    }
    let decoded = if path.contains('%') { Some(decode(path)?) } else { None };
    let plain = decoded.as_deref().unwrap_or(path);
    if plain.contains("/.") && plain.split('/').any(|element| matches!(element, "." | "..")) {
        return resolve(plain).map(Normal::Resolved);
    }
    Ok(match decoded {
        Some(decoded) if decoded != path => Normal::Decoded(decoded),
        _ => Normal::AsIs,
    })
}

/// Decodes what is never special in a path; the rest, `%2F` above all, stays as it is, in capital letters.
fn decode(path: &str) -> Result<String, BadPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = digits.ok_or(BadPath::Percent)?;
        match u8::from_str_radix(digits, 16).map_err(|_| BadPath::Percent)? {
            0 => return Err(BadPath::Zero),
            octet if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) => decoded.push(char::from(octet)),
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = &after[2..];
    }
    decoded.push_str(rest);
    Ok(decoded)
}

/// Walks the dots (RFC 3986, 5.2.4).
fn resolve(path: &str) -> Result<String, BadPath> {
    let mut elements = Vec::new();
    let mut open = false;
    for element in path[1..].split('/') {
        open = matches!(element, "." | "..");
        match element {
            "." => {}
            ".." => drop(elements.pop().ok_or(BadPath::AboveRoot)?),
            other => elements.push(other),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for element in &elements {
        resolved.push('/');
        resolved.push_str(element);
    }
    if open || elements.is_empty() {
        resolved.push('/');
    }
    Ok(resolved)
}

/// For the fuzzer: what is normal stays so, and nothing walks any more.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    let normal = match normalise(path) {
        Ok(Normal::AsIs) => path.to_owned(),
        Ok(Normal::Decoded(path) | Normal::Resolved(path)) => path,
        Err(_) => return,
    };
    assert!(normal.starts_with('/') && normal.len() <= path.len().max(1), "{normal}");
    assert!(normal.split('/').all(|element| !matches!(element, "." | "..")), "{normal}");
    assert_eq!(normalise(&normal), Ok(Normal::AsIs));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_paths() {
        for (path, expected) in [
            ("/", Ok(Normal::AsIs)),
            ("/a//b/", Ok(Normal::AsIs)),
            ("/a/.b/..c/...", Ok(Normal::AsIs)),
            ("/a%2Fb", Ok(Normal::AsIs)),
            ("/a%2fb", Ok(Normal::Decoded("/a%2Fb".into()))),
            ("/%61%7e", Ok(Normal::Decoded("/a~".into()))),
            ("/a/../b", Ok(Normal::Resolved("/b".into()))),
            ("/a/%2e%2E/b", Ok(Normal::Resolved("/b".into()))),
            ("/a/./b/.", Ok(Normal::Resolved("/a/b/".into()))),
            ("/a/..", Ok(Normal::Resolved("/".into()))),
            ("/.", Ok(Normal::Resolved("/".into()))),
            ("/a//../b", Ok(Normal::Resolved("/a/b".into()))),
            ("/%252e%252e/", Ok(Normal::AsIs)),
            ("/..", Err(BadPath::AboveRoot)),
            ("/a/../../b", Err(BadPath::AboveRoot)),
            ("/%", Err(BadPath::Percent)),
            ("/%2", Err(BadPath::Percent)),
            ("/%+1", Err(BadPath::Percent)),
            ("/%0g", Err(BadPath::Percent)),
            ("/a%00", Err(BadPath::Zero)),
            ("a", Err(BadPath::Relative)),
            ("", Err(BadPath::Relative)),
            ("*", Err(BadPath::Relative)),
        ] {
            assert_eq!(normalise(path), expected, "{path}");
            fuzz(path.as_bytes());
        }
    }

    #[test]
    fn corpus() {
        crate::replay::replay("request_paths", fuzz);
    }
}
