//! Labels by the current student and the yardstick, and the pairs on which they differ most.
//!
//! Of each group of the pool the student compares all versions with each other; least squares turn its margins into a scale,
//! whose posterior variance (inverse Hessian, `juror_stats::scaling`) says how far its comparisons agree. The scale is centred on the
//! student's absolute scores. With the student's mean s and variance v + student_sd², and the yardstick's y, in points:
//!
//! ```text
//! label = (s / (v + student_sd²) + y / yardstick_sd²) / (1 / (v + student_sd²) + 1 / yardstick_sd²)
//! ```
//!
//! Hard pairs are gMAD's ([`crate::pairs::mining`]): alike to one, different to the other, over all groups.

use super::config::{LabelConfig, MiningConfig};
use crate::data::groups::GroupFile;
use anyhow::Result;
use juror_lmm::nano::Nano;
use juror_lmm::{JudgeOptions, Lmm, Watched};
use juror_stats::scaling::{Comparison, Noise, PairTable, scale_margins};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What is said of one version of a group; points.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Label {
    /// Id of the group.
    pub group: String,
    /// Version within the group.
    pub version: usize,
    /// By the student's comparisons.
    pub student: f64,
    /// Posterior variance of the student's scale.
    pub variance: f64,
    /// By the yardstick.
    pub yardstick: f64,
    /// Both, by their precision.
    pub label: f64,
}

/// Two versions that are hard to tell: places in the list of labels, the one that the attacker prefers first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HardPair {
    /// Preferred by the attacker.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// Whether the student is the attacker, who finds them different; else the yardstick.
    pub student_differs: bool,
}

/// Labels of all versions of all groups, in order.
///
/// # Errors
/// When a version cannot be judged.
pub fn label(nano: &Nano, groups: &[GroupFile], settings: &LabelConfig) -> Result<Vec<Label>> {
    let labels: Vec<Vec<Label>> =
        groups.par_iter().map(|group| label_group(nano, group, settings)).collect::<Result<_>>()?;
    Ok(labels.concat())
}

fn label_group(nano: &Nano, group: &GroupFile, settings: &LabelConfig) -> Result<Vec<Label>> {
    let versions: Vec<Watched> = (0..group.examples.len())
        .map(|version| Ok(nano.watched(&group.observation(version)?, None)?))
        .collect::<Result<_>>()?;
    let mut comparisons = Vec::new();
    let mut centre = 0.0;
    for (a, watched) in versions.iter().enumerate() {
        centre += nano.score(watched, &JudgeOptions::PLAIN)?.score / versions.len() as f64;
        for (b, other) in versions.iter().enumerate().skip(a + 1) {
            let margin = nano.compare(watched, other, &JudgeOptions::PLAIN)?.margin;
            comparisons.push(Comparison::new(a, b, margin));
        }
    }
    let noise = Noise::Known(nano.config().calibration.margin_sd.max(1e-3));
    let scale = scale_margins(&PairTable::new(versions.len(), comparisons)?, noise)?.scale;
    let of = |(version, example): (usize, &crate::data::groups::Example)| {
        let student = (centre + scale.scores[version]).clamp(1.0, 5.0);
        let variance = scale.standard_error(version).unwrap_or(0.0).powi(2);
        let yardstick = 1.0 + 4.0 * example.quality;
        let by_student = 1.0 / (variance + settings.student_sd.powi(2));
        let by_yardstick = settings.yardstick_sd.powi(-2);
        let label = (student * by_student + yardstick * by_yardstick) / (by_student + by_yardstick);
        Label { group: group.id.clone(), version, student, variance, yardstick, label }
    };
    Ok(group.examples.iter().enumerate().map(of).collect())
}

/// The pairs on which student and yardstick differ most, in both roles.
#[must_use]
pub fn mine(labels: &[Label], settings: &MiningConfig) -> Vec<HardPair> {
    let student: Vec<Option<f64>> = labels.iter().map(|label| Some(label.student)).collect();
    let yardstick: Vec<Option<f64>> = labels.iter().map(|label| Some(label.yardstick)).collect();
    let search = settings.search();
    let mut pairs = Vec::new();
    for (attacker, defender, student_differs) in [(&student, &yardstick, true), (&yardstick, &student, false)]
    {
        let found = search.pairs(attacker, defender);
        pairs.extend(found.into_iter().map(|(a, b)| HardPair { a, b, student_differs }));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_pairs_come_from_both_sides() {
        let label = |(version, (student, yardstick)): (usize, (f64, f64))| Label {
            group: "g".into(),
            version,
            student,
            variance: 0.0,
            yardstick,
            label: 0.0,
        };
        // 0 and 1 are alike to the yardstick only, 2 and 3 to the student only.
        let said = [(1.0, 2.0), (4.0, 2.1), (4.5, 4.0), (4.5, 5.0)];
        let labels: Vec<Label> = said.into_iter().enumerate().map(label).collect();
        let settings = MiningConfig { levels: 1, tolerance: 0.2, pairs_per_level: 1, share: 0.5 };
        let pair = |a, b, student_differs| HardPair { a, b, student_differs };
        assert_eq!(mine(&labels, &settings), [pair(1, 0, true), pair(3, 2, false)]);
    }
}
