//! What a set holds: how many pairs of which kind, how they are distributed, and how far the labels can be trusted.
//!
//! *Agreement* is measured where the truth is known: over all pairs of two severities of one family (not only the chosen ones), before
//! severity corrects anything, the share whose label has the sign of the order. Videos whose samples are equal are no pair;
//! two equal labels agree by half.

use super::build::SourcePlan;
use super::choose::{Labelled, Pair, PairSource};
use super::plan::Role;
use super::select::Measured;
use super::sources::Reject;
use crate::panel::scale::Seat;
use juror_media::measure::Measurements;
use juror_stats::levels::Level;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Pairs of known order and how many of them a label has right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Pairs of known order with a label.
    pub pairs: usize,
    /// Pairs whose label has the right sign; equal labels count one half.
    pub right: f64,
}

impl Agreement {
    fn add(&mut self, difference: f64) {
        self.pairs += 1;
        self.right += if difference == 0.0 { 0.5 } else { f64::from(u8::from(difference > 0.0)) };
    }

    /// 0..1; none without pairs.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.pairs > 0).then(|| self.right / self.pairs as f64)
    }
}

/// Agreement with known severities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeverityAgreement {
    /// Of the panel's label.
    pub panel: Agreement,
    /// Of the panel, for severities one level apart.
    pub adjacent: Agreement,
    /// Of the panel, by what was done.
    pub by_kind: BTreeMap<String, Agreement>,
    /// Of each judge alone.
    pub by_judge: BTreeMap<String, Agreement>,
}

/// What a set holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Pairs of the set.
    pub pairs: usize,
    /// Pairs by source, then by level of A against B.
    pub by_source: BTreeMap<String, BTreeMap<String, usize>>,
    /// Margins by source, in their order in the set.
    pub margins: BTreeMap<String, Vec<f64>>,
    /// Pairs in which a kind of distortion occurs.
    pub by_kind: BTreeMap<String, usize>,
    /// Sources used.
    pub sources: usize,
    /// Sources rejected, by kind of reason.
    pub rejects: BTreeMap<String, usize>,
    /// What the files measure that are used, by measurement.
    pub measurements: BTreeMap<String, Vec<f64>>,
    /// Videos with a label.
    pub videos: usize,
    /// Videos that could not be made, by reason.
    pub failed: BTreeMap<String, usize>,
    /// The panel.
    pub judges: Vec<Seat>,
    /// Points of every labelled video by each judge, and `panel` for the mean.
    pub scores: BTreeMap<String, Vec<f64>>,
    /// Standard deviation over the judges of every video that several scored.
    pub deviations: Vec<f64>,
    /// Labels held against known severities.
    pub agreement: SeverityAgreement,
    /// Pairs whose order the student has wrong, of all severity pairs of the set that it scored.
    pub student_wrong: Option<Agreement>,
}

/// Sums a set up.
#[must_use]
pub fn of(
    plans: &[SourcePlan],
    labelled: &Labelled,
    pairs: &[Pair],
    rejects: &[Reject],
    measured: &[Measured],
) -> Summary {
    let mut by_source: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut margins: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut by_kind: BTreeMap<String, usize> = BTreeMap::new();
    let mut student = Agreement::default();
    for pair in pairs {
        let source = pair.source.name().to_owned();
        let level = pair.level.word().to_owned();
        *by_source.entry(source.clone()).or_default().entry(level).or_default() += 1;
        margins.entry(source).or_default().push(pair.margin);
        let mut kinds: Vec<String> = [pair.a, pair.b]
            .iter()
            .flat_map(|&v| kinds_of(&labelled.videos[v].planned(plans).role))
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            *by_kind.entry(kind).or_default() += 1;
        }
        if pair.source == PairSource::Severity
            && let Some(margin) = pair.student_margin
        {
            student.add(margin * pair.margin);
        }
    }
    let mut scores: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for video in &labelled.videos {
        scores.entry("panel".into()).or_default().push(video.label.mean);
        for (seat, points) in labelled.seats.iter().zip(&video.label.points) {
            scores.entry(seat.name.clone()).or_default().extend(points);
        }
    }
    let mut reject_kinds: BTreeMap<String, usize> = BTreeMap::new();
    for reject in rejects {
        *reject_kinds.entry(reject.kind.to_owned()).or_default() += 1;
    }
    let mut measurements: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for used in measured.iter().filter(|m| m.is_used()) {
        for (name, value) in Measurements::NAMES.into_iter().zip(used.report.measurements.values()) {
            measurements.entry(name.to_owned()).or_default().push(value);
        }
    }
    let mut failed: BTreeMap<String, usize> = BTreeMap::new();
    for (_, reason) in &labelled.failed {
        *failed.entry(reason.clone()).or_default() += 1;
    }
    Summary {
        pairs: pairs.len(),
        by_source,
        margins,
        by_kind,
        sources: plans.len(),
        rejects: reject_kinds,
        measurements,
        videos: labelled.videos.len(),
        failed,
        judges: labelled.seats.clone(),
        scores,
        deviations: labelled.videos.iter().filter_map(|v| v.label.variance.map(f64::sqrt)).collect(),
        agreement: agreement(plans, labelled),
        student_wrong: (student.pairs > 0).then_some(student),
    }
}

fn kinds_of(role: &Role) -> Vec<String> {
    match role {
        Role::Distorted { chain, .. } => chain.distortions().iter().map(|d| d.kind().to_string()).collect(),
        _ => Vec::new(),
    }
}

/// Labels held against all known orders.
fn agreement(plans: &[SourcePlan], labelled: &Labelled) -> SeverityAgreement {
    let mut agreement = SeverityAgreement::default();
    for videos in labelled.videos.chunk_by(|a, b| a.source == b.source) {
        for a in videos {
            for b in videos {
                let (place_a, place_b, chain) = match (&a.planned(plans).role, &b.planned(plans).role) {
                    (Role::Pristine, Role::Distorted { place, chain, .. }) => (0, *place, chain),
                    (
                        Role::Distorted { family, place, .. },
                        Role::Distorted { family: other, place: worse, chain },
                    ) if family == other => (*place, *worse, chain),
                    _ => continue,
                };
                if place_a >= place_b || a.facts.sha256 == b.facts.sha256 {
                    continue;
                }
                let difference = a.label.mean - b.label.mean;
                agreement.panel.add(difference);
                if place_b - place_a == 1 {
                    agreement.adjacent.add(difference);
                }
                if let Some(last) = chain.distortions().last() {
                    agreement.by_kind.entry(last.kind().to_string()).or_default().add(difference);
                }
                for (seat, points) in labelled.seats.iter().zip(a.label.points.iter().zip(&b.label.points)) {
                    if let (Some(a), Some(b)) = points {
                        agreement.by_judge.entry(seat.name.clone()).or_default().add(a - b);
                    }
                }
            }
        }
    }
    agreement
}

/// The levels, in the order of tables and plots.
#[must_use]
pub fn levels() -> [&'static str; 5] {
    Level::ALL.map(Level::word)
}
