//! What fewer bits cost on the tiny models: the error of their logits, printed with `--nocapture`.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use juror_lmm::bench::relative_error;
use juror_lmm::checkpoint::{Checkpoint, canonical};
use juror_lmm::decoder::{Decoder, Input};
use juror_lmm::sequence::{Batch, Prefill};
use juror_lmm::weights::Weights;
use juror_lmm::{internvl3, llava_onevision, qwen2_5_vl, qwen3_vl};
use juror_nn::packed::WeightPrecision;
use serde::de::DeserializeOwned;

use crate::support::Fixture;

/// What the root mean square of the error may be, relative to that of the logits, in the order of
/// [`WeightPrecision::ALL`]. Random weights have no slack: no direction of theirs may be lost, as it may in trained ones.
const ALLOWED: [f64; 5] = [0.0, 2e-2, 2e-3, 5e-2, 0.8];

fn weights<C: DeserializeOwned>(fixture: &Fixture, precision: WeightPrecision) -> (C, Weights) {
    let vb: VarBuilder<'static> = fixture.checkpoint().var_builder(canonical, DType::F32, &Device::Cpu);
    (fixture.config(), Weights::packed(vb, precision))
}

fn decoder(family: &str, precision: WeightPrecision) -> (Fixture, Decoder) {
    let fixture = Fixture::open(family);
    let decoder = match family {
        "internvl3" => {
            let (config, weights) = weights::<internvl3::Config>(&fixture, precision);
            internvl3::InternVl3::load(&config, None, weights).unwrap().language_model
        }
        "llava_onevision" => {
            let (config, weights) = weights::<llava_onevision::Config>(&fixture, precision);
            llava_onevision::LlavaOneVision::load(&config, None, weights).unwrap().language_model
        }
        "qwen2_5_vl" => {
            let (config, weights) = weights::<qwen2_5_vl::Config>(&fixture, precision);
            qwen2_5_vl::Qwen25Vl::load(&config, weights).unwrap().language_model
        }
        "qwen3_vl" => {
            let (config, weights) = weights::<qwen3_vl::Config>(&fixture, precision);
            qwen3_vl::Qwen3Vl::load(&config, weights).unwrap().language_model
        }
        other => panic!("no family {other}"),
    };
    (fixture, decoder)
}

fn logits(family: &str, precision: WeightPrecision) -> Vec<f32> {
    let (fixture, decoder) = decoder(family, precision);
    let ids = Fixture::rows(fixture.input("input_ids")).remove(0);
    let batch = Batch { ids: vec![ids[..24.min(ids.len())].to_vec()], pads: vec![0] };
    let prefill = Prefill::plain(&decoder, &batch, u32::MAX, None, &Device::Cpu).unwrap();
    let input = Input { embeds: &prefill.embeds, positions: &prefill.positions, after_layer: &[] };
    let hidden = decoder.forward(&input, &prefill.pads, None, |_, _| ()).unwrap();
    decoder.logits(&hidden).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn fewer_bits_cost_a_bounded_error() {
    for family in ["internvl3", "llava_onevision", "qwen2_5_vl", "qwen3_vl"] {
        let exact = logits(family, WeightPrecision::F32);
        let mut before = -1.0;
        for (precision, allowed) in WeightPrecision::ALL.into_iter().zip(ALLOWED) {
            let error = relative_error(&exact, &logits(family, precision));
            eprintln!("{family} {precision}: logits differ by {:.3} %", 100.0 * error);
            assert!(error <= allowed, "{family} {precision}: {error}");
            // f16 is finer than bf16; else coarser is worse.
            if precision != WeightPrecision::F16 {
                assert!(error > before, "{family} {precision}: {error} after {before}");
                before = error;
            }
        }
    }
}

#[test]
fn packed_weights_are_read_from_adapted_and_sharded_checkpoints_too() {
    let dir = crate::tiny::checkpoint("internvl3");
    let checkpoint = std::sync::Arc::new(Checkpoint::open(dir.path()).unwrap());
    let module = "language_model.model.layers.0.mlp.up_proj";
    let shape = checkpoint.shapes()[&format!("{module}.weight")].clone();
    let weights =
        Weights::packed(checkpoint.var_builder(canonical, DType::F32, &Device::Cpu), WeightPrecision::Int8);
    let matrix = weights.pp(module).matrix(shape[0], shape[1]).unwrap();
    let x = Tensor::ones((2, shape[1]), DType::F32, &Device::Cpu).unwrap();
    let exact = checkpoint.tensor(&format!("{module}.weight"), &Device::Cpu).unwrap();
    let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (want, got) = (flat(x.matmul(&exact.t().unwrap()).unwrap()), flat(matrix.linear(&x, None).unwrap()));
    let error = relative_error(&want, &got);
    assert!(error > 0.0 && error < 0.02, "{error}");
}
