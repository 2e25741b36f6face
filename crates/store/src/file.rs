//! An SQLite file of ours: made whole or not at all, open in one process at a time, and refused with the remedy when it is damaged,
//! truncated, somebody else's or of another version. What is in its tables is its owner's business.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;

/// What kind of file it is.
#[derive(Debug)]
pub struct Form {
    /// What it is called in messages.
    pub noun: &'static str,
    /// What is lost without it.
    pub holds: &'static str,
    /// SQLite's application id.
    pub application_id: i32,
    /// Version of the layout of the tables and of what is in them.
    pub layout: i32,
    /// Makes the tables.
    pub tables: &'static str,
    /// What must have a write before it is acknowledged.
    pub acknowledged: Acknowledged,
}

/// What must have a write before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The kernel: a crash of the process loses nothing; one of the machine may lose the last seconds, whole writes from the end.
    ByKernel,
    /// The disk: no crash loses anything.
    ByDisk,
}

/// An open file.
#[derive(Debug)]
pub struct File {
    pub db: Connection,
    path: PathBuf,
    form: &'static Form,
}

impl File {
    /// Opens the file at this path, or makes it if there is none.
    pub fn open(path: &Path, form: &'static Form) -> Result<Self, StoreError> {
        if !path.try_exists().map_err(|e| StoreError::io(path, e))? {
            create(path, form)?;
        }
        let file = Self { db: connect(path, form)?, path: path.to_owned(), form };
        file.check()?;
        Ok(file)
    }

    /// What an error of SQLite means for this file.
    pub fn sqlite(&self, error: rusqlite::Error) -> StoreError {
        StoreError::sqlite(&self.path, self.form.holds, error)
    }

    /// Its content contradicts itself.
    pub fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what, holds: self.form.holds }
    }

    fn check(&self) -> Result<(), StoreError> {
        let pragma = |name: &str| -> Result<i32, StoreError> {
            self.db.pragma_query_value(None, name, |row| row.get(0)).map_err(|e| self.sqlite(e))
        };
        if pragma("application_id")? != self.form.application_id {
            return Err(StoreError::Foreign { path: self.path.clone(), noun: self.form.noun });
        }
        let layout = pragma("user_version")?;
        if layout != self.form.layout {
            return Err(StoreError::Layout { path: self.path.clone(), found: layout, known: self.form.layout });
        }
        let verdict: String =
            self.db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|e| self.sqlite(e))?;
        if verdict != "ok" {
            return Err(self.damaged(verdict));
        }
        Ok(())
    }
}

/// Makes the file under another name first, so that a crash leaves none or a whole one.
fn create(path: &Path, form: &'static Form) -> Result<(), StoreError> {
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io(&fresh, e));
        }
        _ => {}
    }
    let sqlite = |e| StoreError::sqlite(&fresh, form.holds, e);
    let db = Connection::open(&fresh).map_err(sqlite)?;
    db.pragma_update(None, "application_id", form.application_id).map_err(sqlite)?;
    db.pragma_update(None, "user_version", form.layout).map_err(sqlite)?;
    db.execute_batch(form.tables).map_err(sqlite)?;
    db.close().map_err(|(_, e)| sqlite(e))?;
    std::fs::rename(&fresh, path).map_err(|e| StoreError::io(path, e))?;
    // The name is on the disk before anything is acknowledged.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| StoreError::io(folder, e))
}

fn connect(path: &Path, form: &'static Form) -> Result<Connection, StoreError> {
    let found = std::fs::metadata(path).map_err(|e| StoreError::io(path, e))?;
    if !found.is_file() {
        return Err(StoreError::Foreign { path: path.to_owned(), noun: form.noun });
    }
    if found.len() == 0 {
        return Err(StoreError::Damaged { path: path.to_owned(), what: "it is empty".to_owned(), holds: form.holds });
    }
    let sqlite = |e| StoreError::sqlite(path, form.holds, e);
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    db.busy_timeout(Duration::ZERO).map_err(sqlite)?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(sqlite)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
    let synchronous = match form.acknowledged {
        Acknowledged::ByKernel => "NORMAL",
        Acknowledged::ByDisk => "FULL",
    };
    db.pragma_update(None, "synchronous", synchronous).map_err(sqlite)?;
    // Pages of 4 KiB; what is in the file is read once.
    db.pragma_update(None, "cache_size", 64).map_err(sqlite)?;
    Ok(db)
}
