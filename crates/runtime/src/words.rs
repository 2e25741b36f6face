//! Errors in the words of C and Go programs, which are those that Docker's users know and search for.

use std::{error::Error, io};

/// An error and its causes in one sentence.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = one(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let more = one(cause);
        // Some messages contain their cause's already.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// The error in the C library's lower case, without Rust's "(os error N)".
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(_) => text.split(" (os error").next().unwrap_or_default().to_lowercase(),
        None => text,
    }
}

fn one(error: &(dyn Error + 'static)) -> String {
    error.downcast_ref::<io::Error>().map_or_else(|| error.to_string(), plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the door")]
    struct Door(#[source] io::Error);

    #[test]
    fn causes_are_said_as_c_says_them() {
        let missing = io::Error::from_raw_os_error(2);
        assert_eq!(sentence(&Door(missing)), "cannot open the door: no such file or directory");
        assert_eq!(plain(&io::Error::other("it is Tuesday")), "it is Tuesday");
        assert_eq!(plain(&io::ErrorKind::IsADirectory.into()), "is a directory");
    }
}
