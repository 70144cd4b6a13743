//! One source, several instruction sets: loops written plainly, compiled for AVX-512, for AVX2 and for the base
//! instruction set, and chosen at run time. All three use fused multiply-add, so they give the same bits.
//!
//! Also the elementary functions these loops need, as polynomials without branches, so that they vectorise:
//! `exp` to 1.2e-7 relative (on [-87, 88]), `sigmoid` to 3e-7 relative, the normal distribution function to 4e-7
//! relative where it is above 1e-30 (see the tests).

/// Defines a function whose body is compiled for each instruction set.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)] // kernels take their shapes as plain numbers
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                match $crate::cpu::simd::level() {
                    // SAFETY: `level` has found these features on this CPU.
                    $crate::cpu::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::cpu::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                    $crate::cpu::simd::Level::Base => plain($($arg),*),
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            plain($($arg),*)
        }
    };
}
pub(crate) use multiversion;

/// Best instruction set of this CPU.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Avx512,
    Avx2,
    Base,
}

#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn level() -> Level {
    use std::arch::is_x86_feature_detected as has;
    if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("fma") {
        Level::Avx512
    } else if has!("avx2") && has!("fma") {
        Level::Avx2
    } else {
        Level::Base
    }
}

/// Lanes of partial sums: two AVX-512 registers.
const LANES: usize = 32;

/// Folds 32 partial results pairwise.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = combine(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// `Σ f(a[i], b[i])` in 32 partial sums.
#[inline(always)]
pub(crate) fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += f(a[i], b[i]);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += f(a, b);
    }
    fold(lanes, |a, b| a + b)
}

/// `Σ f(a[i])` in 32 partial sums.
#[inline(always)]
pub(crate) fn sum(a: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    sum2(a, a, |a, _| f(a))
}

/// Greatest value, `-inf` for none.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = a.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = greater(chunk[i], lanes[i]);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = greater(value, *lane);
    }
    fold(lanes, greater)
}

/// `eˣ`: `2ⁿ·eʳ` with `|r| <= ln2/2` (Cephes' polynomial); arguments are held in [-87.3, 88.3], below gives 0.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it rounds to an integer in the low bits
    let held = x.clamp(-87.3, 88.3);
    let shifted = held.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, held);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5] {
        p = p.mul_add(r, c);
    }
    let p = p.mul_add(r * r, r) + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < -87.3 { 0.0 } else { p * power }
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let top = if x < 0.0 { e } else { 1.0 };
    top / (1.0 + e)
}

/// `(Φ(x), φ(x))`: distribution function and density of the standard normal.
///
/// `Φ(-|x|) = e^(-x²/2)·Q(t)`, `t = 1 / (1 + 0.3·|x|)`, `Q` fitted to the scaled complementary error function.
#[inline(always)]
pub(crate) fn normal(x: f32) -> (f32, f32) {
    let a = x.abs();
    // x² loses bits that the exponential would magnify; carry what rounding took.
    let square = a * a;
    let lost = a.mul_add(a, -square);
    let lost = if square < 200.0 { lost } else { 0.0 };
    let bell = exp(-0.5 * square) * 0.5f32.mul_add(-lost, 1.0);
    let t = 1.0 / 0.3f32.mul_add(a, 1.0);
    let mut q = Q[0];
    for &c in &Q[1..] {
        q = q.mul_add(t, c);
    }
    let tail = bell * q;
    let phi = if x < 0.0 { tail } else { 1.0 - tail };
    (phi, bell * 0.398_942_3)
}

/// Coefficients of `Q`, highest power first.
const Q: [f32; 10] = [
    -4.509_372_5e-3,
    6.181_552_4e-2,
    -2.216_725_3e-1,
    2.950_423_6e-1,
    -1.285_69e-1,
    1.687_389_8e-1,
    8.623_886e-2,
    1.235_976_6e-1,
    1.193_015_9e-1,
    1.595_300_5e-5,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Complementary error function by its Taylor series (small) or continued fraction (large), in f64.
    fn erfc(z: f64) -> f64 {
        if z < 0.0 {
            2.0 - erfc(-z)
        } else if z < 2.0 {
            let (mut term, mut sum) = (z, z);
            for n in 1..80 {
                term *= -z * z / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            1.0 - sum * 2.0 / std::f64::consts::PI.sqrt()
        } else {
            let fraction = (1..200).rev().fold(z, |below, n| z + f64::from(n) / 2.0 / below);
            (-z * z).exp() / fraction / std::f64::consts::PI.sqrt()
        }
    }

    #[test]
    fn exp_is_exact_to_a_few_units() {
        let mut worst = 0.0_f64;
        for i in 0..=2_000_000 {
            let x = -87.0 + 175.0 * (i as f32) / 2e6;
            let want = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) / want - 1.0).abs());
        }
        assert!(worst < 1.2e-7, "{worst}");
        assert_eq!((exp(0.0), exp(-100.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
    }

    #[test]
    fn sigmoid_is_exact_to_a_few_units() {
        let mut worst = 0.0_f64;
        for i in 0..=1_000_000 {
            let x = -80.0 + 160.0 * (i as f32) / 1e6;
            let want = 1.0 / (1.0 + f64::from(-x).exp());
            worst = worst.max((f64::from(sigmoid(x)) / want - 1.0).abs());
        }
        assert!(worst < 3e-7, "{worst}");
    }

    #[test]
    fn normal_is_exact_to_a_few_units() {
        let (mut worst, mut worst_density) = (0.0_f64, 0.0_f64);
        for i in 0..=300_000 {
            let x = -11.0 + 22.0 * (i as f32) / 3e5;
            let wide = f64::from(x);
            let (phi, density) = normal(x);
            let want = 0.5 * erfc(-wide * std::f64::consts::FRAC_1_SQRT_2);
            worst = worst.max((f64::from(phi) / want - 1.0).abs());
            let want = (-0.5 * wide * wide).exp() / std::f64::consts::TAU.sqrt();
            worst_density = worst_density.max((f64::from(density) / want - 1.0).abs());
        }
        assert!(worst < 4e-7 && worst_density < 4e-7, "{worst} {worst_density}");
        assert_eq!(normal(f32::INFINITY).0, 1.0);
        assert_eq!(normal(-1e30).0, 0.0);
    }
}
