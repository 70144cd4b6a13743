//! One file from the hub: ranges to go on where it stopped, a checksum over all of it, its name only at the end.
//!
//! The bytes go to `DIGEST.incomplete` (the name that `huggingface_hub` uses too), which stays when something breaks off
//! and is gone on with by the next try or the next pull. It is locked, so that two processes never write one file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::Digest as _;
use sha2::Sha256;

use super::cache::{Place, failed, make_folder_of};
use super::listing::{Digest, File as Wanted};
use crate::error::{Error, Result};
use crate::http::{self, Failure, Then};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Where one file comes from.
pub(crate) struct Origin<'a> {
    pub(crate) hub: &'a super::Hub,
    pub(crate) url: String,
}

/// Gets `wanted` into its place among the blobs, unless it is there. `progress` is told how many of its bytes are there.
pub(crate) fn fetch(
    origin: &Origin<'_>,
    wanted: &Wanted,
    place: &Place,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let blob = place.blob(wanted.digest.as_str());
    if is_there(&blob, wanted.size) {
        progress(wanted.size);
        return Ok(());
    }
    let path = incomplete(&blob);
    make_folder_of(&path)?;
    let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
    let mut file = file.map_err(|source| failed(source, &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::Busy { path }),
        Err(TryLockError::Error(source)) => return Err(failed(source, &path)),
    }
    // Another process may have finished it between the two looks.
    if is_there(&blob, wanted.size) {
        progress(wanted.size);
        return Ok(());
    }
    let mut part = Part::resume(&mut file, wanted, &path)?;
    origin.hub.patience.run(|| part.go_on(origin, progress))?;
    let found = part.hash.finish();
    if found != wanted.digest.as_str() {
        fs::remove_file(&path).map_err(|source| failed(source, &path))?;
        let expected = wanted.digest.as_str().to_owned();
        return Err(Error::Checksum { found, expected, file: wanted.name.clone() });
    }
    file.sync_all().map_err(|source| failed(source, &path))?;
    fs::rename(&path, &blob).map_err(|source| failed(source, &blob))
}

/// How many bytes of `wanted` are still to come.
pub(crate) fn missing_bytes(wanted: &Wanted, place: &Place) -> u64 {
    let blob = place.blob(wanted.digest.as_str());
    if is_there(&blob, wanted.size) {
        return 0;
    }
    let begun = fs::metadata(incomplete(&blob)).map_or(0, |metadata| metadata.len());
    wanted.size - if begun <= wanted.size { begun } else { 0 }
}

/// Removes the blob of `wanted` where its bytes are not those promised: a disk that errs, a hand that changed them. Says whether it did.
pub(crate) fn discard_damaged(wanted: &Wanted, place: &Place) -> Result<bool> {
    let blob = place.blob(wanted.digest.as_str());
    if !is_there(&blob, wanted.size) {
        return Ok(false);
    }
    let mut file = File::open(&blob).map_err(|source| failed(source, &blob))?;
    let mut hash = Hash::new(&wanted.digest, wanted.size);
    hash.read(&mut file, &blob)?;
    let damaged = hash.finish() != wanted.digest.as_str();
    if damaged {
        fs::remove_file(&blob).map_err(|source| failed(source, &blob))?;
    }
    Ok(damaged)
}

fn is_there(blob: &Path, size: u64) -> bool {
    fs::metadata(blob).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

fn incomplete(blob: &Path) -> PathBuf {
    blob.with_file_name(format!("{}.incomplete", blob.file_name().unwrap_or_default().to_string_lossy()))
}

/// A file of which the first bytes are there.
struct Part<'a> {
    file: &'a mut File,
    path: &'a Path,
    wanted: &'a Wanted,
    length: u64,
    /// The most bytes that were ever there: only what goes beyond is progress, or a server that always starts anew and
    /// always breaks off would be asked for ever.
    farthest: u64,
    hash: Hash,
}

impl<'a> Part<'a> {
    /// Takes up what an earlier pull left.
    fn resume(file: &'a mut File, wanted: &'a Wanted, path: &'a Path) -> Result<Self> {
        let begun = file.metadata().map_err(|source| failed(source, path))?.len();
        let hash = Hash::new(&wanted.digest, wanted.size);
        let mut part = Self { file, path, wanted, length: 0, farthest: 0, hash };
        if begun > wanted.size {
            part.start_over()?;
        } else if begun > 0 {
            part.file.seek(SeekFrom::Start(0)).map_err(|source| failed(source, path))?;
            part.length = part.hash.read(part.file, path)?;
        }
        part.farthest = part.length;
        Ok(part)
    }

