//! Lists of inputs: files or standard input, one input a line.
//!
//! Lines are bytes, since paths need not be UTF-8. Empty lines are skipped; a carriage return before the
//! end of a line belongs to the line's end.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};

/// Two videos to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The first.
    pub a: PathBuf,
    /// The second.
    pub b: PathBuf,
}

/// The videos that `list` names, one a line.
///
/// # Errors
/// When the list cannot be read or is empty.
pub fn videos(list: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = read(list)?;
    let videos: Vec<PathBuf> = lines(&text).map(|(_, line)| path(line)).collect();
    ensure!(!videos.is_empty(), "the list names no video: {}", list.display());
    Ok(videos)
}

/// The pairs that `list` names, one a line, separated by a tab.
///
/// # Errors
/// When the list cannot be read or is empty, or a line has not exactly one tab.
pub fn pairs(list: &Path) -> anyhow::Result<Vec<Pair>> {
    let text = read(list)?;
    let mut pairs = Vec::new();
    for (number, line) in lines(&text) {
        let mut parts = line.split(|&byte| byte == b'\t').filter(|part| !part.is_empty());
        let (Some(a), Some(b), None) = (parts.next(), parts.next(), parts.next()) else {
            bail!("line {number} is not two paths separated by a tab: {}", list.display());
        };
        pairs.push(Pair { a: path(a), b: path(b) });
    }
    ensure!(!pairs.is_empty(), "the list names no pair: {}", list.display());
    Ok(pairs)
}

fn read(list: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    if list == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text).context("cannot read the list from standard input")?;
    } else {
        text = std::fs::read(list)
            .map_err(|reason| anyhow!("cannot read the list: {reason}: {}", list.display()))?;
    }
    Ok(text)
}

/// Lines that say something, with their numbers from 1.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    text.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| (index + 1, line))
}

fn path(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    let name = {
        use std::os::unix::ffi::OsStringExt;
        OsString::from_vec(bytes.to_vec())
    };
    #[cfg(not(unix))]
    let name = OsString::from(String::from_utf8_lossy(bytes).into_owned());
    PathBuf::from(name)
}
