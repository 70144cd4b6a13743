//! The cache on disk, laid out as `huggingface_hub` does it, so that what Python pulled juror finds and the reverse.
//!
//! `models--OWNER--NAME/blobs/DIGEST` holds the bytes, `snapshots/COMMIT/FILE` are links to them, `refs/REVISION` holds
//! the commit a branch or tag stood at. A blob gets its name only when its checksum was right, a snapshot its links only
//! for such blobs, and a ref is written last: what has its name is whole. Bytes on the way are in `DIGEST.incomplete`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::names::{RepoId, check_revision, is_hex};
use crate::error::{Error, Result};

/// The revision that is meant where none is named.
pub const MAIN: &str = "main";

/// The cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// A checkpoint in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Its repository.
    pub repo: RepoId,
    /// The commit.
    pub commit: String,
    /// Branches and tags that stood at this commit, sorted.
    pub revisions: Vec<String>,
    /// The folder that opens as a model.
    pub folder: PathBuf,
    /// Size of all its files.
    pub bytes: u64,
}

impl Cache {
    /// The cache in this folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where `huggingface_hub` keeps it: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, in `XDG_CACHE_HOME/huggingface` or in
    /// `~/.cache/huggingface`.
    pub fn of_environment() -> Self {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(root) = folder("HF_HUB_CACHE") {
            return Self::at(root);
        }
        let home = folder("HF_HOME").unwrap_or_else(|| {
            let caches = folder("XDG_CACHE_HOME");
            let caches = caches.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
            caches.unwrap_or_else(|| PathBuf::from(".cache")).join("huggingface")
        });
        Self::at(home.join("hub"))
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a checkpoint that was pulled.
    ///
    /// # Errors
    /// A revision that can be none.
    pub fn find(&self, repo: &RepoId, revision: &str) -> Result<Option<PathBuf>> {
        check_revision(revision)?;
        let place = Place::new(self, repo);
        let commit = match fs::read_to_string(place.reference(revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => revision.to_owned(),
        };
        let folder = place.snapshot(&commit);
        Ok((is_hex(&commit, 40) && folder.is_dir()).then_some(folder))
    }

    /// All checkpoints, sorted by repository and commit. What is no repository of models is passed over.
    ///
    /// # Errors
    /// A folder that cannot be read; a cache that does not exist is empty.
    pub fn list(&self) -> Result<Vec<Cached>> {
        let mut all = Vec::new();
        for name in names(&self.root)? {
            let Some(repo) = RepoId::of_folder(&name) else { continue };
            let place = Place::new(self, &repo);
            let mut references = Vec::new();
            for reference in files(&place.folder.join("refs"))? {
                let path = place.folder.join("refs").join(&reference);
                let commit = fs::read_to_string(&path).map_err(|source| Error::Io { source, path })?;
                references.push((reference, commit.trim().to_owned()));
            }
            for commit in names(&place.folder.join("snapshots"))? {
                let folder = place.snapshot(&commit);
                if !is_hex(&commit, 40) || !folder.is_dir() {
                    continue;
                }
                // Links of a broken snapshot lead nowhere and weigh nothing.
                let size =
                    |file: &String| fs::metadata(folder.join(file)).map_or(0, |metadata| metadata.len());
                let bytes = files(&folder)?.iter().map(size).sum();
                let stands = references.iter().filter(|(_, at)| *at == commit);
                let revisions = stands.map(|(name, _)| name.clone()).collect();
                all.push(Cached { repo: repo.clone(), commit, revisions, folder, bytes });
            }
        }
        Ok(all)
    }
}

/// The place of one repository in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    folder: PathBuf,
}

impl Place {
    pub(crate) fn new(cache: &Cache, repo: &RepoId) -> Self {
        Self { folder: cache.root.join(repo.folder()) }
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.blobs().join(digest)
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// Makes a blob a file of a snapshot.
    pub(crate) fn link(&self, commit: &str, name: &str, digest: &str) -> Result<()> {
        let place = self.snapshot(commit).join(name);
        // From the folder of the file up to that of the repository.
        let up = "../".repeat(2 + name.split('/').count() - 1);
        let target = PathBuf::from(format!("{up}blobs/{digest}"));
        if fs::read_link(&place).is_ok_and(|old| old == target) {
            return Ok(());
        }
        let temporary = beside(&place);
        make_folder_of(&place)?;
        link_to(&target, &self.blob(digest), &temporary)
            .and_then(|()| fs::rename(&temporary, &place))
            .map_err(|source| failed(source, &place))
    }

    /// Writes down the commit that a revision stands at, as the last act of a pull.
    pub(crate) fn refer(&self, revision: &str, commit: &str) -> Result<()> {
        // A commit speaks for itself.
        if revision == commit {
            return Ok(());
        }
        let place = self.reference(revision);
        let temporary = beside(&place);
        make_folder_of(&place)?;
        fs::write(&temporary, commit)
            .and_then(|()| fs::rename(&temporary, &place))
            .map_err(|source| failed(source, &place))
    }
}

#[cfg(unix)]
fn link_to(target: &Path, _blob: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Where links need privileges the file itself gets a second name.
#[cfg(not(unix))]
fn link_to(_target: &Path, blob: &Path, link: &Path) -> io::Result<()> {
    fs::hard_link(blob, link)
}

/// A temporary name in the same folder, this process's own.
fn beside(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.juror-{}", std::process::id()))
}

pub(crate) fn make_folder_of(place: &Path) -> Result<()> {
    match place.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(|source| failed(source, folder)),
        None => Ok(()),
    }
}

/// An error of writing into the cache.
pub(crate) fn failed(source: io::Error, path: &Path) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::DiskFull { path: path.to_owned() }
        }
        _ => Error::Io { source, path: path.to_owned() },
    }
}

/// Bytes free for us on the disk that holds `path` (which need not exist yet).
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|path| path.exists())?;
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(there).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = there;
        None
    }
}

/// The names in a folder, sorted; none where there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let failed = |source: io::Error| Error::Io { source, path: folder.to_owned() };
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is no UTF-8 is none of the hub's.
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The files in a folder and its folders, by their paths from it, but for those in the making.
fn files(folder: &Path) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in names(folder)?.into_iter().filter(|name| !name.starts_with('.')) {
        let path = folder.join(&name);
        if path.is_dir() {
            all.extend(files(&path)?.into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            all.push(name);
        }
    }
    Ok(all)
}
