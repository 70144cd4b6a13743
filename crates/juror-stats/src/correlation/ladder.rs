//! Do scores keep the order of bitrates? On a ladder of encodes of one source by one encoder, more bits must not look
//! worse; a judge that says so is wrong without any human rating.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{StatsError, all_finite, same_length};

/// How well scores keep the order of bitrates, over all ladders.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LadderOrder {
    /// Ladders with at least two different bitrates.
    pub ladders: usize,
    /// Share of ladders in which no rung scores below a cheaper one.
    pub ladders_kept: Option<f64>,
    /// Share of all pairs of rungs of one ladder in which the one with more bits does not score lower.
    pub pairs_kept: Option<f64>,
    /// The same share over neighbouring rungs only.
    pub neighbours_kept: Option<f64>,
}

/// Checks the order. A loss of up to `tolerance` points (0 or more) counts as kept. Rungs of equal bitrate are not
/// compared.
///
/// # Errors
/// Lists of different length; a bitrate or score that is not finite; a tolerance that is negative or not finite.
pub fn ladder_order(
    ladder: &[impl AsRef<str>],
    bitrate_kbps: &[f64],
    score: &[f64],
    tolerance: f64,
) -> Result<LadderOrder, StatsError> {
    same_length("ladders", ladder.len(), "scores", score.len())?;
    same_length("bitrates", bitrate_kbps.len(), "scores", score.len())?;
    all_finite("bitrate", bitrate_kbps)?;
    all_finite("score", score)?;
    if !(tolerance.is_finite() && tolerance >= 0.0) {
        return Err(StatsError::Setting { name: "tolerance", value: tolerance, allowed: "0 or more" });
    }
    let mut ladders: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for ((ladder, &bitrate), &score) in ladder.iter().zip(bitrate_kbps).zip(score) {
        ladders.entry(ladder.as_ref()).or_default().push((bitrate, score));
    }
    let (mut pairs, mut neighbours, mut whole) = (Share::default(), Share::default(), Share::default());
    for rungs in ladders.values_mut() {
        rungs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let lost_before = pairs.asked - pairs.kept;
        let asked_before = pairs.asked;
        for (k, low) in rungs.iter().enumerate() {
            let next_bitrate = rungs[k..].iter().map(|r| r.0).find(|&b| b > low.0);
            for high in rungs[k..].iter().filter(|high| high.0 > low.0) {
                let kept = high.1 >= low.1 - tolerance;
                pairs.count(kept);
                if Some(high.0) == next_bitrate {
                    neighbours.count(kept);
                }
            }
        }
        if pairs.asked > asked_before {
            whole.count(pairs.asked - pairs.kept == lost_before);
        }
    }
    Ok(LadderOrder {
        ladders: whole.asked,
        ladders_kept: whole.share(),
        pairs_kept: pairs.share(),
        neighbours_kept: neighbours.share(),
    })
}

#[derive(Default)]
struct Share {
    asked: usize,
    kept: usize,
}

impl Share {
    fn count(&mut self, kept: bool) {
        self.asked += 1;
        self.kept += usize::from(kept);
    }

    fn share(&self) -> Option<f64> {
        (self.asked > 0).then(|| self.kept as f64 / self.asked as f64)
    }
}
