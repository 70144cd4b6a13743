//! Normal and Student's t distributions, with tails that keep their relative precision.

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::erf::erfc_inv;

const SQRT_2: f64 = std::f64::consts::SQRT_2;
/// `sqrt(2 pi)`.
const SQRT_TAU: f64 = 2.506_628_274_631_000_5;

/// Density of the standard normal distribution.
pub fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / SQRT_TAU
}

/// Probability that a standard normal number is below `x`.
pub fn probability(x: f64) -> f64 {
    0.5 * libm::erfc(-x / SQRT_2)
}

/// `x` such that a standard normal number is below it with probability `p` (0 < p < 1).
pub fn quantile(p: f64) -> f64 {
    -SQRT_2 * erfc_inv(2.0 * p)
}

/// `ln(probability(x))`, exact far into the left tail too.
pub fn log_probability(x: f64) -> f64 {
    if x > -10.0 { probability(x).ln() } else { -0.5 * x * x - (SQRT_TAU / left_tail_ratio(x)).ln() }
}

/// `density(x) / probability(x)`, the derivative of [`log_probability`].
pub fn inverse_mills(x: f64) -> f64 {
    if x > -10.0 { density(x) / probability(x) } else { 1.0 / left_tail_ratio(x) }
}

/// `probability(x) / density(x)` for x far below 0, by Laplace's continued fraction `1 / (t + 1 / (t + 2 / (t + ...)))`.
fn left_tail_ratio(x: f64) -> f64 {
    let t = -x;
    1.0 / (1..=40).rev().fold(t, |tail, k| t + f64::from(k) / tail)
}

/// `x` such that a t-distributed number with `freedom` degrees of freedom is below it with probability `p`.
pub fn t_quantile(p: f64, freedom: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, freedom) {
        Ok(t) if freedom < 1e6 => t.inverse_cdf(p),
        _ => quantile(p),
    }
}

/// Two-sided p-value of a t statistic.
pub fn t_two_sided(t: f64, freedom: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, freedom) {
        Ok(distribution) => (2.0 * distribution.cdf(-t.abs())).min(1.0),
        Err(_) => two_sided(t),
    }
}

/// Two-sided p-value of a standard normal statistic.
pub fn two_sided(z: f64) -> f64 {
    (2.0 * probability(-z.abs())).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn tails_join_smoothly_and_match_known_values() {
        // Values of scipy.stats.norm.logcdf.
        assert_relative_eq!(log_probability(-5.0), -15.064_998_393_988_73, max_relative = 1e-13);
        assert_relative_eq!(log_probability(-12.0), -75.410_673_001_568_81, max_relative = 1e-12);
        assert_relative_eq!(
            log_probability(-9.999_999_99),
            log_probability(-10.000_000_01),
            max_relative = 1e-8
        );
        assert_relative_eq!(inverse_mills(-9.999_999_99), inverse_mills(-10.000_000_01), max_relative = 1e-8);
        assert!(log_probability(-1e8).is_finite());
    }

    #[test]
    fn quantiles_undo_probabilities() {
        for x in [-6.0, -1.959_963_984_540_054, 0.0, 0.3, 4.0] {
            assert_relative_eq!(quantile(probability(x)), x, epsilon = 1e-9);
        }
        assert_relative_eq!(t_quantile(0.975, 5.0), 2.570_581_835_636_314, max_relative = 1e-8);
    }
}
