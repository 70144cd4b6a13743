//! Times one optimiser step (forward, backward, clipping, AdamW) of nano's body and of its decoder on random input, at the sizes
//! of `configs/nano.toml`: 6 groups of 8 versions, 2 moments of 9 native and 3 context places; 24 pairs with texts of 80 pieces.
//!
//! The losses are plain ones over all that the network puts out: the networks are compared, not how batches are drawn. Prints
//! lines as `juror-nn`'s `stacks`; `scripts/bench-nn.sh` runs the same networks in PyTorch beside it. Argument: a part of the
//! names to run.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark may panic and prints its results

use candle_core::{DType, Device, IndexOp, Result, Tensor};
use juror_lmm::nano::{
    Body, Decoder, FACTS_LEN, KINDS, NanoConfig, Numbers, PATCH_LEN, PATCHES, PROFILE_LEN, Sides, TONE_LEN,
    VideoFeatures,
};
use juror_nn::ops;
use juror_nn::optim::{AdamW, AdamWConfig, clip_global_norm};
use juror_nn::params::Params;

#[path = "../../juror-nn/benches/timing/mod.rs"]
mod timing;

const GROUPS: usize = 6;
const VERSIONS: usize = 8;
const MOMENTS: usize = 2;
const NATIVE: usize = 9;
const CONTEXT: usize = 3;
const PAIRS: usize = 24;
const PIECES: usize = 80;

fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()
}

/// Times steps on `loss`.
fn train(name: &str, params: &Params, loss: impl Fn() -> Result<Tensor>) {
    let variables = params.variables();
    let mut adamw = AdamW::new(variables.clone(), AdamWConfig::default()).unwrap();
    let (time, cpu) = timing::measure(|| {
        let mut grads = loss().unwrap().backward().unwrap();
        clip_global_norm(&mut grads, &variables, 1.0).unwrap();
        adamw.step(&grads).unwrap();
    });
    println!("{name}\tjuror\t{time:.2}\t{cpu:.2}");
}

fn body(name: &str) {
    let config = NanoConfig::default();
    let params = Params::seeded(1, &Device::Cpu);
    let body = Body::new(&params, "body.0", &config).unwrap();
    let videos = GROUPS * VERSIONS;
    let patches = random(&[videos, MOMENTS, NATIVE + CONTEXT, PATCHES, PATCH_LEN]);
    let [profile, tone, facts] = [PROFILE_LEN, TONE_LEN, FACTS_LEN].map(|n| vec![0.3f32; n]);
    let numbers = Numbers::new((0..videos).map(|_| (&profile[..], &tone[..], &facts[..]))).unwrap();
    let pairs = (0..videos as u32)
        .flat_map(|a| (a + 1..a - a % VERSIONS as u32 + VERSIONS as u32).map(move |b| (a, b)));
    let (a, b): (Vec<u32>, Vec<u32>) = pairs.unzip();
    let [a, b] = [a, b].map(|rows| Tensor::new(rows, &Device::Cpu).unwrap());
    train(name, &params, || {
        let out = body.forward(&patches, NATIVE, &numbers)?;
        let side = |rows: &Tensor| out.views.sides.map(|t| t.index_select(rows, 0));
        let contrast = body.contrast(&side(&a)?, &side(&b)?)?;
        let all = [
            &out.rank_visual,
            &out.rank_temporal,
            &out.score_visual,
            &out.score_temporal,
            &out.dominant,
            &out.severity,
            &contrast,
        ];
        all.into_iter()
            .try_fold(Tensor::zeros((), DType::F32, &Device::Cpu)?, |sum, t| sum + t.sqr()?.mean_all()?)
    });
}

fn decoder(name: &str) {
    let config = NanoConfig::default();
    let params = Params::seeded(1, &Device::Cpu);
    let decoder = Decoder::new(&params, &config).unwrap();
    let video = || VideoFeatures {
        moments: random(&[PAIRS, config.moments, 4 * config.fragment_dim]),
        regions: random(&[PAIRS, 9, 2 * config.fragment_dim]),
        temporal: random(&[PAIRS, config.temporal_dim + PROFILE_LEN]),
        trunk: random(&[PAIRS, config.trunk_dim]),
        verdict: random(&[PAIRS, 5 + 2 * KINDS.len()]),
        sides: Sides { places: random(&[1, 1, 1]), whole: random(&[1, 1, 1]) }, // not read by the decoder
        cadence: random(&[1, 1]),                                               // nor this
    };
    let (a, b, rank) = (video(), video(), random(&[PAIRS]));
    let text: Vec<u32> = (0..PAIRS * PIECES).map(|i| (i * 31 % config.vocab_size) as u32).collect();
    let inputs = Tensor::from_vec(text.clone(), (PAIRS, PIECES), &Device::Cpu).unwrap();
    let targets = Tensor::from_vec(text, PAIRS * PIECES, &Device::Cpu).unwrap();
    train(name, &params, || {
        let videos = Tensor::cat(&[decoder.project(&a, 0)?, decoder.project(&b, 1)?], 1)?;
        let x = Tensor::cat(&[&videos, &decoder.embed(&inputs)?], 1)?;
        let hidden = decoder.forward(&x, None)?.narrow(1, videos.dim(1)?, PIECES)?.contiguous()?;
        let logits = decoder.logits(&hidden)?.reshape((PAIRS * PIECES, ()))?;
        let margin = decoder.margin(&hidden.i((.., 0))?.contiguous()?, &rank, &rank)?;
        ops::cross_entropy(&logits, &targets, None)? + margin.sqr()?.mean_all()?
    });
}

fn main() {
    juror_nn::memory::keep_freed_memory();
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    for name in ["nano-body", "nano-decoder"].into_iter().filter(|name| name.contains(&wanted)) {
        if name == "nano-body" { body(name) } else { decoder(name) }
    }
}
