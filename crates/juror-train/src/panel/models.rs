//! Judges that need no reference: the embedded `nano` and every checkpoint that `juror` opens.

use super::{Failure, Judge, Subject};
use anyhow::Context;
use juror::{Juror, Options};

/// A model as a judge; its score is on the five-point scale.
pub struct Model {
    name: String,
    juror: Juror,
    options: Options,
}

impl Model {
    /// Opens an embedded name, a folder, or a checkpoint that was pulled.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        // One thread each: the panel works on several videos at once.
        let juror = Juror::open(name).with_context(|| format!("judge `{name}`"))?.with_threads(1);
        Ok(Self { name: name.to_owned(), juror, options: Options { rationale: false, ..Options::default() } })
    }
}

impl Judge for Model {
    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> String {
        let model = self.juror.model();
        format!("model {} {}", model.name, model.sha256)
    }

    fn is_on_scale(&self) -> bool {
        true
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<f64, Failure> {
        let viewed = self.juror.watch(subject.video, &self.options, &|_| ());
        let score = viewed.and_then(|viewed| self.juror.score_viewed(&viewed));
        score.map_err(|error| Failure::Video(error.to_string()))
    }
}
