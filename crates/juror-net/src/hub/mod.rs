//! Checkpoints from a Hugging Face hub, by its HTTP protocol, into its cache.
//!
//! One question lists the files of a revision with sizes and checksums; the small files come first, then the weights that
//! the index names. Every file is checked against the hub's checksum (SHA-256 of large files, Git's SHA-1 of small ones)
//! before it gets its name. Left out: uploading, data sets, and the hub's own chunk store (`xet`), for which the hub
//! answers plain requests too. No redirect carries the token, so a closed repository is pulled by its present name.

mod cache;
mod fetch;
mod listing;
mod names;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cache::{Cache, Cached, MAIN};
pub use names::{KNOWN, Known, RepoId};

use crate::error::{Error, Result};
use crate::http::{self, Failure, Patience, Secret};
use cache::Place;
use fetch::{Origin, discard_damaged, fetch, missing_bytes};
use listing::{INDEX, Listing};
use names::{check_revision, escaped};

/// The environment variable that holds the token.
pub const TOKEN_VARIABLE: &str = "HF_TOKEN";
/// The environment variable that names another hub.
pub const ENDPOINT_VARIABLE: &str = "HF_ENDPOINT";
/// The hub where none is named.
const ENDPOINT: &str = "https://huggingface.co";

/// Room left on the disk beside what is pulled.
const SPARE_BYTES: u64 = 64 << 20;

/// How far a pull has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file at work.
    pub file: &'a str,
    /// Bytes that are there, of all files so far known.
    pub done: u64,
    /// Bytes of all files so far known; the weights join when their index was read.
    pub total: u64,
}

/// A checkpoint that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Its repository.
    pub repo: RepoId,
    /// The commit.
    pub commit: String,
    /// The folder that opens as a model.
    pub folder: PathBuf,
    /// Size of all its files.
    pub bytes: u64,
    /// Bytes that came over the network.
    pub fetched: u64,
    /// Files that were there, and damaged, and were got anew.
    pub damaged: usize,
}

/// A hub and the cache for what comes from it.
#[derive(Debug)]
pub struct Hub {
    agent: ureq::Agent,
    endpoint: String,
    token: Option<Secret>,
    patience: Patience,
    cache: Cache,
    verify: bool,
}

impl Hub {
    /// A hub at an address.
    ///
    /// # Errors
    /// An address that can be none.
    pub fn new(endpoint: &str, token: Option<Secret>, cache: Cache, patience: Patience) -> Result<Self> {
        let endpoint = http::base_url(ENDPOINT_VARIABLE, endpoint)?;
        let silence = Some(patience.timeout);
        let settings = http::settings(&endpoint).timeout_recv_response(silence).timeout_per_read(silence);
        // The token stays with the hub: no redirect carries it, not even one on the same host.
        let settings = settings.redirect_auth_headers(ureq::config::RedirectAuthHeaders::Never);
        Ok(Self { agent: settings.build().new_agent(), endpoint, token, patience, cache, verify: false })
    }

    /// The hub of the environment: `HF_ENDPOINT`, `HF_TOKEN`, and the cache of [`Cache::of_environment`].
    ///
    /// # Errors
    /// Variables that hold nonsense.
    pub fn of_environment() -> Result<Self> {
        let endpoint = std::env::var(ENDPOINT_VARIABLE).ok().filter(|endpoint| !endpoint.trim().is_empty());
        let patience = Patience { timeout: Duration::from_secs(60), ..Patience::default() };
        let token = Secret::from_env(TOKEN_VARIABLE)?;
        Self::new(endpoint.as_deref().unwrap_or(ENDPOINT), token, Cache::of_environment(), patience)
    }

