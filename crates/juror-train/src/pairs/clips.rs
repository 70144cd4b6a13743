//! Clips: the made videos as files named by their ids, and how large they may grow together.
//!
//! A clip is a function of its source's frames and its recipe, so that it may be removed once it is judged and made again,
//! byte for byte, when it is wanted. Clips that a codec's distortion ends are that codec's stream; others get a last, all but
//! invisible H.264 encode, as files reach people. Without that a level too mild to see would differ from its source by the
//! encode alone, so the pristine version gets it too.

use super::plan::Role;
use anyhow::{Context, Result};
use juror_media::Frame;
use juror_media::distort::Chain;
use juror_media::encode::{Codec, EncodeOptions, Encoder, Rate};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder of clips.
#[derive(Debug)]
pub struct Clips {
    folder: PathBuf,
    limit_bytes: u64,
    bytes: AtomicU64,
}

/// The path of a clip below the folder of the set, with slashes on every system.
#[must_use]
pub fn relative(id: &str) -> String {
    format!("clips/{}/{id}.mp4", id.get(..2).unwrap_or("__"))
}

impl Clips {
    /// Opens the folder, and removes what a killed run left half made.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(run_dir: &Path, limit_gib: f64) -> Result<Self> {
        let folder = run_dir.join("clips");
        let context = || format!("cannot use the folder {}", folder.display());
        std::fs::create_dir_all(&folder).with_context(context)?;
        let mut bytes = 0;
        for shelf in std::fs::read_dir(&folder).with_context(context)? {
            let shelf = shelf.with_context(context)?;
            if !shelf.file_type().with_context(context)?.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(shelf.path()).with_context(context)? {
                let entry = entry.with_context(context)?;
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    std::fs::remove_file(entry.path()).with_context(context)?;
                } else {
                    bytes += entry.metadata().with_context(context)?.len();
                }
            }
        }
        let limit_bytes = (limit_gib * f64::from(1 << 30)) as u64;
        Ok(Self { folder: run_dir.to_owned(), limit_bytes, bytes: AtomicU64::new(bytes) })
    }

    /// Where the clip of this id is, or would be.
    #[must_use]
    pub fn path(&self, id: &str) -> PathBuf {
        self.folder.join(relative(id))
    }

    /// Whether the clip is there.
    #[must_use]
    pub fn holds(&self, id: &str) -> bool {
        self.path(id).is_file()
    }

    /// Size of all clips.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether `more` bytes fit.
    #[must_use]
    pub fn has_room(&self, more: u64) -> bool {
        self.bytes().saturating_add(more) <= self.limit_bytes
    }

    /// Writes a clip; gives its size.
    ///
    /// # Errors
    /// [`MediaError::Write`] for a disk that cannot take it, else what the encoder cannot do.
    ///
    /// [`MediaError::Write`]: juror_media::MediaError::Write
    pub fn write(&self, id: &str, frames: &[Frame], fps: f64, options: EncodeOptions) -> Result<u64> {
        let path = self.path(id);
        if let Some(shelf) = path.parent() {
            std::fs::create_dir_all(shelf).with_context(|| format!("cannot make {}", shelf.display()))?;
        }
        self.remove(id)?;
        let mut encoder = Encoder::create(&path, fps, options)?;
        for frame in frames {
            encoder.push(frame)?;
        }
        encoder.finish()?;
        let bytes =
            std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Removes a clip, if it is there.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, id: &str) -> Result<()> {
        let path = self.path(id);
        let Ok(metadata) = std::fs::metadata(&path) else { return Ok(()) };
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        self.bytes.fetch_sub(metadata.len().min(self.bytes()), Ordering::Relaxed);
        Ok(())
    }
}

/// What is applied to frames, and the encode of the file.
#[must_use]
pub fn steps_and_encode(role: &Role, delivery_crf: f64) -> (Chain, EncodeOptions) {
    let delivery = || EncodeOptions {
        preset: Some("veryfast".into()),
        ..EncodeOptions::new(Codec::H264, Rate::Crf(delivery_crf))
    };
    let Role::Distorted { chain, .. } = role else { return (Chain::default(), delivery()) };
    if let [earlier @ .., last] = chain.distortions()
        && let Some(options) = last.encode_options()
    {
        return (Chain::new(earlier.to_vec()), options);
    }
    (chain.clone(), delivery())
}
