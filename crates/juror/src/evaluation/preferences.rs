//! Is the probability of a preference what it says? What people chose, beside what a judge told of the same pairs.
//!
//! Preferences: `a`, `b`, `preferred` (`a`, `b`, `tie`, or the share of people who preferred `a`) and, where known, `votes`.
//! Comparisons: `a`, `b`, `margin` and `probability`, as the records of `juror compare` have them; failures are passed over. A
//! pair counts whichever way round it stands. The arithmetic is [`juror_stats::calibration`]'s.

use std::collections::HashMap;
use std::path::Path;

use juror_stats::calibration::{Calibration, Outcome, Reliability, reliability};

use super::Error;
use super::table::{self, Place, Row};

/// Bins of the reliability diagram.
const BINS: usize = 10;
/// Share of a tie that counts for either side.
const TIE_SHARE: f64 = 0.5;

/// What people chose of one pair.
#[derive(Debug, Clone, PartialEq)]
struct Choice {
    a: String,
    b: String,
    /// Share that preferred `a`.
    preferred: f64,
    votes: f64,
}

/// What a judge told of one pair.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Told {
    margin: f64,
    probability: f64,
}

/// Pairs of which both are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Preferences {
    outcomes: Vec<Outcome>,
    probabilities: Vec<f64>,
    /// Pairs that people chose from and the judge did not compare; `a` and `b` with a bar between.
    pub missing: Vec<String>,
}

/// How well probabilities keep their word.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Pairs.
    pub pairs: usize,
    /// People's choices.
    pub votes: f64,
    /// Share of the choices on the side that the margin is on; choices of half count for half.
    pub agreement: f64,
    /// Of the probabilities as told.
    pub told: Reliability,
    /// Of the logistic of the margin fitted to these very choices: how much a slope could still mend.
    pub fitted: Reliability,
    /// Its slope, log-odds per point.
    pub slope: f64,
}

impl Preferences {
    /// Reads and joins both files.
    ///
    /// # Errors
    /// See [`Error`]; pairs without a comparison, unless `allow_missing` leaves them out.
    pub fn read(choices: &Path, comparisons: &Path, allow_missing: bool) -> Result<Self, Error> {
        let told = read_comparisons(comparisons)?;
        let (mut outcomes, mut probabilities, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for choice in read_choices(choices)? {
            let Choice { a, b, preferred, votes } = choice;
            let found = match (told.get(&(a.clone(), b.clone())), told.get(&(b.clone(), a.clone()))) {
                (Some(told), _) => *told,
                (None, Some(told)) => Told { margin: -told.margin, probability: 1.0 - told.probability },
                (None, None) => {
                    missing.push(format!("{a}|{b}"));
                    continue;
                }
            };
            outcomes.push(Outcome { margin: found.margin, preferred, weight: votes });
            probabilities.push(found.probability);
        }
        let path = || comparisons.to_owned();
        if !allow_missing && !missing.is_empty() {
            let what = "pairs that people chose from, but without a comparison";
            return Err(Error::Missing { what, ids: missing, path: path() });
        }
        if outcomes.is_empty() {
            return Err(Error::TooFew { count: 0, path: path() });
        }
        Ok(Self { outcomes, probabilities, missing })
    }

    /// Every figure.
    ///
    /// # Errors
    /// Only those of arithmetic (margins that are all 0).
    pub fn kept(&self) -> Result<Kept, Error> {
        let calibration = Calibration::fit(&self.outcomes)?;
        let fitted: Vec<f64> = self.outcomes.iter().map(|o| calibration.probability(o.margin)).collect();
        let votes: f64 = self.outcomes.iter().map(|o| o.weight).sum();
        let agreed = self.outcomes.iter().map(|o| match o.margin {
            margin if margin > 0.0 => o.weight * o.preferred,
            margin if margin < 0.0 => o.weight * (1.0 - o.preferred),
            _ => o.weight * TIE_SHARE,
        });
        Ok(Kept {
            pairs: self.outcomes.len(),
            votes,
            agreement: agreed.sum::<f64>() / votes,
            told: reliability(&self.probabilities, &self.outcomes, BINS)?,
            fitted: reliability(&fitted, &self.outcomes, BINS)?,
            slope: calibration.slope,
        })
    }
}

fn read_choices(path: &Path) -> Result<Vec<Choice>, Error> {
    let mut choices: Vec<Choice> = Vec::new();
    table::read(path, &[&["a"], &["b"], &["preferred"]], &mut |row| {
        let (a, b) = pair(row)?;
        let preferred = preferred(row)?;
        let votes = row.number("votes")?.unwrap_or(1.0);
        if votes <= 0.0 {
            return Err(row.wrong(format!("`votes` is {votes}; allowed is above 0")));
        }
        choices.push(Choice { a, b, preferred, votes });
        Ok(())
    })?;
    if choices.is_empty() {
        return Err(Error::Unreadable { reason: "it holds no choice".to_owned(), path: path.to_owned() });
    }
    Ok(choices)
}

fn read_comparisons(path: &Path) -> Result<HashMap<(String, String), Told>, Error> {
    let mut told = HashMap::new();
    let mut places: HashMap<(String, String), Place> = HashMap::new();
    let needed: [&[&str]; 4] = [&["a", "a.path"], &["b", "b.path"], &["margin"], &["probability"]];
    table::read(path, &needed, &mut |row| {
        if row.text("type").as_deref() == Some("error") {
            return Ok(());
        }
        let (a, b) = pair(row)?;
        let (key, other) = ((a.clone(), b.clone()), (b, a));
        let earlier = places.insert(key.clone(), row.place).or_else(|| places.get(&other).copied());
        if let Some(earlier) = earlier {
            return Err(row.wrong(format!("`{}` and `{}` stand at {earlier} already", key.0, key.1)));
        }
        let probability = share(row, "probability")?;
        told.insert(key, Told { margin: row.needed_number("margin")?, probability });
        Ok(())
    })?;
    Ok(told)
}

/// Which share of people preferred `a` in a row.
pub(crate) fn preferred(row: &Row<'_>) -> Result<f64, Error> {
    match row.text("preferred").as_deref() {
        Some("a") => Ok(1.0),
        Some("b") => Ok(0.0),
        Some("tie") => Ok(TIE_SHARE),
        _ => share(row, "preferred"),
    }
}

/// The two videos of a row.
pub(crate) fn pair(row: &Row<'_>) -> Result<(String, String), Error> {
    let video = |column: &str| {
        let id = row.text(column).or_else(|| row.text(&format!("{column}.path")));
        id.ok_or_else(|| row.wrong(format!("`{column}` is missing")))
    };
    let (a, b) = (video("a")?, video("b")?);
    if a == b {
        return Err(row.wrong(format!("`a` and `b` are both `{a}`")));
    }
    Ok((a, b))
}

fn share(row: &Row<'_>, column: &str) -> Result<f64, Error> {
    let share = row.needed_number(column)?;
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    Err(row.wrong(format!("`{column}` is {share}; allowed is 0 to 1")))
}
