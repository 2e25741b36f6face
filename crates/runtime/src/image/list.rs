//! Which images there are, filtered as `docker images` asks.

use std::collections::BTreeMap;

use super::error::ImageError;
use super::find::{self, Image, made};
use super::reference::Reference;
use super::remove::has_children;
use super::store::{State, Store};

/// What an image must be to be listed. Empty asks for nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListFilters {
    /// Also images without a name that others were committed from.
    pub all: bool,
    /// Without a tag, or else with a tag or digest.
    pub dangling: Option<bool>,
    /// Any of these patterns: `busybox`, `busybox:1.*`, `localhost:5000/*`.
    pub reference: Vec<String>,
    /// All of these: `key` or `key=value`.
    pub label: Vec<String>,
    /// None of these: `key` or `key=value`.
    pub label_not: Vec<String>,
    /// Made before this image.
    pub before: Option<String>,
    /// Made after this image.
    pub since: Option<String>,
    /// Made before this time, seconds since the epoch.
    pub until_unix_s: Option<i64>,
}

impl Store {
    /// The images that pass, newest first.
    pub fn list(&self, filters: &ListFilters) -> Result<Vec<Image>, ImageError> {
        list(&self.state(), filters)
    }
}

pub(crate) fn list(state: &State, filters: &ListFilters) -> Result<Vec<Image>, ImageError> {
    let created = |name: &Option<String>| -> Result<Option<jiff::Timestamp>, ImageError> {
        let Some(name) = name else { return Ok(None) };
        Ok(Some(made(&find::image(state, &find::find(state, name)?)?)))
    };
    let (before, since) = (created(&filters.before)?, created(&filters.since)?);
    let mut images: Vec<Image> = state.configs.keys().filter_map(|id| find::image(state, id).ok()).collect();
    images.retain(|image| {
        let made = made(image);
        let intermediate = image.is_dangling() && image.repo_digests.is_empty() && has_children(state, &image.id);
        (filters.all || !intermediate)
            && filters.dangling.is_none_or(|dangling| match dangling {
                true => image.is_dangling(),
                false => !image.is_dangling() || !image.repo_digests.is_empty(),
            })
            && before.is_none_or(|before| made < before)
            && since.is_none_or(|since| made > since)
            && filters.until_unix_s.is_none_or(|until| made.as_second() < until)
            && filters.label.iter().all(|label| has_label(&image.config.config.labels, label))
            && !filters.label_not.iter().any(|label| has_label(&image.config.config.labels, label))
    });
    if !filters.reference.is_empty() {
        images.retain_mut(|image| keep_matching(image, &filters.reference));
    }
    images.sort_by(|a, b| made(b).cmp(&made(a)).then_with(|| a.id.cmp(&b.id)));
    Ok(images)
}

/// Docker shows only the names that match.
fn keep_matching(image: &mut Image, patterns: &[String]) -> bool {
    let matches = |name: &String| {
        let Ok(reference) = Reference::parse(name) else {
            return false;
        };
        patterns.iter().any(|pattern| {
            [reference.familiar(), reference.familiar_name()]
                .iter()
                .any(|text| glob(pattern.as_bytes(), text.as_bytes()))
        })
    };
    image.repo_tags.retain(matches);
    image.repo_digests.retain(matches);
    !image.repo_tags.is_empty() || !image.repo_digests.is_empty()
}

fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

/// Shell patterns over paths: `*` and `?` stop at a slash, `[a-z]` and `[^a-z]` are classes, `\` takes the next
/// character as it is.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else {
        return text.is_empty();
    };
    let one = |matches: &dyn Fn(u8) -> bool, rest: &[u8]| {
        text.split_first().is_some_and(|(&byte, text)| byte != b'/' && matches(byte) && glob(rest, text))
    };
    match first {
        b'*' => {
            let within = text.iter().position(|&b| b == b'/').unwrap_or(text.len());
            // Stars in a row are one star: or a hostile pattern takes exponential time.
            if rest.first() == Some(&b'*') {
                return glob(rest, text);
            }
            (0..=within).any(|skip| glob(rest, &text[skip..]))
        }
        b'?' => one(&|_| true, rest),
        b'[' => match rest.iter().skip(1).position(|&b| b == b']') {
            Some(end) => one(&|byte| in_class(&rest[..=end], byte), &rest[end + 2..]),
            None => false,
        },
        b'\\' if !rest.is_empty() => text.first() == rest.first() && glob(&rest[1..], &text[1..]),
        byte => text.first() == Some(&byte) && glob(rest, &text[1..]),
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (negated, mut class) = match class {
        [b'^' | b'!', rest @ ..] => (true, rest),
        class => (false, class),
    };
    let mut found = false;
    while let [from, rest @ ..] = class {
        class = match rest {
            [b'-', to, rest @ ..] => {
                found |= (*from..=*to).contains(&byte);
                rest
            }
            rest => {
                found |= *from == byte;
                rest
            }
        };
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        let check = |pattern: &str, text: &str, expected| {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}")
        };
        check("busybox", "busybox", true);
        check("busy*", "busybox", true);
        check("busy*:1.?6", "busybox:1.36", true);
        check("*", "me/app", false);
        check("*/*", "me/app", true);
        check("localhost:5000/a[a-c]*", "localhost:5000/abc", true);
        check("[^a-c]x", "dx", true);
        check("[^a-c]x", "ax", false);
        check("[]x", "ax", false);
        check("[", "[", false);
        check("\\*", "*", true);
        check("a\\", "a\\", true);
        check("", "", true);
        check(&"*a".repeat(8), &"a".repeat(20), true);
        check(&"*".repeat(60), &"a".repeat(60), true);
    }
}
