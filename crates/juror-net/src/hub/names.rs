//! Names of repositories, revisions and files. They become parts of addresses and of paths, so each is checked before.

use std::fmt;

use crate::error::{Error, Result};

/// A published judge that can be pulled by a short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The short name.
    pub name: &'static str,
    /// The repository.
    pub repo: &'static str,
    /// What it is.
    pub about: &'static str,
}

/// The published judges that juror opens.
pub const KNOWN: [Known; 4] = [
    Known {
        name: "vqathinker",
        repo: "kkkkkklinhan/InternVL3-VQAThinker-8B",
        about: "VQAThinker, writes scores",
    },
    Known {
        name: "w2s-vqa",
        repo: "kkkkkklinhan/llava_qwen_slowfast_w2s_stage3",
        about: "W2S-VQA, compares",
    },
    Known {
        name: "qwen3-vl-4b",
        repo: "Qwen/Qwen3-VL-4B-Instruct",
        about: "the base of VersusQ, not trained for quality",
    },
    Known {
        name: "qwen2.5-vl-7b",
        repo: "Qwen/Qwen2.5-VL-7B-Instruct",
        about: "the base of VisualQuality-R1, not trained for quality",
    },
];

/// The name of a repository, `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepoId(String);

impl RepoId {
    /// From a short name of [`KNOWN`], the last part of such a repository's name, or `owner/name`.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn parse(text: &str) -> Result<Self> {
        let is_known = |known: &&Known| {
            text.eq_ignore_ascii_case(known.name) || known.repo.split('/').next_back() == Some(text)
        };
        if let Some(known) = KNOWN.iter().find(is_known) {
            return Ok(Self(known.repo.to_owned()));
        }
        let part = |part: &str| {
            !part.is_empty()
                && part.len() <= 96
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
                && !part.starts_with(['.', '-'])
                && !part.ends_with(['.', '-'])
                && !part.contains("..")
                && !part.contains("--")
        };
        match text.split('/').collect::<Vec<_>>()[..] {
            [owner, name] if part(owner) && part(name) => Ok(Self(text.to_owned())),
            _ => {
                let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
                let allowed = format!("OWNER/NAME or one of {} is allowed", names.join(", "));
                Err(Error::Setting { what: "repository", value: text.to_owned(), allowed })
            }
        }
    }

    /// `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The short name, if it has one.
    pub fn short(&self) -> Option<&'static str> {
        KNOWN.iter().find(|known| known.repo == self.0).map(|known| known.name)
    }

    /// The folder of the repository in the cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }

    /// The repository of such a folder.
    pub(crate) fn of_folder(name: &str) -> Option<Self> {
        Self::parse(&name.strip_prefix("models--")?.replacen("--", "/", 1)).ok()
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a revision: a branch, a tag, or a commit.
pub(crate) fn check_revision(revision: &str) -> Result<()> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.contains("..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
    };
    if revision.len() <= 200 && revision.split('/').all(part) {
        return Ok(());
    }
    let allowed = "a branch, a tag or a commit is allowed".into();
    Err(Error::Setting { what: "revision", value: revision.to_owned(), allowed })
}

/// Whether `name` can be the path of a file inside a repository that stays inside it.
pub(crate) fn is_inner_path(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.len() <= 500 && !name.contains(['\\', ':', '\0']) && name.split('/').all(part)
}

/// Whether `text` is `length` digits of a hexadecimal number.
pub(crate) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A path as part of an address.
pub(crate) fn escaped(path: &str, keep_slashes: bool) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'/' if keep_slashes => out.push('/'),
            byte if byte.is_ascii_alphanumeric() || b"._-~".contains(&byte) => out.push(char::from(byte)),
            byte => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_named_in_three_ways() {
        let repo = |text: &str| RepoId::parse(text).map(|repo| repo.to_string()).ok();
        let vqathinker = Some("kkkkkklinhan/InternVL3-VQAThinker-8B".to_owned());
        assert_eq!(repo("vqathinker"), vqathinker);
        assert_eq!(repo("InternVL3-VQAThinker-8B"), vqathinker);
        assert_eq!(repo("kkkkkklinhan/InternVL3-VQAThinker-8B"), vqathinker);
        for wrong in ["", "a", "a/b/c", "../b", "a/..", "a/b c", "a//b", "/b", "a/", "a/-b", "a/b--c", "ä/b"]
        {
            assert_eq!(repo(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn folders_of_the_cache_name_their_repository() {
        for known in KNOWN {
            let repo = RepoId::parse(known.repo).unwrap();
            assert_eq!(RepoId::of_folder(&repo.folder()), Some(repo));
        }
        assert_eq!(RepoId::of_folder("datasets--a--b"), None);
        assert_eq!(RepoId::of_folder("models--.."), None);
    }

    #[test]
    fn nothing_leaves_its_folder() {
        for revision in ["main", "refs/pr/3", "v1.0", "0123abcd"] {
            assert!(check_revision(revision).is_ok(), "{revision}");
        }
        for revision in ["", "..", "a/../b", "/a", "a/", "-x", "a b", "a?b"] {
            assert!(check_revision(revision).is_err(), "{revision}");
        }
        for name in ["../a", "/a", "a/../b", "a//b", "c:\\a", "", "a\0"] {
            assert!(!is_inner_path(name), "{name}");
        }
        assert!(is_inner_path("onnx/model file.bin"));
        assert_eq!(escaped("a b/ü", true), "a%20b/%C3%BC");
        assert_eq!(escaped("refs/pr/1", false), "refs%2Fpr%2F1");
    }
}
