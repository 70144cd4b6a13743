//! The SHA-256 of a file, computed beside other work on it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use juror_media::MediaError;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Runs `work` and meanwhile hashes the file at `path` on a thread of its own; gives what `work` gives and
/// the hash, hexadecimal. Hashing stops when `work` fails.
///
/// # Errors
/// That of `work`, or that of reading the file.
pub(crate) fn sha256_of_file<T, E>(
    path: &Path,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<(T, String), Error>
where
    Error: From<E>,
{
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hashing = scope.spawn(|| hash(path, &stop));
        let done = work();
        stop.store(done.is_err(), Ordering::Relaxed);
        let hashed =
            hashing.join().unwrap_or_else(|_| Err(io::Error::other("the hashing thread ended early")));
        let done = done?;
        let hashed =
            hashed.map_err(|error| MediaError::NotFound { reason: error.to_string(), path: path.into() })?;
        Ok((done, hashed))
    })
}

fn hash(path: &Path, stop: &AtomicBool) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    while !stop.load(Ordering::Relaxed) {
        match file.read(&mut chunk)? {
            0 => break,
            count => hasher.update(&chunk[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_standard() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "abc").unwrap();
        let (done, sha256) = sha256_of_file(file.path(), || Ok::<_, Error>(7)).unwrap();
        assert_eq!(done, 7);
        // FIPS 180-4, example of one block.
        assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_failure_of_the_work_wins() {
        let failed = sha256_of_file(Path::new("no/such/file"), || {
            Err::<(), _>(Error::Answer("its margin is NaN".to_owned()))
        });
        assert!(matches!(failed, Err(Error::Answer(_))));
    }
}
