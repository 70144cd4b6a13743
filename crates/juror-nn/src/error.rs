//! The error of this crate, and its bridge to candle's, so that model code may use `?` on both.

use std::path::PathBuf;

/// What can go wrong outside plain tensor work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// Parameters do not fit the model that asked for them.
    #[error("parameters do not fit the model: {0}")]
    Params(ParamsMismatch),
    /// A parameter was asked for twice with different shapes.
    #[error("parameter {name} asked for as {asked:?}, but it exists as {existing:?}")]
    Reshaped {
        /// Full name.
        name: String,
        /// Shape asked for now.
        asked: Vec<usize>,
        /// Shape of the first request.
        existing: Vec<usize>,
    },
    /// A setting lies outside what is allowed.
    #[error("{what} is {value}, allowed: {allowed}")]
    Setting {
        /// Name of the setting.
        what: &'static str,
        /// Given value.
        value: String,
        /// Allowed values.
        allowed: &'static str,
    },
    /// A file is not what it should be.
    #[error("{what}: {path}")]
    Format {
        /// What is wrong.
        what: String,
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{source}: {path}")]
    Io {
        /// Cause.
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { source, path }
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Tensor(error) => error,
            other => candle_core::Error::wrap(other),
        }
    }
}

/// Which parameters are missing, left over, or of another shape.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ParamsMismatch {
    /// Asked for by the model, absent in the file.
    pub missing: Vec<String>,
    /// In the file, never asked for.
    pub extra: Vec<String>,
    /// `(name, shape in the file, shape asked for)`.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl ParamsMismatch {
    /// True when everything fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.misshapen.is_empty()
    }
}

impl std::fmt::Display for ParamsMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 12;
        let mut parts = Vec::new();
        let list = |names: &[String]| {
            let more = if names.len() > SHOWN {
                format!(", and {} more", names.len() - SHOWN)
            } else {
                String::new()
            };
            format!("{}{more}", names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", "))
        };
        if !self.missing.is_empty() {
            parts.push(format!("{} missing ({})", self.missing.len(), list(&self.missing)));
        }
        if !self.extra.is_empty() {
            parts.push(format!("{} extra ({})", self.extra.len(), list(&self.extra)));
        }
        if !self.misshapen.is_empty() {
            let names: Vec<String> = self
                .misshapen
                .iter()
                .map(|(name, found, asked)| format!("{name} is {found:?}, asked {asked:?}"))
                .collect();
            parts.push(format!("{} of another shape ({})", names.len(), list(&names)));
        }
        f.write_str(&parts.join("; "))
    }
}
