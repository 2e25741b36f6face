//! Why a file of ours cannot be opened, read or written, and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a file of ours cannot be opened, read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot open {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{path} is not a linkspan {noun}: move it away, or give another --data-root")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it should be.
        noun: &'static str,
    },
    /// It was written by another version.
    #[error("{path} has layout {found} and this linkspan knows {known}: use the version that wrote it")]
    Layout {
        /// The file.
        path: PathBuf,
        /// The layout it has.
        found: i32,
        /// The layout this version knows.
        known: i32,
    },
    /// It is damaged.
    #[error("{path} is damaged ({what}): restore it from a backup, or move it away to start without {holds}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        what: String,
        /// What is lost without it.
        holds: &'static str,
    },
    /// Another process has it open.
    #[error("{path} is in use: another linkspan runs on this data root; stop it, or give another --data-root")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written now.
    #[error("cannot write {path}: {source}; free some space on its file system")]
    Full {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// SQLite refused.
    #[error("cannot use {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl StoreError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn sqlite(path: &Path, holds: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, what: source.to_string(), holds }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DiskFull) => Self::Full { path, source },
            _ => Self::Sqlite { path, source },
        }
    }
}
