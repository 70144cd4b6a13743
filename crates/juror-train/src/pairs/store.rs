//! The state of a run: one SQLite file of what was learnt, keyed by content, and a lock.
//!
//! | table | a row is | key |
//! |---|---|---|
//! | `files` | the SHA-256 of a file as it was | path, with size and time of change |
//! | `measurements` | what a file measures | its SHA-256, how it was measured |
//! | `rejects` | a source that cannot be used, and why | source id |
//! | `videos` | a video that was made or found, and what was measured | video id |
//! | `labels` | the raw score of one judge | video id, judge's identity |
//! | `pairs` | a pair of the finished set | place; unique pair |
//! | `work` | time and units of a stage over all runs | stage |
//!
//! Rows are facts: they are added in transactions and never changed (but for `pairs`, replaced as a whole, and `work`), so that
//! a kill at any moment leaves a state from which the next run goes on. The lock is the operating system's and ends with the process. Nothing
//! here reads a clock.

use super::plan::Facts;
use anyhow::{Context, Result, bail};
use juror_media::measure::SourceReport;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The form of the tables; a file of another form is refused.
const FORM: i64 = 2;

const TABLES: &str = "
CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER NOT NULL, changed_ns INTEGER NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE measurements (sha256 TEXT NOT NULL, how TEXT NOT NULL, report TEXT NOT NULL, PRIMARY KEY (sha256, how)) WITHOUT ROWID;
CREATE TABLE rejects (source TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE videos (id TEXT PRIMARY KEY, source TEXT NOT NULL, recipe TEXT NOT NULL, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE labels (video TEXT NOT NULL, judge TEXT NOT NULL, score REAL NOT NULL, PRIMARY KEY (video, judge)) WITHOUT ROWID;
CREATE TABLE pairs (place INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (a, b));
CREATE TABLE work (stage TEXT PRIMARY KEY, seconds REAL NOT NULL, units INTEGER NOT NULL) WITHOUT ROWID;
";

/// A file as it was when it was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Time of the last change, nanoseconds; compared for equality only.
    pub changed_ns: i64,
}

/// The state of a run, locked for this process.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens or makes the state in a folder, and locks it.
    ///
    /// # Errors
    /// When another run is at work on it, or the file is something else.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock_path = folder.join("lock");
        let lock =
            File::create(&lock_path).with_context(|| format!("cannot write {}", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another run is at work in {}", folder.display()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", lock_path.display()));
            }
        }
        let path = folder.join("state.sqlite");
        let connection = prepare(&path).with_context(|| format!("in the state {}", path.display()))?;
        Ok(Self { connection: Mutex::new(connection), path, _lock: lock })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the connection and says which file it was about.
    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&mut self.connection()).with_context(|| format!("in the state {}", self.path.display()))
    }

    /// The hash of a file that has not changed since.
    ///
    /// # Errors
    /// When the state cannot be read; so for all that follow.
    pub fn hash_of(&self, path: &[u8], stamp: Stamp) -> Result<Option<String>> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT sha256 FROM files WHERE path = ?1 AND size = ?2 AND changed_ns = ?3")?
                .query_row(params![path, stamp.size as i64, stamp.changed_ns], |row| row.get(0))
                .optional()
        })
    }

    /// Keeps the hash of a file.
    pub fn keep_hash(&self, path: &[u8], stamp: Stamp, sha256: &str) -> Result<()> {
        self.with(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO files VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![path, stamp.size as i64, stamp.changed_ns, sha256])
                .map(|_| ())
        })
    }

    /// What a file measures, if it was measured so before.
    pub fn measurements_of(&self, sha256: &str, how: &str) -> Result<Option<SourceReport>> {
        let text: Option<String> = self.with(|connection| {
            connection
                .prepare_cached("SELECT report FROM measurements WHERE sha256 = ?1 AND how = ?2")?
                .query_row([sha256, how], |row| row.get(0))
                .optional()
        })?;
        let read = |text: String| {
            serde_json::from_str(&text)
                .with_context(|| format!("file {sha256} in the state {}", self.path.display()))
        };
        text.map(read).transpose()
    }

    /// Keeps what a file measures.
    pub fn keep_measurements(&self, sha256: &str, how: &str, report: &SourceReport) -> Result<()> {
        let report = serde_json::to_string(report)?;
        self.with(|connection| {
            connection
                .prepare_cached("INSERT OR IGNORE INTO measurements VALUES (?1, ?2, ?3)")?
                .execute([sha256, how, &report])
                .map(|_| ())
        })
    }

    /// Why a source cannot be used, for those of which that is known.
    pub fn rejects(&self) -> Result<HashMap<String, String>> {
        self.with(|connection| {
            let mut rows = connection.prepare("SELECT source, reason FROM rejects")?;
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    /// Keeps why a source cannot be used.
    pub fn reject(&self, source: &str, reason: &str) -> Result<()> {
        self.with(|connection| {
            connection.execute("INSERT OR REPLACE INTO rejects VALUES (?1, ?2)", [source, reason]).map(|_| ())
        })
    }

    /// What is known of every video.
    pub fn videos(&self) -> Result<HashMap<String, Facts>> {
        let rows: Vec<(String, String)> = self.with(|connection| {
            let mut rows = connection.prepare("SELECT id, facts FROM videos")?;
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })?;
        rows.into_iter()
            .map(|(id, facts)| {
                let facts = serde_json::from_str(&facts)
                    .with_context(|| format!("video {id} in the state {}", self.path.display()))?;
                Ok((id, facts))
            })
            .collect()
    }

    /// All scores, by video and judge.
    pub fn labels(&self) -> Result<HashMap<String, HashMap<String, f64>>> {
        self.with(|connection| {
            let mut rows = connection.prepare("SELECT video, judge, score FROM labels")?;
            let mut rows = rows.query([])?;
            let mut labels: HashMap<String, HashMap<String, f64>> = HashMap::new();
            while let Some(row) = rows.next()? {
                labels.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
            }
            Ok(labels)
        })
    }

    /// Keeps a video and its scores, together or not at all.
    pub fn keep(
        &self,
        id: &str,
        source: &str,
        recipe: &str,
        facts: &Facts,
        scores: &[(String, f64)],
    ) -> Result<()> {
        let facts = serde_json::to_string(facts)?;
        self.with(|connection| {
            let transaction = connection.transaction()?;
            transaction
                .prepare_cached("INSERT OR IGNORE INTO videos VALUES (?1, ?2, ?3, ?4)")?
                .execute([id, source, recipe, &facts])?;
            insert_scores(&transaction, id, scores)?;
            transaction.commit()
        })
    }

    /// Keeps scores of a video that is no part of a set.
    pub fn keep_scores(&self, id: &str, scores: &[(String, f64)]) -> Result<()> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            insert_scores(&transaction, id, scores)?;
            transaction.commit()
        })
    }

    /// Replaces the pairs of the set: ids of both videos, and the record.
    pub fn replace_pairs<'a>(&self, pairs: impl Iterator<Item = (&'a str, &'a str, String)>) -> Result<()> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM pairs", [])?;
            for (place, (a, b, record)) in pairs.enumerate() {
                transaction.prepare_cached("INSERT INTO pairs VALUES (?1, ?2, ?3, ?4)")?.execute(params![
                    place as i64,
                    a,
                    b,
                    record
                ])?;
            }
            transaction.commit()
        })
    }

    /// Adds time and units to a stage.
    pub fn spend(&self, stage: &str, seconds: f64, units: u64) -> Result<()> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO work VALUES (?1, ?2, ?3) ON CONFLICT (stage) DO \
                     UPDATE SET seconds = seconds + excluded.seconds, units = units + excluded.units",
                )?
                .execute(params![stage, seconds, units as i64])
                .map(|_| ())
        })
    }

    /// Time (seconds, over all threads) and units of every stage over all runs, by name.
    pub fn work(&self) -> Result<Vec<(String, f64, u64)>> {
        self.with(|connection| {
            let mut rows = connection.prepare("SELECT stage, seconds, units FROM work ORDER BY stage")?;
            let rows = rows
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs())))?;
            rows.collect()
        })
    }
}

