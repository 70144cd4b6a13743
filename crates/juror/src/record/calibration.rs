//! The record of a calibration: do probabilities of preference come true as often as they say.

use juror_stats::calibration::{Bin, Reliability};
use serde::{Deserialize, Serialize};

use super::evaluation::ends;
use super::{CalibrationType, ModelId, Provenance, Schema};
use crate::evaluation::Kept;

/// Probabilities of preference against people's choices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The record format.
    pub schema: Schema,
    /// `calibration`.
    #[serde(rename = "type")]
    pub record_type: CalibrationType,
    /// The file of people's choices.
    pub preferences: String,
    /// The file of comparisons.
    pub comparisons: String,
    /// Number of pairs.
    pub n: usize,
    /// Number of choices.
    pub votes: f64,
    /// Share of the choices on the side that the margin is on.
    pub agreement: f64,
    /// Mean distance of probability and share that came true, over the bins.
    pub expected_calibration_error: f64,
    /// Mean squared difference of probability and choice: lower is better, 0.25 for a coin.
    pub brier: f64,
    /// The reliability diagram: the bins that hold pairs, ascending.
    pub bins: Vec<ReliabilityBin>,
    /// The same with the slope that fits these choices best.
    pub fitted: Fitted,
    /// Pairs without a comparison, which are left out: `a|b`.
    pub missing: Vec<String>,
    /// How the record came about; no model had a part in it.
    #[serde(flatten)]
    pub provenance: Provenance<Option<ModelId>>,
}

/// The logistic of the margin, `1 / (1 + exp(-slope margin))`, fitted to the choices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fitted {
    /// Log-odds per point of margin.
    pub slope: f64,
    /// Its expected calibration error.
    pub expected_calibration_error: f64,
    /// Its mean squared difference.
    pub brier: f64,
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower end of the probabilities, included.
    pub lo: f64,
    /// Upper end, excluded (included in the last bin).
    pub hi: f64,
    /// Number of choices.
    pub votes: f64,
    /// Mean probability.
    pub predicted: f64,
    /// Share that came true.
    pub observed: f64,
    /// 95 % interval `[lo, hi]` of the share (Wilson).
    pub ci95: [f64; 2],
}

impl Calibration {
    /// The record of what was found.
    pub fn new(
        preferences: String,
        comparisons: String,
        kept: &Kept,
        missing: Vec<String>,
        provenance: Provenance<Option<ModelId>>,
    ) -> Self {
        let Kept { pairs, votes, agreement, told, fitted, slope } = kept;
        let Reliability { bins, expected_calibration_error, brier } = told;
        let bin = |bin: &Bin| ReliabilityBin {
            lo: bin.lo,
            hi: bin.hi,
            votes: bin.weight,
            predicted: bin.predicted,
            observed: bin.observed,
            ci95: ends(bin.ci95),
        };
        Self {
            schema: Schema,
            record_type: CalibrationType,
            preferences,
            comparisons,
            n: *pairs,
            votes: *votes,
            agreement: *agreement,
            expected_calibration_error: *expected_calibration_error,
            brier: *brier,
            bins: bins.iter().map(bin).collect(),
            fitted: Fitted {
                slope: *slope,
                expected_calibration_error: fitted.expected_calibration_error,
                brier: fitted.brier,
            },
            missing,
            provenance,
        }
    }
}
