//! The journal: every change is written here before anything is done about it, and the state is read back from here at start. One
//! SQLite file holds the newest version of each record. What a record means is `model`'s business.

use std::path::Path;

use model::{Change, Record, State};
use rusqlite::params;

use crate::{
    StoreError,
    file::{Acknowledged, File, Form},
    key,
};

const FORM: Form = Form {
    noun: "journal",
    holds: "the containers and networks it held",
    // "lspn".
    application_id: 0x6c73_706e,
    layout: 2,
    tables: "
        CREATE TABLE record (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
        CREATE TABLE journal (revision INTEGER NOT NULL);
        INSERT INTO journal VALUES (0);
    ",
    acknowledged: Acknowledged::ByKernel,
};

/// The open journal. Only one process may have it open.
#[derive(Debug)]
pub struct Store {
    file: File,
}

impl Store {
    /// Opens the journal at this path, or makes it if there is no file, and reads the state.
    pub fn open(path: &Path) -> Result<(Self, State), StoreError> {
        let store = Self { file: File::open(path, &FORM)? };
        let state = store.load()?;
        Ok((store, state))
    }

    /// Writes a change in one transaction: when this returns, a crash of the process cannot lose it.
    pub fn append(&mut self, change: &Change, revision: u64) -> Result<(), StoreError> {
        self.write(change, revision).map_err(|e| self.file.sqlite(e))
    }

    fn write(&mut self, change: &Change, revision: u64) -> rusqlite::Result<()> {
        let transaction = self.file.db.transaction()?;
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

    fn load(&self) -> Result<State, StoreError> {
        let db = &self.file.db;
        let sqlite = |e| self.file.sqlite(e);
        let mut rows = db.prepare("SELECT body FROM record").map_err(sqlite)?;
        let bodies = rows.query_map([], |row| row.get::<_, String>(0)).map_err(sqlite)?;
        let mut change = Change::default();
        for body in bodies {
            let body = body.map_err(sqlite)?;
            let record: Record =
                serde_json::from_str(&body).map_err(|e| self.file.damaged(format!("a record cannot be read: {e}")))?;
            change.puts.push(record);
        }
        let mut state = State::default().with(&change);
        let revision: i64 = db.query_row("SELECT revision FROM journal", [], |row| row.get(0)).map_err(sqlite)?;
        state.revision = revision.cast_unsigned();
        Ok(state)
    }
}
