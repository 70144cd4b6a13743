//! SlowFast-R50: stages, pools, the motion feature at four sizes, and the names of the full network.

use std::collections::BTreeMap;

use candle_core::{D, DType, Tensor};
use juror_lmm::checkpoint::{canonical, describe};
use juror_lmm::slowfast::{Config, Pathways, SlowFast, slow_index};
use serde::Deserialize;

use crate::support::{Fixture, complete, device};

const FAMILY: &str = "slowfast_r50";

fn model(fixture: &Fixture, config: &Config) -> SlowFast {
    let vb = fixture.checkpoint().var_builder(canonical, DType::F32, &device());
    SlowFast::load(config, vb.pp("blocks")).unwrap()
}

/// uint8 frames `[t, 3, h, w]` to a clip `[1, 3, t, h, w]` in ImageNet's statistics.
fn clip(frames: &Tensor) -> Tensor {
    let channel = |values: [f32; 3]| Tensor::new(&values, &device()).unwrap().reshape((1, 3, 1, 1)).unwrap();
    let x = (frames.to_dtype(DType::F32).unwrap() / 255.0).unwrap();
    let x = x
        .broadcast_sub(&channel([0.485, 0.456, 0.406]))
        .unwrap()
        .broadcast_div(&channel([0.229, 0.224, 0.225]))
        .unwrap();
    x.transpose(0, 1).unwrap().contiguous().unwrap().unsqueeze(0).unwrap()
}

struct Case {
    name: &'static str,
    divisor: usize,
    repeat: usize,
}

fn motion(fixture: &Fixture, config: &Config, case: &Case, frames: &Tensor) -> Pathways {
    let paths = SlowFast::pack(&clip(frames), case.divisor).unwrap();
    let feature = model(fixture, config).motion(&paths, case.repeat).unwrap();
    fixture.compare(&format!("{}.motion_feature", case.name), &feature, 1e-4, true);
    let index: Vec<i64> = fixture.output(&format!("{}.slow_index", case.name)).to_vec1().unwrap();
    let ours: Vec<i64> =
        slow_index(frames.dim(0).unwrap(), case.divisor).into_iter().map(i64::from).collect();
    assert_eq!(ours, index);
    paths
}

#[test]
fn golden_slowfast_r50_stages() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let frames = fixture.input("frames").narrow(0, 0, 12).unwrap();
    let case = Case { name: "t12", divisor: 4, repeat: 4 };
    let paths = motion(&fixture, &config, &case, &frames);
    let network = model(&fixture, &config);
    let last = network
        .forward(&paths, |i, x| {
            fixture.compare(&format!("t12.stage{i}.slow"), &x.slow, 1e-4, true);
            fixture.compare(&format!("t12.stage{i}.fast"), &x.fast, 1e-4, true);
        })
        .unwrap();
    let pooled = network.pool(&last, case.repeat).unwrap();
    fixture.compare("t12.pooled.slow", &pooled.slow, 1e-4, true);
    fixture.compare("t12.pooled.fast", &pooled.fast, 1e-4, true);
    let plain = |x: &Tensor| x.flatten_from(2).unwrap().mean(D::Minus1).unwrap();
    let plain = Tensor::cat(&[plain(&last.slow), plain(&last.fast)], 1).unwrap();
    fixture.compare("t12.not_the_global_mean", &plain, 1e-4, true);
}

#[test]
fn golden_slowfast_r50_other_lengths() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let frames = fixture.input("frames");
    motion(&fixture, &config, &Case { name: "t16", divisor: 4, repeat: 4 }, frames);
    motion(
        &fixture,
        &config,
        &Case { name: "t6_train", divisor: 3, repeat: 6 },
        &frames.narrow(0, 0, 6).unwrap(),
    );
    // Six frames with the test code's divisor would leave one slow frame where the lateral path gives two.
    assert!(SlowFast::pack(&clip(&frames.narrow(0, 0, 6).unwrap()), 4).is_err());
}

#[test]
fn golden_slowfast_r50_published_pools() {
    let fixture = Fixture::open(FAMILY);
    let config =
        Config { head_pool_kernel_sizes: Config::default().head_pool_kernel_sizes, ..fixture.config() };
    let frames =
        fixture.input("frames").narrow(0, 0, 12).unwrap().narrow(2, 0, 56).unwrap().narrow(3, 0, 56).unwrap();
    let frames = frames.unsqueeze(3).unwrap().unsqueeze(5).unwrap();
    let frames = frames.broadcast_as((12, 3, 56, 4, 56, 4)).unwrap().reshape((12, 3, 224, 224)).unwrap();
    motion(&fixture, &config, &Case { name: "t12_224", divisor: 4, repeat: 4 }, &frames);
}

#[derive(Deserialize)]
struct Listing {
    pytorchvideo: BTreeMap<String, Entry>,
    vqathinker: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    shape: Vec<usize>,
}

#[test]
fn golden_slowfast_r50_full_size_names() {
    let fixture = Fixture::open(FAMILY);
    let listing: Listing = fixture.json("full_size_tensors.json");
    let ours = |prefix: &[&str]| -> BTreeMap<String, Vec<usize>> {
        let needed =
            describe(|vb| SlowFast::load(&Config::default(), prefix.iter().fold(vb, |vb, p| vb.pp(p))))
                .unwrap();
        needed.into_iter().map(|spec| (spec.name, spec.shape)).collect()
    };
    let theirs = |listing: BTreeMap<String, Entry>| -> BTreeMap<String, Vec<usize>> {
        // blocks.6 is the classification head.
        listing
            .into_iter()
            .filter(|(name, _)| !name.starts_with("blocks.6."))
            .map(|(name, e)| (name, e.shape))
            .collect()
    };
    assert_eq!(ours(&["blocks"]), theirs(listing.pytorchvideo));
    assert_eq!(ours(&["slowfast_model", "feature_extraction"]), theirs(listing.vqathinker));
}

#[test]
fn golden_slowfast_r50_checkpoint_is_complete() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let needed = describe(|vb| SlowFast::load(&config, vb.pp("blocks"))).unwrap();
    complete(&fixture.checkpoint(), &needed, canonical, |name| name.starts_with("blocks.6."));
}
