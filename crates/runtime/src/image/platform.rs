//! The machine an image is for: operating system, architecture, variant (OCI image index, `platform`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::config::ImageConfig;
use super::error::ImageError;

/// A platform. Empty parts of one that was asked for mean the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// `v7`; empty for most.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// This machine.
    pub fn host() -> Platform {
        Platform { os: "linux".to_owned(), ..normal("linux", std::env::consts::ARCH, "") }
    }

    /// Whether an image for `other` is what was asked for.
    pub fn accepts(&self, other: &Platform) -> bool {
        let other = normal(&other.os, &other.architecture, &other.variant);
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant == other.variant || self.variant.is_empty())
    }
}

impl FromStr for Platform {
    type Err = ImageError;

    /// Reads `os`, `architecture`, `os/architecture` or `os/architecture/variant`.
    fn from_str(text: &str) -> Result<Platform, ImageError> {
        let refuse = || {
            ImageError::Invalid(format!(
                "{text:?} is an invalid platform: it should look like linux/amd64 or linux/arm/v7"
            ))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let is_word =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !parts.iter().all(is_word) {
            return Err(refuse());
        }
        match parts[..] {
            ["linux"] => Ok(Platform::host()),
            [architecture] => Ok(normal("linux", architecture, "")),
            [os, architecture] => Ok(normal(os, architecture, "")),
            [os, architecture, variant] => Ok(normal(os, architecture, variant)),
            _ => Err(refuse()),
        }
    }
}

impl From<&ImageConfig> for Platform {
    fn from(config: &ImageConfig) -> Platform {
        normal(&config.os, &config.architecture, config.variant.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// One name for each architecture, Go's. A variant that is the only one people use is left out.
fn normal(os: &str, architecture: &str, variant: &str) -> Platform {
    let (architecture, variant) = match (architecture.to_lowercase().as_str(), variant.to_lowercase().as_str()) {
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64".to_owned(), String::new()),
        ("x86_64" | "x86-64", v) => ("amd64".to_owned(), v.to_owned()),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64".to_owned(), String::new()),
        ("aarch64", v) => ("arm64".to_owned(), v.to_owned()),
        ("x86" | "i386" | "i686", _) => ("386".to_owned(), String::new()),
        ("armhf", _) => ("arm".to_owned(), "v7".to_owned()),
        ("armel", _) => ("arm".to_owned(), "v6".to_owned()),
        ("arm", "") => ("arm".to_owned(), "v7".to_owned()),
        ("powerpc64le", v) => ("ppc64le".to_owned(), v.to_owned()),
        (a, v) => (a.to_owned(), v.to_owned()),
    };
    Platform { os: os.to_lowercase(), architecture, variant }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_normalised() {
        let check = |text: &str, expected: Option<&str>| {
            let found = text.parse::<Platform>().map(|p| p.to_string()).ok();
            assert_eq!(found.as_deref(), expected, "{text:?}");
        };
        check("linux/amd64", Some("linux/amd64"));
        check("Linux/x86_64", Some("linux/amd64"));
        check("linux/arm64/v8", Some("linux/arm64"));
        check("aarch64", Some("linux/arm64"));
        check("linux/arm", Some("linux/arm/v7"));
        check("linux/arm/v6", Some("linux/arm/v6"));
        check("windows/amd64", Some("windows/amd64"));
        for bad in ["", "/", "linux/", "a/b/c/d", "linux /x"] {
            check(bad, None);
        }
    }
}