    /// Reads the files that are there again and gets those anew whose bytes are not the hub's.
    #[must_use]
    pub fn verifying(self, verify: bool) -> Self {
        Self { verify, ..self }
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Gets what a judge needs of a repository, as far as it is not in the cache, and gives its folder. `accept` is shown
    /// the folder when the small files are there, and says what is wrong with them before any weight is fetched.
    ///
    /// # Errors
    /// When the hub refuses or fails, the bytes are not those promised, or the disk is full. What came so far is kept, and
    /// nothing half has the name of a whole.
    pub fn pull(
        &self,
        repo: &RepoId,
        revision: &str,
        accept: &dyn Fn(&Path) -> Result<(), String>,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Pulled> {
        check_revision(revision)?;
        let listing = self.list(repo, revision)?;
        let place = Place::new(&self.cache, repo);
        let folder = place.snapshot(&listing.commit);
        let mut job = Job {
            hub: self,
            repo,
            listing: &listing,
            place: &place,
            done: 0,
            total: 0,
            fetched: 0,
            damaged: 0,
        };
        let small = listing.small()?;
        job.get(&small, progress)?;
        accept(&folder).map_err(|reason| Error::Repository { reason, repo: repo.to_string() })?;
        let index = if small.iter().any(|file| file.name == INDEX) {
            let path = folder.join(INDEX);
            Some(std::fs::read_to_string(&path).map_err(|source| Error::Io { source, path })?)
        } else {
            None
        };
        job.get(&listing.weights(index.as_deref())?, progress)?;
        let (bytes, fetched, damaged) = (job.total, job.fetched, job.damaged);
        place.refer(revision, &listing.commit)?;
        Ok(Pulled { repo: repo.clone(), commit: listing.commit, folder, bytes, fetched, damaged })
    }

    fn list(&self, repo: &RepoId, revision: &str) -> Result<Listing> {
        let url =
            format!("{}/api/models/{repo}/revision/{}?blobs=true", self.endpoint, escaped(revision, false));
        let text = self.patience.run(|| {
            let mut response = self.get(&url).call().map_err(|error| http::lost(&error, &url))?;
            if !response.status().is_success() {
                return Err(self.refused(&mut response, &url));
            }
            response.body_mut().read_to_string().map_err(|error| http::lost(&error, &url))
        })?;
        Listing::parse(&text, repo, &url)
    }

    fn get(&self, url: &str) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        let request = self.agent.get(url);
        match &self.token {
            Some(token) => request.header("Authorization", token.bearer()),
            None => request,
        }
    }

    /// A refusal, with the way out where there is one.
    fn refused(&self, response: &mut ureq::http::Response<ureq::Body>, url: &str) -> Failure {
        let Failure { error, then } = http::refused(response, self.token.as_ref(), url);
        let error = match error {
            Error::Status { status: status @ (401 | 403), message, url } => {
                let way_out = match self.token {
                    Some(_) => {
                        format!("the token in {TOKEN_VARIABLE} has no access; ask for it on the hub's page")
                    }
                    None => format!(
                        "no such repository, or it is closed: check its name, or set {TOKEN_VARIABLE}"
                    ),
                };
                Error::Forbidden { way_out, status, message, url }
            }
            error => error,
        };
        Failure { error, then }
    }
}

/// A pull under way.
struct Job<'a> {
    hub: &'a Hub,
    repo: &'a RepoId,
    listing: &'a Listing,
    place: &'a Place,
    /// Bytes of the files that are finished.
    done: u64,
    /// Bytes of all files so far known.
    total: u64,
    /// Bytes that came over the network.
    fetched: u64,
    /// Files that were there and damaged.
    damaged: usize,
}

impl Job<'_> {
    /// Gets some files and makes them part of the snapshot.
    fn get(&mut self, files: &[listing::File], progress: &dyn Fn(Progress<'_>)) -> Result<()> {
        for file in files.iter().filter(|_| self.hub.verify) {
            self.damaged += usize::from(discard_damaged(file, self.place)?);
        }
        // Sizes are the hub's word: a sum must not overflow.
        let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
        self.total = self.total.saturating_add(sum(&mut files.iter().map(|file| file.size)));
        let needed = sum(&mut files.iter().map(|file| missing_bytes(file, self.place)));
        let root = self.hub.cache.root();
        let short = |free: &u64| needed > 0 && *free < needed.saturating_add(SPARE_BYTES);
        if let Some(available) = cache::free_bytes(root).filter(short) {
            return Err(Error::NoRoom { needed, available, path: root.to_owned() });
        }
        self.fetched += needed;
        let commit = &self.listing.commit;
        for file in files {
            let name = escaped(&file.name, true);
            let url = format!("{}/{}/resolve/{commit}/{name}", self.hub.endpoint, self.repo);
            let (before, total) = (self.done, self.total);
            let tell = |bytes| progress(Progress { file: &file.name, done: before + bytes, total });
            fetch(&Origin { hub: self.hub, url }, file, self.place, &tell)?;
            self.place.link(commit, &file.name, file.digest.as_str())?;
            self.done += file.size;
        }
        Ok(())
    }
}
