//! The journal: every change is written here before anything is done about it, and the state is read back from here at start.
//!
//! One SQLite file (WAL) holds the newest version of each record. A file that is damaged, truncated or somebody else's is refused
//! with the remedy; it is never taken for an empty one. What a record means is `model`'s business.
#![forbid(unsafe_code)]

mod error;
mod key;

use std::path::{Path, PathBuf};

use model::{Change, Record, State};
use rusqlite::{Connection, OpenFlags, params};

pub use error::StoreError;

/// SQLite's application id of our files: "lspn".
const APPLICATION_ID: i32 = 0x6c73_706e;
/// Version of the layout of the tables and of the records in them.
const LAYOUT: i32 = 2;

const TABLES: &str = "
    CREATE TABLE record (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
    CREATE TABLE journal (revision INTEGER NOT NULL);
    INSERT INTO journal VALUES (0);
";

/// The open journal. Only one process may have it open.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the journal at this path, or makes it if there is no file, and reads the state.
    pub fn open(path: &Path) -> Result<(Self, State), StoreError> {
        if !path.try_exists().map_err(|e| StoreError::io(path, e))? {
            create(path)?;
        }
        let db = connect(path)?;
        let store = Self { db, path: path.to_owned() };
        store.check()?;
        let state = store.load()?;
        Ok((store, state))
    }

    /// Writes a change in one transaction: when this returns, a crash of the process cannot lose it.
    pub fn append(&mut self, change: &Change, revision: u64) -> Result<(), StoreError> {
        self.write(change, revision).map_err(|e| StoreError::sqlite(&self.path, e))
    }

    fn write(&mut self, change: &Change, revision: u64) -> rusqlite::Result<()> {
        let transaction = self.db.transaction()?;
        for key in &change.deletes {
            let (kind, id) = key::columns(key);
            transaction.prepare_cached("DELETE FROM record WHERE kind = ? AND id = ?")?.execute(params![kind, id])?;
        }
        for record in &change.puts {
            let key = record.key();
            let (kind, id) = key::columns(&key);
            let body = serde_json::to_string(record).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
            transaction
                .prepare_cached("INSERT OR REPLACE INTO record (kind, id, body) VALUES (?, ?, ?)")?
                .execute(params![kind, id, body])?;
        }
        transaction.prepare_cached("UPDATE journal SET revision = ?")?.execute(params![revision.cast_signed()])?;
        transaction.commit()
    }

    fn check(&self) -> Result<(), StoreError> {
        let pragma = |name: &str| -> Result<i32, StoreError> {
            self.db.pragma_query_value(None, name, |row| row.get(0)).map_err(|e| StoreError::sqlite(&self.path, e))
        };
        if pragma("application_id")? != APPLICATION_ID {
            return Err(StoreError::Foreign { path: self.path.clone() });
        }
        let layout = pragma("user_version")?;
        if layout != LAYOUT {
            return Err(StoreError::Layout { path: self.path.clone(), found: layout, known: LAYOUT });
        }
        let verdict: String = self
            .db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|e| StoreError::sqlite(&self.path, e))?;
        if verdict != "ok" {
            return Err(StoreError::Damaged { path: self.path.clone(), what: verdict });
        }
        Ok(())
    }

    fn load(&self) -> Result<State, StoreError> {
        let sqlite = |e| StoreError::sqlite(&self.path, e);
        let mut rows = self.db.prepare("SELECT body FROM record").map_err(sqlite)?;
        let bodies = rows.query_map([], |row| row.get::<_, String>(0)).map_err(sqlite)?;
        let mut change = Change::default();
        for body in bodies {
            let body = body.map_err(sqlite)?;
            let record: Record = serde_json::from_str(&body).map_err(|e| StoreError::Damaged {
                path: self.path.clone(),
                what: format!("a record cannot be read: {e}"),
            })?;
            change.puts.push(record);
        }
        let mut state = State::default().with(&change);
        let revision: i64 = self.db.query_row("SELECT revision FROM journal", [], |row| row.get(0)).map_err(sqlite)?;
        state.revision = revision.cast_unsigned();
        Ok(state)
    }
}

/// Makes the file under another name first, so that a crash leaves none or a whole one.
fn create(path: &Path) -> Result<(), StoreError> {
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::io(&fresh, e));
        }
        _ => {}
    }
    let sqlite = |e| StoreError::sqlite(&fresh, e);
    let db = Connection::open(&fresh).map_err(sqlite)?;
    db.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
    db.pragma_update(None, "user_version", LAYOUT).map_err(sqlite)?;
    db.execute_batch(TABLES).map_err(sqlite)?;
    db.close().map_err(|(_, e)| sqlite(e))?;
    std::fs::rename(&fresh, path).map_err(|e| StoreError::io(path, e))
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let size = std::fs::metadata(path).map_err(|e| StoreError::io(path, e))?.len();
    if size == 0 {
        return Err(StoreError::Damaged { path: path.to_owned(), what: "it is empty".to_owned() });
    }
    let sqlite = |e| StoreError::sqlite(path, e);
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    db.busy_timeout(std::time::Duration::ZERO).map_err(sqlite)?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(sqlite)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
    db.pragma_update(None, "synchronous", "NORMAL").map_err(sqlite)?;
    // Pages of 4 KiB; the records are small and read once.
    db.pragma_update(None, "cache_size", 64).map_err(sqlite)?;
    Ok(db)
}
