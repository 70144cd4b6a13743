//! Predicted and subjective scores of the same videos, checked once; and the joining of two lists by id.

use std::collections::HashMap;

use crate::error::{StatsError, all_finite, same_length};

/// Predicted scores `x` and subjective scores `y` of the same videos, all finite, at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct ScorePairs {
    predicted: Vec<f64>,
    subjective: Vec<f64>,
}

impl ScorePairs {
    /// Checks and takes the scores.
    ///
    /// # Errors
    /// No scores; different lengths; a score that is not finite.
    pub fn new(predicted: Vec<f64>, subjective: Vec<f64>) -> Result<Self, StatsError> {
        same_length("predicted scores", predicted.len(), "subjective scores", subjective.len())?;
        if predicted.is_empty() {
            return Err(StatsError::TooFew { what: "score pairs", have: 0, need: 1 });
        }
        all_finite("predicted score", &predicted)?;
        all_finite("subjective score", &subjective)?;
        Ok(Self { predicted, subjective })
    }

    /// Predicted scores.
    pub fn predicted(&self) -> &[f64] {
        &self.predicted
    }

    /// Subjective scores.
    pub fn subjective(&self) -> &[f64] {
        &self.subjective
    }

    /// Number of videos, at least 1.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.predicted.len()
    }

    /// The pairs at these places (repetition allowed, as the bootstrap needs it); `None` for an empty choice.
    pub(crate) fn select(&self, places: &[usize]) -> Option<Self> {
        let take = |v: &[f64]| places.iter().map(|&i| v[i]).collect::<Vec<_>>();
        (!places.is_empty())
            .then(|| Self { predicted: take(&self.predicted), subjective: take(&self.subjective) })
    }

    /// The same pairs with other predictions.
    pub(crate) fn with_predicted(&self, predicted: Vec<f64>) -> Self {
        Self { predicted, subjective: self.subjective.clone() }
    }
}

/// What joining two lists by id gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Places `(in the first, in the second)` of ids that stand in both, in the order of the first.
    pub both: Vec<(usize, usize)>,
    /// Ids that only the first list has.
    pub only_first: Vec<String>,
    /// Ids that only the second list has.
    pub only_second: Vec<String>,
}

/// Joins two lists by id.
///
/// # Errors
/// An id that stands twice in a list.
pub fn join_by_id(first: &[impl AsRef<str>], second: &[impl AsRef<str>]) -> Result<Joined, StatsError> {
    let in_first = places(first)?;
    let in_second = places(second)?;
    let mut joined = Joined { both: Vec::new(), only_first: Vec::new(), only_second: Vec::new() };
    for (i, id) in first.iter().enumerate() {
        match in_second.get(id.as_ref()) {
            Some(&j) => joined.both.push((i, j)),
            None => joined.only_first.push(id.as_ref().to_owned()),
        }
    }
    joined.only_second =
        second.iter().map(AsRef::as_ref).filter(|id| !in_first.contains_key(id)).map(str::to_owned).collect();
    Ok(joined)
}

impl Joined {
    /// Errs when an id is missing on either side: the first list first.
    ///
    /// # Errors
    /// [`StatsError::MissingIds`], with every missing id of that side.
    pub fn complete(self, first: &'static str, second: &'static str) -> Result<Self, StatsError> {
        if !self.only_first.is_empty() {
            return Err(StatsError::MissingIds {
                present_in: first,
                missing_in: second,
                ids: self.only_first,
            });
        }
        if !self.only_second.is_empty() {
            return Err(StatsError::MissingIds {
                present_in: second,
                missing_in: first,
                ids: self.only_second,
            });
        }
        Ok(self)
    }
}

/// Place of each id.
fn places(ids: &[impl AsRef<str>]) -> Result<HashMap<&str, usize>, StatsError> {
    let mut places = HashMap::with_capacity(ids.len());
    for (second, id) in ids.iter().enumerate() {
        if let Some(first) = places.insert(id.as_ref(), second) {
            return Err(StatsError::DuplicateId { first, second, id: id.as_ref().to_owned() });
        }
    }
    Ok(places)
}