    fn start_over(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|source| failed(source, self.path))?;
        self.length = 0;
        self.hash = Hash::new(&self.wanted.digest, self.wanted.size);
        Ok(())
    }

    /// One request for all that is missing.
    fn go_on(&mut self, origin: &Origin<'_>, progress: &dyn Fn(u64)) -> Result<(), Failure> {
        progress(self.length);
        if self.length == self.wanted.size {
            return Ok(());
        }
        let begun = self.length;
        let mut request = origin.hub.get(&origin.url);
        if begun > 0 {
            request = request.header("Range", format!("bytes={begun}-"));
        }
        let mut response = request.call().map_err(|error| http::lost(&error, &origin.url))?;
        match response.status().as_u16() {
            200 if begun > 0 => self.start_over()?, // a server that knows no ranges
            200 => {}
            206 if starts_at(&response) == Some(begun) => {}
            206 | 416 => {
                self.start_over()?;
                let reason = format!("it gave another range than the one from byte {begun} on");
                let error = Error::Protocol { reason, url: origin.url.clone() };
                return Err(Failure { error, then: Then::Retry(None) });
            }
            _ => return Err(origin.hub.refused(&mut response, &origin.url)),
        }
        let copied = self.copy(&mut response.body_mut().as_reader(), progress)?;
        if self.length == self.wanted.size {
            return Ok(());
        }
        let reason = copied.map_or_else(
            |error| error.to_string(),
            |()| format!("it ends after {} of {} bytes", self.length, self.wanted.size),
        );
        let then = if self.length > self.farthest { Then::Continue } else { Then::Retry(None) };
        self.farthest = self.farthest.max(self.length);
        Err(Failure { error: Error::Connection { reason, url: origin.url.clone() }, then })
    }

    /// Writes down what comes. The outer error is the disk's, the inner one the connection's.
    fn copy(&mut self, from: &mut dyn Read, progress: &dyn Fn(u64)) -> Result<io::Result<()>> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = match from.read(&mut chunk) {
                Ok(0) => return Ok(Ok(())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(error)),
            };
            // More than was promised: the checksum will tell, and the disk must not fill.
            let room = self.wanted.size - self.length;
            let bytes = &chunk[..count.min(usize::try_from(room).unwrap_or(usize::MAX))];
            self.file.write_all(bytes).map_err(|source| failed(source, self.path))?;
            self.hash.update(bytes);
            self.length += bytes.len() as u64;
            progress(self.length);
            if bytes.len() < count {
                return Ok(Ok(()));
            }
        }
    }
}

/// The first byte of a partial answer, from `Content-Range: bytes 5-9/10`.
fn starts_at<B>(response: &ureq::http::Response<B>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// A checksum in the making.
enum Hash {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hash {
    fn new(digest: &Digest, size: u64) -> Self {
        match digest {
            Digest::Sha256(_) => Self::Sha256(Sha256::new()),
            Digest::GitBlob(_) => {
                let mut hash = Sha1::new();
                hash.update(format!("blob {size}\0"));
                Self::GitBlob(hash)
            }
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::GitBlob(hash) => hash.update(bytes),
        }
    }

    /// Takes the rest of a file in; how many bytes that was.
    fn read(&mut self, file: &mut File, path: &Path) -> Result<u64> {
        let mut chunk = vec![0; CHUNK];
        let mut length = 0;
        loop {
            let count = file.read(&mut chunk).map_err(|source| failed(source, path))?;
            if count == 0 {
                return Ok(length);
            }
            self.update(&chunk[..count]);
            length += count as u64;
        }
    }

    fn finish(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hash) => hex(&hash.clone().finalize()),
            Self::GitBlob(hash) => hex(&hash.clone().finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // FIPS 180-4, and what `git hash-object` says of the same three bytes.
        for (digest, expected) in [
            (
                Digest::Sha256(String::new()),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (Digest::GitBlob(String::new()), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"),
        ] {
            let mut hash = Hash::new(&digest, 3);
            hash.update(b"a");
            hash.update(b"bc");
            assert_eq!(hash.finish(), expected);
        }
    }
}
