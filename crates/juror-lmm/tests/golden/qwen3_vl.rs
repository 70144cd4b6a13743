//! Qwen3-VL: position table, deepstack, interleaved rotary positions, timestamps, greedy continuations.

use candle_core::{D, DType, Tensor};
use juror_lmm::checkpoint::{canonical, describe};
use juror_lmm::layers::{LayerNorm, RmsNorm};
use juror_lmm::preprocess::Statistics;
use juror_lmm::preprocess::frames::slice_seconds;
use juror_lmm::preprocess::patches::patch_rows;
use juror_lmm::prompt::qwen3_video;
use juror_lmm::qwen_vision::rotary_angles;
use juror_lmm::qwen3_vision::Tokens;
use juror_lmm::qwen3_vl::{Config, Qwen3Vl};
use juror_lmm::rotary::Positions;
use serde::Deserialize;

use crate::support::{Fixture, complete, device, pictures};

const FAMILY: &str = "qwen3_vl";

fn load(fixture: &Fixture) -> (Qwen3Vl, Config) {
    let config: Config = fixture.config();
    let checkpoint = fixture.checkpoint();
    let needed = describe(|vb| Qwen3Vl::load(&config, vb)).unwrap();
    complete(&checkpoint, &needed, canonical, |_| false);
    (Qwen3Vl::load(&config, checkpoint.var_builder(canonical, DType::F32, &device())).unwrap(), config)
}

#[test]
fn golden_qwen3_vl_vision() {
    let fixture = Fixture::open(FAMILY);
    let (model, config) = load(&fixture);
    let (rows, grids) = (fixture.input("pixel_values_videos"), fixture.grids("video_grid_thw"));
    fixture.close("vision.patch_embed", &model.visual.embed(rows).unwrap());
    fixture.close("vision.pos_embed", &model.visual.positions(&grids).unwrap());
    let head_dim = config.vision_config.hidden_size / config.vision_config.num_heads;
    let angles = Tensor::from_vec(rotary_angles(&grids, head_dim), ((), head_dim / 2), &device()).unwrap();
    fixture.close("vision.rotary_angles", &angles);
    let observe = |i: usize, x: &Tensor| fixture.close(&format!("vision.block_{i}"), x);
    let tokens = model.visual.forward(rows, &grids, observe).unwrap();
    fixture.close("video_embeds", &tokens.embeds);
    for (k, extra) in tokens.deepstack.iter().enumerate() {
        fixture.close(&format!("deepstack_{k}"), extra);
    }
    let stored = fixture.outputs.keys().filter(|name| name.starts_with("deepstack_")).count();
    assert_eq!(tokens.deepstack.len(), stored);
}

#[test]
fn golden_qwen3_vl_patch_rows() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let side = config.vision_config.patch_size;
    let parts: Vec<Tensor> = ["frames_a", "frames_b"]
        .iter()
        .map(|name| patch_rows(&pictures(fixture.input(name)), side, &Statistics::HALF, &device()).unwrap().0)
        .collect();
    fixture.compare_input("pixel_values_videos", &Tensor::cat(&parts, 0).unwrap(), 1e-6);
}

fn check_positions(fixture: &Fixture, prefix: &str, ours: &Positions) {
    let stored: Vec<Vec<Vec<u32>>> =
        fixture.output(&format!("{prefix}position_ids")).to_dtype(DType::U32).unwrap().to_vec3().unwrap();
    for (axis, stored) in stored.iter().enumerate() {
        let got: Vec<Vec<u32>> = ours.rows.iter().map(|row| row.iter().map(|p| p[axis]).collect()).collect();
        assert_eq!(&got, stored, "{prefix}position_ids, axis {axis}");
    }
    let deltas: Vec<Vec<i64>> = fixture.output(&format!("{prefix}rope_deltas")).to_vec2().unwrap();
    let tokens = ours.rows[0].len() as i64;
    assert_eq!(ours.next().iter().map(|&n| vec![i64::from(n) - tokens]).collect::<Vec<_>>(), deltas);
}

#[test]
fn golden_qwen3_vl_language_and_greedy() {
    let fixture = Fixture::open(FAMILY);
    let (model, _) = load(&fixture);
    let lm = &model.language_model;
    let (rows, grids) = (fixture.input("pixel_values_videos"), fixture.grids("video_grid_thw"));
    let tokens = model.visual.forward(rows, &grids, |_, _| ()).unwrap();
    let batch = fixture.batch("input_ids", None);
    let prefill = model.prefill(&batch, &tokens, &grids, &device()).unwrap();
    check_positions(&fixture, "", &prefill.positions);
    let (cos, sin) = lm.rotary().tables(&prefill.positions, DType::F32, &device()).unwrap();
    fixture.close("lm_cos", &Tensor::cat(&[&cos, &cos], D::Minus1).unwrap());
    fixture.close("lm_sin", &Tensor::cat(&[&sin, &sin], D::Minus1).unwrap());
    fixture.close("inputs_embeds", &prefill.embeds);
    fixture.language(lm, &prefill);
    fixture.greedy("", lm, &prefill);

    let first = grids[0].tokens();
    let again =
        |t: &Tensor| Tensor::cat(&[t, &t.narrow(0, first, t.dim(0).unwrap() - first).unwrap()], 0).unwrap();
    let all =
        Tokens { embeds: again(&tokens.embeds), deepstack: tokens.deepstack.iter().map(again).collect() };
    let two = fixture.batch("batch_input_ids", Some("batch_attention_mask"));
    let prefill = model.prefill(&two, &all, &fixture.grids("batch_video_grid_thw"), &device()).unwrap();
    check_positions(&fixture, "batch_", &prefill.positions);
    fixture.greedy("batch_", lm, &prefill);
}

#[test]
fn golden_qwen3_vl_norm_epsilons() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let vb = fixture.checkpoint().var_builder(canonical, DType::F32, &device());
    let check = |path: &str, norm: &dyn Fn(usize, &Tensor) -> Tensor| {
        let name = format!("probe.{path}");
        let width = fixture.output(&name).dim(D::Minus1).unwrap();
        fixture.compare(&name, &norm(width, fixture.input(&format!("probe_{width}"))), 1e-5, false);
    };
    for path in [
        "model.visual.blocks.0.norm1",
        "model.visual.merger.norm",
        "model.visual.deepstack_merger_list.0.norm",
    ] {
        check(path, &|width, x| LayerNorm::load(width, 1e-6, vb.pp(path)).unwrap().forward(x).unwrap());
    }
    let eps = config.text_config.rms_norm_eps;
    for path in ["model.language_model.layers.0.self_attn.q_norm", "model.language_model.norm"] {
        check(path, &|width, x| RmsNorm::load(width, eps, vb.pp(path)).unwrap().forward(x).unwrap());
    }
}

#[derive(Deserialize)]
struct Stamp {
    frames_indices: Vec<usize>,
    video_fps: f64,
    seconds: Vec<f64>,
    text: Vec<String>,
}

#[test]
fn golden_qwen3_vl_timestamps() {
    for stamp in Fixture::open(FAMILY).json::<Vec<Stamp>>("timestamps.json") {
        let seconds = slice_seconds(&stamp.frames_indices, stamp.video_fps);
        assert_eq!(seconds, stamp.seconds, "{:?}", stamp.frames_indices);
        let slices: String =
            stamp.text.iter().map(|t| format!("{t}<|vision_start|><|video_pad|><|vision_end|>")).collect();
        assert_eq!(qwen3_video(&seconds, 1), slices);
    }
}
