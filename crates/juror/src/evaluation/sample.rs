//! The videos that are rated and scored, and every figure over them.

use std::collections::BTreeMap;

use juror_stats::calibration::wilson;
use juror_stats::correlation::{
    self, Correlation, LadderOrder, Overall, ScorePairs, compare_predictors, half_widths, join_by_id,
    ladder_order, outlier_ratio,
};
use juror_stats::{Bootstrap, StatsError};

use super::{Error, Rating, Ratings, Scores};
use crate::record::evaluation::{Against, Agreement, Figure, Missing, ends};

/// Videos with a rating and a score (and a second score, where two files are compared), at least 2; neither the scores
/// nor the ratings are all the same.
#[derive(Debug, Clone)]
pub struct Sample {
    ratings: Vec<Rating>,
    pairs: ScorePairs,
    second: Option<(String, Vec<f64>)>,
    missing: Missing,
}

/// The figures over a [`Sample`].
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Over all videos.
    pub agreement: Agreement,
    /// Of ladders, where there are some.
    pub ladders: Option<LadderOrder>,
    /// Of each group, where there are groups.
    pub per_group: Option<BTreeMap<String, Agreement>>,
    /// Means over the groups, weighted.
    pub weighted: Option<Overall>,
    /// Against the second scores.
    pub against: Option<Against>,
    /// What a careful reader should know.
    pub warnings: Vec<String>,
}

impl Sample {
    /// Joins the files. Videos that lack a rating or a score are an error, unless `allow_missing` leaves them out.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::TooFew`], [`Error::Constant`].
    pub fn join(
        ratings: &Ratings,
        scores: &Scores,
        against: Option<&Scores>,
        allow_missing: bool,
    ) -> Result<Self, Error> {
        let rated: Vec<&str> = ratings.rows.iter().map(|row| row.video.as_str()).collect();
        let (mut kept, mut missing) = match_up(&rated, scores, allow_missing)?;
        let mut second_places = Vec::new();
        if let Some(second) = against {
            let (also, also_missing) = match_up(&rated, second, allow_missing)?;
            let of_rating: BTreeMap<usize, usize> = also.into_iter().collect();
            kept.retain(|(rating, _)| of_rating.contains_key(rating));
            second_places = kept.iter().map(|(rating, _)| of_rating[rating]).collect();
            for (all, more) in [
                (&mut missing.without_score, also_missing.without_score),
                (&mut missing.without_rating, also_missing.without_rating),
            ] {
                all.extend(more);
                let mut seen = std::collections::HashSet::new();
                all.retain(|id| seen.insert(id.clone()));
            }
        }
        if kept.len() < 2 {
            return Err(Error::TooFew { count: kept.len(), path: scores.path.clone() });
        }
        let rows: Vec<Rating> = kept.iter().map(|(rating, _)| ratings.rows[*rating].clone()).collect();
        let predicted: Vec<f64> = kept.iter().map(|(_, score)| scores.values[*score]).collect();
        let subjective: Vec<f64> = rows.iter().map(|row| row.mos).collect();
        let second = against.map(|second| {
            let values = second_places.iter().map(|&place| second.values[place]).collect::<Vec<f64>>();
            (second.path.to_string_lossy().into_owned(), values)
        });
        let all = [
            (Some(&predicted), "scores", &scores.path),
            (Some(&subjective), "ratings", &ratings.path),
            (second.as_ref().map(|(_, values)| values), "scores", against.map_or(&scores.path, |s| &s.path)),
        ];
        for (values, what, path) in all {
            if let Some(values) = values.filter(|values| values.iter().all(|value| *value == values[0])) {
                let (what, path) = (what.to_owned(), path.clone());
                return Err(Error::Constant { what, count: values.len(), value: values[0], path });
            }
        }
        Ok(Self { ratings: rows, pairs: ScorePairs::new(predicted, subjective)?, second, missing })
    }

    /// The scores and ratings, for a plot.
    pub fn pairs(&self) -> &ScorePairs {
        &self.pairs
    }

    /// What was left out.
    pub fn missing(&self) -> &Missing {
        &self.missing
    }

    /// Every figure, with intervals where there is a bootstrap.
    ///
    /// # Errors
    /// Only those of arithmetic.
    pub fn findings(&self, bootstrap: Option<Bootstrap>) -> Result<Findings, Error> {
        let mut warnings = Vec::new();
        let all: Vec<usize> = (0..self.ratings.len()).collect();
        let agreement = self.agreement(&all, bootstrap)?;
        if agreement.outlier_ratio.is_none() && self.ratings.iter().any(|row| row.std.is_some()) {
            warnings.push("no outlier ratio: some ratings have no `std`".to_owned());
        }
        let (per_group, weighted) = self.groups(bootstrap, &mut warnings)?;
        let against = match &self.second {
            Some((path, second)) => Some(self.against(path, second, bootstrap)?),
            None => None,
        };
        Ok(Findings { agreement, ladders: self.ladders()?, per_group, weighted, against, warnings })
    }

