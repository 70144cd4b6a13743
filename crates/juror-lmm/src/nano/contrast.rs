//! The contrast of two videos: what tells them apart where they show the same.
//!
//! Ranking one video at a time has to tell its faults from its content; two encodes of one source can be laid over each other, and
//! the content cancels. With a difference part `d = D x` and a common part `c = C x + b` of what is known of a place `x`
//!
//! ```text
//! contrast(A, B) = mean over places of w . (gelu(dA - dB + cA + cB) - gelu(dB - dA + cA + cB))
//! ```
//!
//! which is antisymmetric by its form. Both parts are computed once a video; a pair costs two activations a place. Leaves out: aligning
//! videos that are shifted against each other, in space or in time; of such pairs training shows what can still be told.

use super::body::Linear;
use candle_core::{D, Result, Tensor};
use juror_nn::ops;
use juror_nn::params::{Init, Params};

/// The weights.
pub(super) struct Contrast {
    difference: Linear,
    common: Linear,
    out: Tensor, // [1, hidden]
}

impl Contrast {
    pub(super) fn new(p: &Params, name: &str, input: usize, hidden: usize) -> Result<Self> {
        Ok(Self {
            difference: Linear::new(p, &format!("{name}.difference"), input, hidden)?,
            common: Linear::new(p, &format!("{name}.common"), input, hidden)?,
            out: p.get_or_init(&format!("{name}.out.weight"), &[1, hidden], Init::Normal(0.05))?,
        })
    }

    /// Both parts of one video: `[videos, places, input]` to `[videos, places, 2 hidden]`.
    pub(super) fn parts(&self, x: &Tensor) -> Result<Tensor> {
        Tensor::cat(&[self.difference.forward(x)?, self.common.forward(x)?], D::Minus1)
    }

    /// `[pairs]` from the parts of A and of B, `[pairs, places, 2 hidden]`.
    pub(super) fn between(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let hidden = self.out.dim(1)?;
        let part = |x: &Tensor, i: usize| x.narrow(D::Minus1, i * hidden, hidden);
        let difference = (part(a, 0)? - part(b, 0)?)?;
        let common = (part(a, 1)? + part(b, 1)?)?;
        let towards_a = ops::gelu(&(&common + &difference)?)?;
        let towards_b = ops::gelu(&(&common - &difference)?)?;
        let lead = (towards_a - towards_b)?.mean(1)?; // [pairs, hidden]
        ops::linear(&lead, &self.out, None)?.squeeze(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_other_order_gives_exactly_the_opposite() {
        let params = Params::seeded(5, &Device::Cpu);
        let contrast = Contrast::new(&params, "contrast", 6, 4).unwrap();
        let seen = |shift: f32| {
            let values: Vec<f32> = (0..2 * 3 * 6).map(|i| (i as f32 * 0.7 + shift).sin()).collect();
            contrast.parts(&Tensor::from_vec(values, (2, 3, 6), &Device::Cpu).unwrap()).unwrap()
        };
        let (a, b) = (seen(0.0), seen(1.3));
        let read = |x: &Tensor, y: &Tensor| contrast.between(x, y).unwrap().to_vec1::<f32>().unwrap();
        let forward = read(&a, &b);
        assert!(forward.iter().all(|lead| lead.abs() > 1e-5), "{forward:?}");
        assert_eq!(forward.iter().map(|lead| -lead).collect::<Vec<_>>(), read(&b, &a));
        assert_eq!(read(&a, &a), [0.0, 0.0]);
    }
}
