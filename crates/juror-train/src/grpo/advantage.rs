//! From rewards to advantages: `A = (r - mean_group) / (std + 1e-4)`, std unbiased, of the group, the batch or absent.

use super::ScaleRewards;
use crate::rewards::{mean, unbiased_variance};

/// What GRPO knows of a batch's rewards.
#[derive(Clone, Debug, PartialEq)]
pub struct Advantages {
    /// One per rollout, group by group.
    pub values: Vec<f64>,
    /// Unbiased standard deviation of each group's rewards.
    pub stds: Vec<f64>,
    /// Groups whose rewards are all equal: their advantages are exactly 0, nothing is learnt from them.
    pub equal: Vec<bool>,
}

/// Advantages of `rewards`, rollouts of one prompt side by side, `num_generations` each.
#[must_use]
pub fn advantages(rewards: &[f64], num_generations: usize, scale: ScaleRewards) -> Advantages {
    const EPSILON: f64 = 1e-4;
    let batch_std = unbiased_variance(rewards).unwrap_or(0.0).sqrt();
    let mut all =
        Advantages { values: Vec::with_capacity(rewards.len()), stds: Vec::new(), equal: Vec::new() };
    for group in rewards.chunks(num_generations.max(1)) {
        let (centre, std) = (mean(group), unbiased_variance(group).unwrap_or(0.0).sqrt());
        // Sums of equal rewards may differ in their last bits.
        let equal = std <= 1e-9 * centre.abs().max(1.0);
        let divisor = match scale {
            ScaleRewards::Group => std + EPSILON,
            ScaleRewards::Batch => batch_std + EPSILON,
            ScaleRewards::None => 1.0,
        };
        all.values.extend(group.iter().map(|r| if equal { 0.0 } else { (r - centre) / divisor }));
        all.stds.push(std);
        all.equal.push(equal);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rewards_teach_nothing_and_are_counted() {
        let third = 0.1 + 0.2;
        let all = advantages(&[0.3, third, 0.3, 1.0, 0.0, 1.0], 3, ScaleRewards::Group);
        assert_eq!(all.equal, [true, false]);
        assert_eq!(all.values[..3], [0.0; 3]);
        let expected = (1.0 / 3.0) / ((1.0f64 / 3.0).sqrt() + 1e-4);
        assert!((all.values[3] - expected).abs() < 1e-12 && (all.values[4] + 2.0 * expected).abs() < 1e-12);
    }

    #[test]
    fn the_worked_example_of_the_design_comes_out() {
        let rank = [0.977782, 0.815436, 0.996950, 0.923575];
        let regression = [0.475114, 0.065093, 0.651848, 0.220072];
        let rewards: Vec<f64> = rank.iter().zip(regression).map(|(a, b)| a + b + 1.0).collect();
        let known = [0.506052, -1.183559, 1.084347, -0.406841];
        for (value, known) in advantages(&rewards, 4, ScaleRewards::Group).values.iter().zip(known) {
            assert!((value - known).abs() < 2e-6, "{value} {known}");
        }
    }
}