    /// The figures over the videos at `places`.
    fn agreement(&self, places: &[usize], bootstrap: Option<Bootstrap>) -> Result<Agreement, Error> {
        let take = |values: &[f64]| places.iter().map(|&place| values[place]).collect();
        let pairs = ScorePairs::new(take(self.pairs.predicted()), take(self.pairs.subjective()))?;
        let evaluation = correlation::evaluate(&pairs, bootstrap);
        let of = |field: fn(&Rating) -> Option<f64>| -> Option<Vec<f64>> {
            places.iter().map(|&place| field(&self.ratings[place])).collect()
        };
        let outliers = match (evaluation.logistic, of(|row| row.std)) {
            (Some(logistic), Some(std)) => {
                let half_widths = half_widths(&std, of(|row| row.votes).as_deref())?;
                let mapped = correlation::Logistic::Four(logistic).mapped(&pairs);
                let share = outlier_ratio(&mapped, &half_widths)?;
                Some(Figure { value: Some(share), ci95: Some(ends(wilson(share, pairs.len() as f64))) })
            }
            _ => None,
        };
        Ok(Agreement::new(&evaluation, outliers))
    }

    #[allow(clippy::type_complexity, reason = "a map of groups and what is weighted over them")]
    fn groups(
        &self,
        bootstrap: Option<Bootstrap>,
        warnings: &mut Vec<String>,
    ) -> Result<(Option<BTreeMap<String, Agreement>>, Option<Overall>), Error> {
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, row) in self.ratings.iter().enumerate() {
            if let Some(group) = &row.group {
                places.entry(group).or_default().push(place);
            }
        }
        if places.is_empty() {
            return Ok((None, None));
        }
        let grouped: usize = places.values().map(Vec::len).sum();
        if grouped < self.ratings.len() {
            warnings.push(format!("{} videos have no group", self.ratings.len() - grouped));
        }
        let mut groups = BTreeMap::new();
        for (group, places) in places {
            let agreement = self.agreement(&places, bootstrap)?;
            if agreement.srcc.value.is_none() {
                warnings.push(format!(
                    "no correlation: fewer than two different scores or ratings in group {group}"
                ));
            }
            groups.insert(group.to_owned(), agreement);
        }
        let weighted = weighted(groups.values());
        Ok((Some(groups), Some(weighted)))
    }

    fn against(&self, path: &str, second: &[f64], bootstrap: Option<Bootstrap>) -> Result<Against, Error> {
        let compare = |correlation| -> Result<_, StatsError> {
            let (first, subjective) = (self.pairs.predicted(), self.pairs.subjective());
            let compared = compare_predictors(first, second, subjective, correlation, bootstrap)?;
            Ok(compared.map(Into::into))
        };
        let (srcc, plcc) = (compare(Correlation::Srcc)?, compare(Correlation::Plcc)?);
        Ok(Against { scores: path.to_owned(), srcc, plcc })
    }

    fn ladders(&self) -> Result<Option<LadderOrder>, Error> {
        let (mut names, mut bitrates, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for (row, &score) in self.ratings.iter().zip(self.pairs.predicted()) {
            if let (Some(ladder), Some(bitrate)) = (&row.ladder, row.bitrate) {
                names.push(ladder);
                bitrates.push(bitrate);
                scores.push(score);
            }
        }
        if names.is_empty() {
            return Ok(None);
        }
        Ok(Some(ladder_order(&names, &bitrates, &scores, 0.0)?))
    }
}

/// Places `(in the ratings, in the scores)` of the videos in both, and the videos in one only.
fn match_up(
    rated: &[&str],
    scores: &Scores,
    allow_missing: bool,
) -> Result<(Vec<(usize, usize)>, Missing), Error> {
    let joined = join_by_id(rated, &scores.videos)?;
    for (ids, what) in [
        (&joined.only_first, "videos with a rating, but without a score"),
        (&joined.only_second, "videos with a score, but without a rating"),
    ] {
        if !allow_missing && !ids.is_empty() {
            return Err(Error::Missing { what, ids: ids.clone(), path: scores.path.clone() });
        }
    }
    Ok((joined.both, Missing { without_score: joined.only_first, without_rating: joined.only_second }))
}

/// Means over `sets`, each weighted by its number of videos; a set that lacks a figure does not count for it.
fn weighted<'a>(sets: impl Iterator<Item = &'a Agreement> + Clone) -> Overall {
    let mean = |figure: fn(&Agreement) -> Figure| {
        let values = sets.clone().filter_map(|set| Some((figure(set).value?, set.n as f64)));
        correlation::evaluation::weighted_mean(values)
    };
    Overall {
        n: sets.clone().map(|set| set.n).sum(),
        srcc: mean(|set| set.srcc),
        krcc: mean(|set| set.krcc),
        plcc: mean(|set| set.plcc),
        plcc_raw: mean(|set| set.plcc_raw),
        pair_accuracy: mean(|set| set.pair_accuracy),
    }
}
