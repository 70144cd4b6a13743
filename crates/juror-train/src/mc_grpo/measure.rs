//! How good a decoder's reasons and margins are on pairs it never saw: greedy rollouts of both orders.

use super::actor::{NanoActor, Speech, Writing, groups};
use super::config::RewardConfig;
use super::pairs::Pair;
use crate::decoder::Library;
use crate::rewards::{Attribution, Format, Preference, Reward, mean};
use anyhow::Result;
use juror_lmm::nano::Decoder;
use juror_nn::sampling::Sampling;
use juror_stats::correlation::{ScorePairs, srcc};
use serde::{Deserialize, Serialize};

/// Prompts written at a time.
const BATCH: usize = 64;

/// Figures over pairs; margins are of both orders, `(m_AB - m_BA) / 2`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Figures {
    /// Pairs.
    pub pairs: usize,
    /// Rank correlation of the margin behind the reasons with the target.
    pub margin_srcc: Option<f64>,
    /// Its mean absolute error, in points.
    pub margin_error: f64,
    /// Mean of `|m_AB + m_BA|`, in points.
    pub order_gap: f64,
    /// Rank correlation of the margin right after the question.
    pub question_srcc: Option<f64>,
    /// Its mean absolute error, in points.
    pub question_error: f64,
    /// Share of texts in the asked form.
    pub format: f64,
    /// Share of texts that take the right side.
    pub preference: f64,
    /// Mean F1 of the distortions named.
    pub attribution: f64,
}

impl Figures {
    /// All figures but the number of pairs, as people read them.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Option<f64>); 8] {
        [
            ("margin behind the reasons, SRCC", self.margin_srcc),
            ("margin behind the reasons, mean error (points)", Some(self.margin_error)),
            ("gap between the orders (points)", Some(self.order_gap)),
            ("margin after the question, SRCC", self.question_srcc),
            ("margin after the question, mean error (points)", Some(self.question_error)),
            ("right form", Some(self.format)),
            ("right side", Some(self.preference)),
            ("distortions, F1", Some(self.attribution)),
        ]
    }
}

/// Measures `decoder` on `prompts`, pairs each followed by its mirror; `None` without prompts.
///
/// # Errors
/// When tensor work fails.
pub fn measure(
    library: &Library<'_>,
    decoder: &Decoder,
    speech: &Speech,
    prompts: &[Pair],
    rewards: &RewardConfig,
    max_tokens: usize,
) -> Result<Option<Figures>> {
    if prompts.is_empty() {
        return Ok(None);
    }
    let writing = Writing { sampling: &Sampling::greedy(), rollouts: 1, max_tokens, seed: 0, first: 0 };
    let (mut rollouts, mut questions) = (Vec::new(), Vec::new());
    for prompts in prompts.chunks(BATCH) {
        let (more, asked) = NanoActor::write(library, decoder, speech, prompts, &writing)?;
        rollouts.extend(more);
        questions.extend(asked);
    }
    let groups = groups(library, prompts, &rollouts);
    let share = |reward: &dyn Reward| mean(&reward.rate(&groups).concat());
    let targets: Vec<f64> = prompts.iter().step_by(2).map(|p| p.target).collect();
    let behind: Vec<f64> = rollouts.iter().map(|r| r.margin.unwrap_or(0.0)).collect();
    let both =
        |margins: &[f64]| -> Vec<f64> { margins.chunks(2).map(|m| (m[0] - m[m.len() - 1]) / 2.0).collect() };
    let (margins, asked) = (both(&behind), both(&questions));
    let correlation = |found: &[f64]| -> Result<Option<f64>> {
        Ok(if found.len() < 2 { None } else { srcc(&ScorePairs::new(found.to_vec(), targets.clone())?) })
    };
    let error =
        |found: &[f64]| mean(&found.iter().zip(&targets).map(|(m, t)| (m - t).abs()).collect::<Vec<_>>());
    let gaps: Vec<f64> = behind.chunks(2).map(|m| (m[0] + m[m.len() - 1]).abs()).collect();
    Ok(Some(Figures {
        pairs: targets.len(),
        margin_srcc: correlation(&margins)?,
        margin_error: error(&margins),
        order_gap: mean(&gaps),
        question_srcc: correlation(&asked)?,
        question_error: error(&asked),
        format: share(&Format),
        preference: share(&Preference { tie: rewards.tie, side: rewards.side }),
        attribution: share(&Attribution),
    }))
}
