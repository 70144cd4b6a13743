//! Choosing the next token from logits: repetition penalty, temperature, top-k, top-p, then a seeded draw.
//!
//! Repetition penalty after Keskar et al. 2019 (CTRL): a positive logit of a seen token is divided by it, a negative
//! one multiplied. Top-p after Holtzman et al. 2020: the smallest set of likeliest tokens whose mass reaches `p`.
//! Ties are broken by the lower token id, so a draw depends on nothing but logits, history and generator.

use crate::{Error, Result};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How to choose tokens.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Logits are divided by it; 0 means greedy.
    pub temperature: f64,
    /// Only the k likeliest tokens.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that hold this much mass, in (0, 1].
    pub top_p: Option<f64>,
    /// 1 means none.
    pub repetition_penalty: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self::greedy()
    }
}

impl Sampling {
    /// Always the likeliest token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, top_k: None, top_p: None, repetition_penalty: 1.0 }
    }

    /// Errors on settings outside their range.
    pub fn validate(&self) -> Result<()> {
        let fail = |what, value: String, allowed| Err(Error::Setting { what, value, allowed });
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return fail("temperature", self.temperature.to_string(), "a finite number from 0");
        }
        if self.top_k == Some(0) {
            return fail("top_k", "0".into(), "1 and more");
        }
        if let Some(p) = self.top_p
            && !(p > 0.0 && p <= 1.0)
        {
            return fail("top_p", p.to_string(), "above 0, at most 1");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return fail(
                "repetition_penalty",
                self.repetition_penalty.to_string(),
                "a finite number above 0",
            );
        }
        Ok(())
    }

    /// The next token: its id and its log-probability under the untouched `logits` (temperature 1, no cuts).
    ///
    /// `history` holds the tokens the repetition penalty looks at. `None` when `logits` is empty or all NaN.
    pub fn draw(&self, logits: &[f32], history: &[u32], rng: &mut ChaCha8Rng) -> Option<(u32, f32)> {
        let mut scores: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        self.penalise(&mut scores, history);
        let mut order: Vec<u32> =
            (0..logits.len() as u32).filter(|&token| !scores[token as usize].is_nan()).collect();
        let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        let token = if self.temperature == 0.0 {
            order.into_iter().min_by(by_score)?
        } else {
            order.sort_by(by_score);
            order.truncate(self.top_k.unwrap_or(usize::MAX));
            let top = scores[*order.first()? as usize];
            let weight = |token: u32| ((scores[token as usize] - top) / self.temperature).exp();
            let total: f64 = order.iter().map(|&token| weight(token)).sum();
            let mut mass = 0.0;
            let kept = order
                .iter()
                .position(|&token| {
                    mass += weight(token);
                    mass >= self.top_p.unwrap_or(1.0) * total
                })
                .map_or(order.len(), |last| last + 1);
            order.truncate(kept);
            let mut left = rng.random::<f64>() * order.iter().map(|&token| weight(token)).sum::<f64>();
            let drawn = order.iter().copied().find(|&token| {
                left -= weight(token);
                left < 0.0
            });
            drawn.or(order.last().copied())?
        };
        Some((token, log_probability(logits, token)))
    }

    fn penalise(&self, scores: &mut [f64], history: &[u32]) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let mut seen = history.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for token in seen {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = if *score > 0.0 {
                    *score / self.repetition_penalty
                } else {
                    *score * self.repetition_penalty
                };
            }
        }
    }
}

fn log_probability(logits: &[f32], token: u32) -> f32 {
    let top = logits.iter().copied().filter(|logit| !logit.is_nan()).fold(f32::NEG_INFINITY, f32::max);
    let total: f64 =
        logits.iter().filter(|logit| !logit.is_nan()).map(|&logit| f64::from(logit - top).exp()).sum();
    (f64::from(logits[token as usize] - top) - total.ln()) as f32
}
