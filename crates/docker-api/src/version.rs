//! Versions of the API: the prefix of a path, and which ones are answered.

use std::{fmt, str::FromStr};

use crate::ApiError;

/// A version of the API, as in `1.50`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
}

/// The newest that is answered, and what a path without a prefix means.
pub(crate) const NEWEST: Version = Version::new(1, 50);
/// The oldest that is answered.
pub(crate) const OLDEST: Version = Version::new(1, 24);

impl Version {
    /// `Version::new(1, 50)` is `1.50`.
    pub(crate) const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        let number = |digits: &str| digits.parse().map_err(|_| ());
        Ok(Self::new(number(major)?, number(minor)?))
    }
}

/// Splits a path into the version that its prefix asks for and the rest.
pub(crate) fn split(path: &str) -> Result<(Version, &str), ApiError> {
    let Some(prefixed) = path.strip_prefix("/v") else { return Ok((NEWEST, path)) };
    let (prefix, rest) = prefixed.find('/').map_or((prefixed, "/"), |at| prefixed.split_at(at));
    let Ok(version) = prefix.parse::<Version>() else { return Ok((NEWEST, path)) };
    if version > NEWEST {
        return Err(ApiError::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {NEWEST}"
        )));
    }
    if version < OLDEST {
        return Err(ApiError::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
        )));
    }
    Ok((version, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let check = |path: &str, expected: Result<(&str, &str), &str>| {
            let found = split(path).map(|(v, rest)| (v.to_string(), rest.to_owned())).map_err(|e| e.message);
            let expected = expected.map(|(v, rest)| (v.to_owned(), rest.to_owned())).map_err(str::to_owned);
            assert_eq!(found, expected, "{path}");
        };
        check("/_ping", Ok(("1.50", "/_ping")));
        check("/v1.24/info", Ok(("1.24", "/info")));
        check("/v1.50/containers/a/json", Ok(("1.50", "/containers/a/json")));
        check("/v1.41", Ok(("1.41", "/")));
        check("/volumes/v1.99", Ok(("1.50", "/volumes/v1.99")));
        check("/vx.y/info", Ok(("1.50", "/vx.y/info")));
        check("/v1.99/info", Err("client version 1.99 is too new. Maximum supported API version is 1.50"));
        check("/v2.0/info", Err("client version 2.0 is too new. Maximum supported API version is 1.50"));
        let old = "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version";
        check("/v1.12/info", Err(old));
    }
}
