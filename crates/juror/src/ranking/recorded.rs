//! A ranking of comparisons that were made elsewhere: margins of any judge, the records of `juror compare` among them, or what
//! people chose.
//!
//! Margins become least-squares scores in points, as [`super::Ranker`]'s, with the noise that their contradictions show. Choices
//! become Thurstone Case V or Bradley-Terry scores under a standard normal prior, in deviations of the difference or in logits;
//! a tie is half a choice for either side. Scores lie around 0 in every group of connected videos. A pair may stand several
//! times, either way round. The arithmetic is [`juror_stats::scaling`]'s.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use juror_stats::StatsError;
use juror_stats::scaling::{
    ChoiceTable, Choices, Comparison, Noise, PairTable, Scale, scale_choices, scale_margins, worst_cycles,
};

pub use juror_stats::scaling::ChoiceModel;

use super::{CYCLES, pairs_of};
use crate::evaluation::Error;
use crate::evaluation::preferences::{pair, preferred};
use crate::evaluation::table::{self, Row};
use crate::record::evaluation::ends;
use crate::record::ranking::{Comparisons, GraphEdge, RankedItem, Ranking, Stopped, WorstCycle};
use crate::record::{Provenance, RankingType, Schema};
use crate::verdict::Preference;

/// Precision of the prior of scores from choices: without one, a video that always won has an infinite score.
const PRIOR_PRECISION: f64 = 1.0;

/// Comparisons from a file.
#[derive(Debug)]
pub struct Recorded {
    ids: Vec<String>,
    judgements: Judgements,
}

#[derive(Debug)]
enum Judgements {
    Margins(Vec<Comparison>),
    Choices(Vec<Choices>),
}

impl Recorded {
    /// Reads the file at `path`: `a`, `b`, and `margin` (with `weight`, where known) or `preferred` (with `votes`).
    ///
    /// # Errors
    /// See [`Error`]: every message has the place and the path.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let (mut ids, mut places) = (Vec::new(), HashMap::new());
        let (mut margins, mut choices) = (Vec::new(), Vec::new());
        let needed: [&[&str]; 3] = [&["a", "a.path"], &["b", "b.path"], &["margin", "preferred"]];
        table::read(path, &needed, &mut |row| {
            if row.text("type").as_deref() == Some("error") {
                return Ok(());
            }
            let (a, b) = pair(row)?;
            let [a, b] = [a, b].map(|id| {
                *places.entry(id).or_insert_with_key(|id: &String| {
                    ids.push(id.clone());
                    ids.len() - 1
                })
            });
            // The first row says what the file holds.
            let first = margins.is_empty() && choices.is_empty();
            if !margins.is_empty() || first && row.text("margin").is_some() {
                let margin = row.needed_number("margin")?;
                margins.push(Comparison { a, b, margin, weight: above_zero(row, "weight")? });
            } else {
                let (share, votes) = (preferred(row)?, above_zero(row, "votes")?);
                choices.push(Choices {
                    a,
                    b,
                    a_preferred: share * votes,
                    b_preferred: (1.0 - share) * votes,
                });
            }
            Ok(())
        })?;
        if ids.is_empty() {
            let reason = "it holds no comparison".to_owned();
            return Err(Error::Unreadable { reason, path: path.to_owned() });
        }
        let judgements =
            if choices.is_empty() { Judgements::Margins(margins) } else { Judgements::Choices(choices) };
        Ok(Self { ids, judgements })
    }

    /// The ranking; scores of choices are `model`'s. With every pair when `with_graph`: the margin of a choice is the share of
    /// one side less that of the other.
    ///
    /// # Errors
    /// Arithmetic that does not converge.
    pub fn ranking(&self, model: ChoiceModel, with_graph: bool, seed: u64) -> Result<Ranking, StatsError> {
        let count = self.ids.len();
        let (edges, scale, inconsistency, noise, cycles): (Vec<(usize, usize, f64)>, _, _, _, _);
        match &self.judgements {
            Judgements::Margins(margins) => {
                let pairs = PairTable::new(count, margins.clone())?;
                let fit = scale_margins(&pairs, Noise::Estimated)?;
                edges = margins.iter().map(|c| (c.a, c.b, c.margin)).collect();
                cycles = worst_cycles(&pairs, &fit, CYCLES);
                (scale, inconsistency, noise) = (fit.scale, fit.inconsistency, fit.noise_std);
            }
            Judgements::Choices(choices) => {
                let table = ChoiceTable::new(count, choices.clone())?;
                let share = |c: &Choices| (c.a_preferred - c.b_preferred) / (c.a_preferred + c.b_preferred);
                edges = choices.iter().map(|c| (c.a, c.b, share(c))).collect();
                scale = scale_choices(&table, model, PRIOR_PRECISION)?.scale;
                (inconsistency, noise, cycles) = (None, None, Vec::new());
            }
        }
        let mut provenance = Provenance::without_model(seed);
        provenance.warnings.extend(super::told_of_pieces(scale.components.count()));
        let id = |item: usize| self.ids[item].clone();
        let pairs: HashSet<(usize, usize)> = edges.iter().map(|(a, b, _)| (*a.min(b), *a.max(b))).collect();
        let cycle = |cycle: juror_stats::scaling::Cycle| WorstCycle {
            paths: cycle.items.into_iter().map(id).collect(),
            margin_sum: cycle.margin_sum,
            intransitive: cycle.intransitive,
        };
        Ok(Ranking {
            schema: Schema,
            record_type: RankingType,
            items: self.items(&scale, &edges),
            comparisons: Comparisons { judged: pairs.len(), possible: pairs_of(count) },
            inconsistency,
            noise,
            stopped: Stopped::Given,
            worst_cycles: cycles.into_iter().map(cycle).collect(),
            graph: with_graph.then(|| {
                edges.iter().map(|&(a, b, margin)| GraphEdge { a: id(a), b: id(b), margin }).collect()
            }),
            provenance,
        })
    }

    /// The videos in their places.
    fn items(&self, scale: &Scale, edges: &[(usize, usize, f64)]) -> Vec<RankedItem> {
        let mut tallies = vec![[0; 3]; self.ids.len()];
        for &(a, b, margin) in edges {
            let (of_a, of_b) = match Preference::of_margin(margin) {
                Preference::A => (0, 1),
                Preference::B => (1, 0),
                Preference::Tie => (2, 2),
            };
            tallies[a][of_a] += 1;
            tallies[b][of_b] += 1;
        }
        let item = |standing: juror_stats::scaling::Standing| {
            let [wins, losses, ties] = tallies[standing.item];
            RankedItem {
                rank: standing.rank,
                path: self.ids[standing.item].clone(),
                score: scale.scores[standing.item],
                ci95: scale.interval(standing.item).map(ends),
                tied: standing.tied_with_above,
                wins,
                losses,
                ties,
                group: standing.group + 1,
                sha256: None,
            }
        };
        scale.standings().into_iter().map(item).collect()
    }
}

/// A weight, 1 where there is none.
fn above_zero(row: &Row<'_>, column: &str) -> Result<f64, Error> {
    match row.number(column)?.unwrap_or(1.0) {
        weight if weight > 0.0 => Ok(weight),
        weight => Err(row.wrong(format!("`{column}` is {weight}; allowed is above 0"))),
    }
}
