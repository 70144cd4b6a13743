//! Judges that need neither a reference nor training on ratings: measurements of single pictures.
//!
//! The mean over pictures at eight times of NIQE's distance from natural pictures (Mittal et al. 2013; 0 is natural), CPBD's
//! share of sharp edges (Narvekar and Karam 2011; 1 is sharp) or blockiness at the borders of 8 x 8 blocks (1 is none), as
//! [`juror_media::measure`] has them. They know one kind of fault each and are put on the scale by the panel's logistic, which falls
//! where more is worse. Left out: BRISQUE's regression, whose weights come from ratings under another licence; and time.

use super::{Failure, Judge, Subject};
use anyhow::{Result, ensure};
use juror_media::measure::{self, Grey, NaturalModel};
use juror_media::{SamplingPlan, Video};

/// Pictures that are measured.
const MOMENTS: usize = 8;

/// `None` where a picture has too little to measure.
type OfPicture = fn(&Grey) -> Option<f64>;

/// A measurement of pictures as a judge.
pub struct Classical {
    name: &'static str,
    measure: OfPicture,
}

impl Classical {
    /// The measurement of this name; `None` where none is called so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let known: [(&'static str, OfPicture); 3] = [
            ("niqe", |grey| NaturalModel::embedded().distance(grey)),
            ("cpbd", measure::cpbd),
            ("blockiness", |grey| Some(measure::blockiness(grey))),
        ];
        known.into_iter().find(|known| known.0 == name).map(|(name, measure)| Self { name, measure })
    }

    fn mean(&self, subject: &Subject<'_>) -> Result<f64> {
        let video = Video::open(subject.video)?.with_threads(1);
        let mut moments = video.moments(&SamplingPlan::evenly(MOMENTS)?)?;
        let mut values = Vec::new();
        while let Some(moment) = moments.next_moment()? {
            values.extend((self.measure)(&Grey::of(&moment.shown.picture)));
        }
        ensure!(!values.is_empty(), "none of its pictures has enough in it for {}", self.name);
        Ok(values.iter().sum::<f64>() / values.len() as f64)
    }
}

impl Judge for Classical {
    fn name(&self) -> &str {
        self.name
    }

    fn identity(&self) -> String {
        format!("measure {}", self.name)
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<f64, Failure> {
        self.mean(subject).map_err(|error| Failure::Video(format!("{error:#}")))
    }
}
