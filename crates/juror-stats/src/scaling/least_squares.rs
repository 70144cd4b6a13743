//! Scores from signed margins by weighted least squares on the comparison graph (HodgeRank: Jiang, Lim, Yao, Ye 2011).
//!
//! Minimises `sum_e w_e (s_a - s_b - m_e)²`. The normal equations are `L s = b` with the weighted graph Laplacian `L`
//! and `b_i = sum_e ±w_e m_e`; scores are centred in each connected group. The share of the margin energy
//! `sum_e w_e m_e²` that is left in the residual is the *inconsistency*: 0 when one score per item explains every
//! margin, 1 when none of it. Units: points of the margins.
//!
//! Unlike a MAP of choices this is linear, needs no prior and does not saturate.

use super::laplacian::Laplacian;
use super::pairs::PairTable;
use super::scale::Scale;
use crate::error::StatsError;

/// What is known of the noise of a margin of weight 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Noise {
    /// Nothing: its variance is estimated from the residual, where the graph has more comparisons than it needs.
    #[default]
    Estimated,
    /// Its standard deviation, in points.
    Known(f64),
}

/// Scores explained by margins.
pub struct MarginFit {
    /// The scores, in points of the margins.
    pub scale: Scale,
    /// Share of the margin energy that no single score per item explains, 0..1; `None` without any margin but zeros.
    pub inconsistency: Option<f64>,
    /// Residual `margin - (s_a - s_b)` of each comparison, in their order.
    pub residuals: Vec<f64>,
    /// Standard deviation of a margin of weight 1; `None` when the comparisons form a tree, which leaves no residual.
    pub noise_std: Option<f64>,
}

/// Solves for the scores.
///
/// Up to 400 items variances are exact; above, they are estimated to about 1 %.
///
/// # Errors
/// A known noise that is not finite and above 0; a solver that does not converge.
pub fn scale_margins(pairs: &PairTable, noise: Noise) -> Result<MarginFit, StatsError> {
    if let Noise::Known(std) = noise
        && !(std.is_finite() && std > 0.0)
    {
        return Err(StatsError::Setting { name: "noise", value: std, allowed: "a finite number above 0" });
    }
    let edges: Vec<_> = pairs.edges().collect();
    let laplacian = Laplacian::new(pairs.items(), &edges, 0.0);
    let mut b = vec![0.0; pairs.items()];
    for c in pairs.comparisons() {
        b[c.a] += c.weight * c.margin;
        b[c.b] -= c.weight * c.margin;
    }
    let scores = laplacian.solve(&b)?;
    let components = laplacian.components().clone();

    let residuals: Vec<f64> =
        pairs.comparisons().iter().map(|c| c.margin - (scores[c.a] - scores[c.b])).collect();
    let energy = |of: &dyn Fn(usize) -> f64| -> f64 {
        pairs.comparisons().iter().enumerate().map(|(k, c)| c.weight * of(k).powi(2)).sum()
    };
    let left = energy(&|k| residuals[k]);
    let total = energy(&|k| pairs.comparisons()[k].margin);
    let inconsistency = (total > 0.0).then(|| (left / total).clamp(0.0, 1.0));

    let surplus = (pairs.comparisons().len() + components.count()).saturating_sub(pairs.items());
    let (noise_std, freedom) = match noise {
        Noise::Known(std) => (Some(std), None),
        Noise::Estimated if surplus > 0 => (Some((left / surplus as f64).sqrt()), Some(surplus as f64)),
        Noise::Estimated => (None, None),
    };
    let inverse = laplacian.inverse()?;
    let scale = Scale { scores, components, unit_std: noise_std, freedom, inverse };
    Ok(MarginFit { scale, inconsistency, residuals, noise_std })
}

/// The scores that explain the margins best under other weights (one for each comparison), nothing else.
pub(crate) fn scores_weighted(pairs: &PairTable, weights: &[f64]) -> Result<Vec<f64>, StatsError> {
    let edges: Vec<_> = pairs.comparisons().iter().zip(weights).map(|(c, &w)| (c.a, c.b, w)).collect();
    let mut b = vec![0.0; pairs.items()];
    for (c, w) in pairs.comparisons().iter().zip(weights) {
        b[c.a] += w * c.margin;
        b[c.b] -= w * c.margin;
    }
    Laplacian::new(pairs.items(), &edges, 0.0).solve(&b)
}
