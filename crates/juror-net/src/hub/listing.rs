//! What a repository holds, as the hub tells it, and which of it a judge needs.
//!
//! A judge needs its configuration, its tokenizer, its chat template and its safetensors; of these only the shards that
//! the index names. Weights in other formats, pictures, code and readmes are left where they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::names::{RepoId, is_hex, is_inner_path};
use crate::error::{Error, Result};

/// The index of sharded weights.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// Weights in one file.
const WEIGHTS: &str = "model.safetensors";
/// Weights of an adapter.
const ADAPTER: &str = "adapter_model.safetensors";

/// Small files that a judge reads where they are there.
const SMALL: [&str; 9] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "adapter_config.json",
];

/// How the content of a file is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Digest {
    /// Large files: SHA-256 of the bytes.
    Sha256(String),
    /// Small files: Git's SHA-1 of a header with the length, then the bytes.
    GitBlob(String),
}

impl Digest {
    /// In hexadecimal: the file's name among the blobs of the cache, and its `ETag`.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
}

/// A repository at one commit.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    files: BTreeMap<String, Sibling>,
    repo: RepoId,
}

#[derive(Debug, Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Debug, Clone, Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Clone, Deserialize)]
struct Lfs {
    // Older hubs say `oid`.
    #[serde(alias = "oid")]
    sha256: String,
    size: u64,
}

impl Listing {
    /// Reads the hub's answer.
    pub(crate) fn parse(text: &str, repo: &RepoId, url: &str) -> Result<Self> {
        let nonsense = |reason: String| Error::Protocol { reason, url: url.to_owned() };
        let info: Info =
            serde_json::from_str(text).map_err(|error| nonsense(format!("no list of files: {error}")))?;
        if !is_hex(&info.sha, 40) {
            return Err(nonsense(format!("`{}` is no commit", info.sha)));
        }
        let files = info.siblings.into_iter().map(|file| (file.rfilename.clone(), file)).collect();
        Ok(Self { commit: info.sha, files, repo: repo.clone() })
    }

    /// The small files of a judge, the index of its shards among them.
    pub(crate) fn small(&self) -> Result<Vec<File>> {
        if !self.files.contains_key("config.json") && !self.files.contains_key("adapter_config.json") {
            return Err(self.lacks("it has no config.json"));
        }
        SMALL
            .iter()
            .chain(&[INDEX])
            .filter(|name| self.files.contains_key(**name))
            .map(|name| self.file(name))
            .collect()
    }

    /// The weights; `index` is the content of [`INDEX`] where there is one.
    pub(crate) fn weights(&self, index: Option<&str>) -> Result<Vec<File>> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let mut names: BTreeSet<String> = BTreeSet::new();
        if let Some(index) = index {
            let index: Index = serde_json::from_str(index)
                .map_err(|error| self.lacks(&format!("its {INDEX} does not parse ({error})")))?;
            names.extend(index.weight_map.into_values());
        } else if self.files.contains_key(WEIGHTS) {
            names.insert(WEIGHTS.to_owned());
        }
        if self.files.contains_key(ADAPTER) {
            names.insert(ADAPTER.to_owned());
        }
        if names.is_empty() {
            return Err(self.lacks("it has no safetensors; juror reads no other weights"));
        }
        names.iter().map(|name| self.file(name)).collect()
    }

    fn file(&self, name: &str) -> Result<File> {
        let found = self.files.get(name).ok_or_else(|| self.lacks(&format!("it has no {name}")))?;
        if !is_inner_path(name) {
            return Err(self.lacks(&format!("it names a file outside of itself, {name:?}")));
        }
        let known = match (&found.lfs, found.size, &found.blob_id) {
            (Some(lfs), ..) if is_hex(&lfs.sha256, 64) => {
                Some((lfs.size, Digest::Sha256(lfs.sha256.clone())))
            }
            (None, Some(size), Some(id)) if is_hex(id, 40) => Some((size, Digest::GitBlob(id.clone()))),
            _ => None,
        };
        let (size, digest) =
            known.ok_or_else(|| self.lacks(&format!("the hub tells no size and checksum of {name}")))?;
        Ok(File { name: name.to_owned(), size, digest })
    }

    fn lacks(&self, reason: &str) -> Error {
        Error::Repository { reason: reason.to_owned(), repo: self.repo.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(files: &str) -> Listing {
        let text = format!(r#"{{"sha":"{}","siblings":[{files}]}}"#, "0".repeat(40));
        Listing::parse(&text, &RepoId::parse("a/b").unwrap(), "http://hub").unwrap()
    }

    fn plain(name: &str) -> String {
        format!(r#"{{"rfilename":"{name}","size":3,"blobId":"{}"}}"#, "a".repeat(40))
    }

    fn names(files: Vec<File>) -> Vec<String> {
        files.into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn only_what_a_judge_reads_is_taken() {
        let all = ["config.json", "README.md", "model.py", "x.bin", "tokenizer.json", "model.safetensors"]
            .map(plain);
        let listing = listing(&all.join(","));
        assert_eq!(names(listing.small().unwrap()), ["config.json", "tokenizer.json"]);
        assert_eq!(names(listing.weights(None).unwrap()), ["model.safetensors"]);
    }

    #[test]
    fn shards_are_those_of_the_index() {
        let listing = listing(
            &["config.json", "m-1.safetensors", "m-2.safetensors", "old.safetensors"].map(plain).join(","),
        );
        let index = r#"{"weight_map":{"a":"m-2.safetensors","b":"m-1.safetensors","c":"m-1.safetensors"}}"#;
        assert_eq!(names(listing.weights(Some(index)).unwrap()), ["m-1.safetensors", "m-2.safetensors"]);
        let lost =
            listing.weights(Some(r#"{"weight_map":{"a":"m-3.safetensors"}}"#)).unwrap_err().to_string();
        assert!(lost.contains("m-3.safetensors") && lost.ends_with("a/b"), "{lost}");
    }

    #[test]
    fn what_cannot_be_checked_or_leaves_the_folder_is_refused() {
        let outside = listing(&[plain("config.json"), plain("../evil")].join(","));
        assert!(outside.weights(Some(r#"{"weight_map":{"a":"../evil"}}"#)).is_err());
        let unknown = listing(r#"{"rfilename":"config.json"}"#);
        assert!(unknown.small().unwrap_err().to_string().contains("checksum"));
        let other = listing(&[plain("config.json"), plain("pytorch_model.bin")].join(","));
        assert!(other.weights(None).unwrap_err().to_string().contains("no safetensors"));
        assert!(listing(&plain("model.safetensors")).small().is_err());
    }
}
