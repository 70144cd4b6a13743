//! Files that appear only when they are complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use tempfile::TempPath;

use crate::interrupt;

/// A file in the making: written beside its place under another name, renamed when complete, and removed
/// when dropped before that or when a signal ends the process.
#[derive(Debug)]
pub struct FileInMaking {
    temporary: Option<TempPath>,
    place: PathBuf,
}

impl FileInMaking {
    /// Prepares to write `place`; fails early where that cannot be done. The temporary name keeps the
    /// extension, from which a writer may choose its container.
    ///
    /// # Errors
    /// When the folder is missing or not writable, or `place` is no regular file.
    pub fn create(place: &Path) -> anyhow::Result<(Self, File)> {
        // A link keeps being a link: the file that it names is replaced.
        let place = match fs::canonicalize(place) {
            Ok(existing) => existing,
            Err(_) => place.to_owned(),
        };
        // Renaming over a device would replace the device itself.
        if place.exists() && !place.is_file() {
            bail!("cannot write: it is not a regular file: {}", place.display());
        }
        let folder = match place.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let suffix = match place.extension() {
            Some(extension) => {
                let mut suffix = std::ffi::OsString::from(".");
                suffix.push(extension);
                suffix
            }
            None => std::ffi::OsString::new(),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".juror-").suffix(&suffix);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any program would create it (the umask applies), not private as temporary files are.
            let mode = fs::metadata(&place).map_or(0o666, |metadata| metadata.permissions().mode());
            builder.permissions(fs::Permissions::from_mode(mode));
        }
        let (file, temporary) = interrupt::register(|| {
            fs::metadata(folder)?;
            // Only the kind: tempfile's text has the temporary path, which means nothing to a user.
            let made = builder.tempfile_in(folder).map_err(|refused| refused.kind())?.into_parts();
            Ok((made.1.to_path_buf(), made))
        })
        .map_err(|reason| cannot_write(&reason, &place))?;
        Ok((Self { temporary: Some(temporary), place }, file))
    }

    /// Where the file is while in the making.
    pub fn path(&self) -> &Path {
        self.temporary.as_deref().unwrap_or(&self.place)
    }

    /// Puts the complete file in its place.
    ///
    /// # Errors
    /// When it cannot be written out or renamed; nothing is left behind then.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        let path = temporary.to_path_buf();
        interrupt::release(&path, || {
            // A full disk may show only now.
            OpenOptions::new().write(true).open(&path)?.sync_all()?;
            temporary.persist(&self.place).map_err(|refused| refused.error)
        })
        .map_err(|reason| cannot_write(&reason, &self.place))
    }
}

impl Drop for FileInMaking {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let path = temporary.to_path_buf();
            // On the way out of a failure that is told already.
            let _ = interrupt::release(&path, || temporary.close());
        }
    }
}

fn cannot_write(reason: &io::Error, place: &Path) -> anyhow::Error {
    anyhow!("cannot write: {reason}: {}", place.display())
}

/// Where results go: standard output, a file that appears when complete, or a device or pipe that is
/// written as it is.
#[derive(Debug)]
pub enum Destination {
    /// Standard output.
    Stdout(io::Stdout),
    /// A device or named pipe.
    Device(File),
    /// A regular file.
    File(FileInMaking, io::BufWriter<File>),
}

impl Destination {
    /// Standard output, or `path` where one is given.
    ///
    /// # Errors
    /// When `path` cannot be written.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout(io::stdout())) };
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            let device = OpenOptions::new().write(true).open(path);
            return device.map(Self::Device).map_err(|reason| cannot_write(&reason, path));
        }
        let (making, file) = FileInMaking::create(path)?;
        Ok(Self::File(making, io::BufWriter::new(file)))
    }

    /// Ends the writing; a file takes its place.
    ///
    /// # Errors
    /// When the last bytes cannot be written.
    pub fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut stdout) => Ok(stdout.flush()?),
            Self::Device(mut device) => Ok(device.flush()?),
            Self::File(making, mut writer) => {
                writer.flush()?;
                drop(writer);
                making.finish()
            }
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::Device(device) => device.write(bytes),
            Self::File(_, writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::Device(device) => device.flush(),
            Self::File(_, writer) => writer.flush(),
        }
    }
}