fn insert_scores(connection: &Connection, id: &str, scores: &[(String, f64)]) -> rusqlite::Result<()> {
    for (judge, score) in scores {
        connection
            .prepare_cached("INSERT OR IGNORE INTO labels VALUES (?1, ?2, ?3)")?
            .execute(params![id, judge, score])?;
    }
    Ok(())
}

fn prepare(path: &Path) -> Result<Connection> {
    let mut connection = Connection::open(path)?;
    // A kill of the process loses nothing that was committed; a kill of the machine may lose the last rows, never the file.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let transaction = connection.transaction()?;
    match transaction.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
        0 => {
            let tables: i64 =
                transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
            if tables > 0 {
                bail!("it is a database of something else");
            }
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", FORM)?;
        }
        FORM => {}
        other => bail!("its form is {other}, this juror knows form {FORM}"),
    }
    transaction.commit()?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_kept_once_and_survive() {
        let folder = tempfile::tempdir().expect("a folder");
        let facts = Facts { bytes: 7, ..Facts::default() };
        {
            let store = Store::open(folder.path()).expect("made");
            store.keep("v", "s", "blur:1", &facts, &[("nano".into(), 0.1 + 0.2)]).expect("kept");
            let other = Facts { bytes: 8, ..Facts::default() };
            store
                .keep("v", "s", "blur:1", &other, &[("nano".into(), 9.0), ("psnr".into(), 40.0)])
                .expect("kept");
            store.spend("make", 1.5, 2).expect("kept");
            store.spend("make", 0.5, 1).expect("kept");
        }
        let store = Store::open(folder.path()).expect("opened");
        assert_eq!(store.videos().expect("read")["v"], facts);
        let labels = store.labels().expect("read");
        assert_eq!((labels["v"]["nano"], labels["v"]["psnr"]), (0.1 + 0.2, 40.0), "to the last bit");
        assert_eq!(store.work().expect("read"), [("make".to_owned(), 2.0, 3)]);
    }

    #[test]
    fn a_changed_file_is_hashed_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("made");
        let stamp = Stamp { size: 5, changed_ns: -3 };
        store.keep_hash(b"caf\xe9", stamp, "abc").expect("kept");
        assert_eq!(store.hash_of(b"caf\xe9", stamp).expect("read").as_deref(), Some("abc"));
        let earlier = Stamp { changed_ns: -4, ..stamp }; // the clock went back
        assert_eq!(store.hash_of(b"caf\xe9", earlier).expect("read"), None);
    }

    #[test]
    fn a_second_run_and_foreign_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Store::open(folder.path()).expect("made");
        let refused = Store::open(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("another run is at work"), "{refused}");
        drop(first);
        let store = Store::open(folder.path()).expect("the lock ended with its holder");
        store.connection().pragma_update(None, "user_version", 99).expect("set");
        drop(store);
        assert!(format!("{:#}", Store::open(folder.path()).unwrap_err()).contains("its form is 99"));
        std::fs::write(folder.path().join("state.sqlite"), "once upon a time, there was a text")
            .expect("written");
        assert!(Store::open(folder.path()).is_err());
    }
}
