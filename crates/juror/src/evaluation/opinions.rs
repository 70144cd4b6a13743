//! Ratings of single observers, made into one rating for each video: quality, bias and inconsistency are recovered together as
//! ITU-T P.910 and P.913 do ([`juror_stats::observers`]), so that nobody has to be thrown out.

use std::collections::HashMap;
use std::path::Path;

use juror_stats::observers::{self, recover};

use super::files::Rating;
use super::table::{Place, Row};
use super::{Error, files::Observer};

/// Half a 95 % interval in standard errors.
const HALF_WIDTH: f64 = 1.96;

/// The opinions read so far.
#[derive(Default)]
pub(super) struct Opinions {
    /// The first row of each video.
    videos: Vec<Rating>,
    observers: Vec<String>,
    ratings: Vec<observers::Rating>,
    of_video: HashMap<String, usize>,
    of_observer: HashMap<String, usize>,
    places: HashMap<(usize, usize), Place>,
}

impl Opinions {
    /// Adds the opinion of `observer`, the `mos` of `rating`.
    ///
    /// # Errors
    /// An observer who rated the video before.
    pub fn add(&mut self, row: &Row<'_>, observer: String, rating: Rating) -> Result<(), Error> {
        let score = rating.mos;
        let video = *self.of_video.entry(rating.video.clone()).or_insert(self.videos.len());
        if video == self.videos.len() {
            self.videos.push(rating);
        }
        let by = *self.of_observer.entry(observer.clone()).or_insert(self.observers.len());
        if by == self.observers.len() {
            self.observers.push(observer);
        }
        if let Some(earlier) = self.places.insert((by, video), row.place) {
            let (observer, video) = (&self.observers[by], &self.videos[video].video);
            return Err(row.wrong(format!("`{observer}` rated `{video}` at {earlier} already")));
        }
        self.ratings.push(observers::Rating { observer: by, video, score });
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.ratings.is_empty()
    }

    /// The ratings of the videos, and the observers.
    ///
    /// # Errors
    /// Observers who share no video, so that their bias cannot be told from quality; arithmetic that does not converge.
    pub fn recovered(self, path: &Path) -> Result<(Vec<Rating>, Vec<Observer>), Error> {
        let found = recover(self.videos.len(), self.observers.len(), &self.ratings)?;
        if found.groups > 1 {
            let reason = format!(
                "the observers fall into {} groups that rated no video in common; their bias cannot be told from quality",
                found.groups
            );
            return Err(Error::Unreadable { reason, path: path.to_owned() });
        }
        let counted = |of: &dyn Fn(&observers::Rating) -> usize, count: usize| {
            let mut counts = vec![0usize; count];
            self.ratings.iter().for_each(|rating| counts[of(rating)] += 1);
            counts
        };
        let opinions = counted(&|rating| rating.video, self.videos.len());
        let given = counted(&|rating| rating.observer, self.observers.len());
        let mut rows = self.videos;
        for (video, row) in rows.iter_mut().enumerate() {
            let votes = opinions[video] as f64;
            row.mos = found.quality[video].unwrap_or(row.mos);
            // The deviation with which that many equal observers would have this interval.
            row.std = found.ci95[video].map(|ci95| ci95.width() / 2.0 / HALF_WIDTH * votes.sqrt());
            row.votes = Some(votes);
        }
        let observer = |(by, observer): (usize, String)| Observer {
            observer,
            ratings: given[by],
            bias: found.bias[by].unwrap_or(0.0),
            inconsistency: found.inconsistency[by].unwrap_or(0.0),
        };
        Ok((rows, self.observers.into_iter().enumerate().map(observer).collect()))
    }
}
