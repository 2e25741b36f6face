//! Image references as people type them, normalised as Docker does: `busybox` is
//! `docker.io/library/busybox:latest` (distribution/reference grammar).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const TAG_MAX_LEN: usize = 128;
const NAME_MAX_LEN: usize = 255;

/// Why a text is not a reference. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Outside the grammar.
    #[error("invalid reference format")]
    Format,
    /// Upper case in the repository path.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// The repository path is too long.
    #[error("repository name must not be more than {NAME_MAX_LEN} characters")]
    TooLong,
    /// Sixty-four hex digits are an image id, never a name.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// A digest by another algorithm than sha256.
    #[error("unsupported digest algorithm: only sha256 is supported")]
    UnsupportedDigest,
}

/// A normalised reference: registry, repository path, and a tag or digest or both or neither.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a reference. Never defaults the tag: see [`Reference::or_latest`].
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        if is_id(text) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let before_tag = remainder.split(':').next().unwrap_or_default();
        if before_tag.to_lowercase() != before_tag {
            return Err(ReferenceError::Uppercase(before_tag.to_owned()));
        }
        let (name_and_tag, digest) = match remainder.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (remainder.as_str(), None),
        };
        let (path, tag) = match name_and_tag.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name_and_tag, None),
        };
        if !is_domain(&domain) || !path.split('/').all(is_path_component) || !tag.is_none_or(is_tag) {
            return Err(ReferenceError::Format);
        }
        if path.len() > NAME_MAX_LEN {
            return Err(ReferenceError::TooLong);
        }
        Ok(Reference { domain, path: path.to_owned(), tag: tag.map(str::to_owned), digest })
    }

    /// The registry, `docker.io` unless another was named; with its port.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository on the registry, `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of a manifest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and path, `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The name as Docker shows it, `busybox`; in full where the short one would mean another registry or an id.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(short) if is_id(short) => self.name(),
            Some(short) if !short.contains('/') => short.to_owned(),
            _ if self.path.split_once('/').is_some_and(|(first, _)| is_registry(first)) => self.name(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as Docker shows it, `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.familiar_name() + &self.suffix()
    }

    /// The same with the tag `latest` where neither tag nor digest was given.
    pub fn or_latest(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository under this tag, without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository at this manifest digest, without a tag.
    pub fn with_digest(&self, digest: &Digest) -> Reference {
        Reference { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// Whether both name the same repository.
    pub fn same_repository(&self, other: &Reference) -> bool {
        self.domain == other.domain && self.path == other.path
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        tag.chain(self.digest.iter().map(|digest| format!("@{digest}"))).collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.domain, self.path, self.suffix())
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Reference, ReferenceError> {
        Reference::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Splits off the registry, where there is one.
fn split_domain(text: &str) -> (String, String) {
    let (domain, remainder) = match text.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DEFAULT_DOMAIN, text),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    let official = domain == DEFAULT_DOMAIN && !remainder.contains('/');
    let prefix = if official { OFFICIAL_PREFIX } else { "" };
    (domain.to_owned(), format!("{prefix}{remainder}"))
}

/// Whether the first of several components is a registry, since it could not be a repository path: it has a dot, a port or
/// upper case, or is `localhost`.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port))
                if !address.is_empty() && address.bytes().all(|b| b == b':' || b.is_ascii_hexdigit()) =>
            {
                ("ip6", port.strip_prefix(':').or(if port.is_empty() { None } else { Some("") }))
            }
            _ => return false,
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let is_label = |label: &str| {
        let inner = |b: u8| b == b'-' || b.is_ascii_alphanumeric();
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    host.split('.').all(is_label) && port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// Runs of lower-case letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    bytes.split(alphanumeric).all(|run| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b == b'_' || b.is_ascii_alphanumeric();
    tag.len() <= TAG_MAX_LEN
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn check(text: &str, expected: Result<(&str, &str), &str>) {
        let found = Reference::parse(text).map(|r| (r.to_string(), r.familiar())).map_err(|e| e.to_string());
        let expected = expected.map(|(full, familiar)| (full.to_owned(), familiar.to_owned())).map_err(str::to_owned);
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn references_are_normalised() {
        let bad = Err("invalid reference format");
        check("busybox", Ok(("docker.io/library/busybox", "busybox")));
        check("busybox:1.36", Ok(("docker.io/library/busybox:1.36", "busybox:1.36")));
        check("library/busybox", Ok(("docker.io/library/busybox", "busybox")));
        check("me/app", Ok(("docker.io/me/app", "me/app")));
        check("docker.io/busybox", Ok(("docker.io/library/busybox", "busybox")));
        check("docker.io/er.io/a/b:c", Ok(("docker.io/er.io/a/b:c", "docker.io/er.io/a/b:c")));
        check("docker.io/localhost/a", Ok(("docker.io/localhost/a", "docker.io/localhost/a")));
        let like_an_id = format!("docker.io/library/{HEX}");
        check(&like_an_id, Ok((&like_an_id, &like_an_id)));
        check("docker.io/library/er.io", Ok(("docker.io/library/er.io", "er.io")));
        check("index.docker.io/a/b:c", Ok(("docker.io/a/b:c", "a/b:c")));
        check("library/a/b", Ok(("docker.io/library/a/b", "library/a/b")));
        check("localhost/app", Ok(("localhost/app", "localhost/app")));
        check("localhost:5000/app:v1", Ok(("localhost:5000/app:v1", "localhost:5000/app:v1")));
        check("[::1]:5000/app", Ok(("[::1]:5000/app", "[::1]:5000/app")));
        check("[fd00::1]/app", Ok(("[fd00::1]/app", "[fd00::1]/app")));
        check("Upper/app", Ok(("Upper/app", "Upper/app")));
        check("a__b-c--d.e_f", Ok(("docker.io/library/a__b-c--d.e_f", "a__b-c--d.e_f")));
        let digest = format!("busybox@sha256:{HEX}");
        check(&digest, Ok((&format!("docker.io/library/{digest}"), &digest)));
        let both = format!("busybox:1@sha256:{HEX}");
        check(&both, Ok((&format!("docker.io/library/{both}"), &both)));
        check(
            &format!("a:{}", "t".repeat(128)),
            Ok((&format!("docker.io/library/a:{}", "t".repeat(128)), &format!("a:{}", "t".repeat(128)))),
        );
        for text in [
            "",
            ":",
            "/",
            "@",
            "a:",
            "a@",
            "a/",
            "/a",
            "a//b",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "a:-x",
            "a b",
            "a:b:c",
            "bücher",
            "a@sha256:00",
            "host:port/a",
            "[::1/a",
            "[x]/a",
            "[]/a",
            "[::1]x/a",
            ".a/b",
            "a.-b/c",
            "http://x/y",
            "../a/b",
        ] {
            check(text, bad);
        }
        check(&format!("a:{}", "t".repeat(129)), bad);
        check("Busybox", Err("invalid reference format: repository name (library/Busybox) must be lowercase"));
        check(HEX, Err(&format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings")));
        check(&"a/".repeat(200), bad);
        check(&format!("{}a", "a/".repeat(128)), Err("repository name must not be more than 255 characters"));
        check("a@sha512:00", Err("unsupported digest algorithm: only sha256 is supported"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}|[a-zA-Z0-9.:/@_\\[\\]-]{0,80}") {
            if let Ok(reference) = Reference::parse(&text) {
                let again = Reference::parse(&reference.to_string());
                prop_assert_eq!(again.as_ref(), Ok(&reference));
                let familiar = Reference::parse(&reference.familiar());
                prop_assert_eq!(familiar.as_ref(), Ok(&reference));
            }
        }
    }
}
