//! What a program said and how it ended.

use std::process::Output;

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The command, for messages.
    pub command: String,
    /// Its exit code; 128 and more for signals.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// From a finished program.
    pub fn from_output(command: String, output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { command, code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Its output, trimmed, when it succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{} failed\nstdout: {}\nstderr: {}", self.command, self.out, self.err);
        self.out.trim().to_owned()
    }

    /// Its error text, when it failed.
    ///
    /// # Panics
    /// When it succeeded.
    #[track_caller]
    pub fn fails(self) -> String {
        assert_ne!(self.code, 0, "{} succeeded\nstdout: {}", self.command, self.out);
        self.err.trim().to_owned()
    }

    /// Its error text has these words, and it failed.
    ///
    /// # Panics
    /// When not.
    #[track_caller]
    pub fn fails_with(self, words: &str) {
        let command = self.command.clone();
        let err = self.fails();
        assert!(err.contains(words), "{command}\nexpected: {words}\nstderr: {err}");
    }
}
