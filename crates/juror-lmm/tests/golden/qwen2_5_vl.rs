//! Qwen2.5-VL: windows, three-axis positions by both published rules, greedy continuations.

use std::collections::BTreeMap;

use candle_core::{D, DType, Tensor};
use juror_lmm::checkpoint::{Source, canonical, describe};
use juror_lmm::layers::RmsNorm;
use juror_lmm::mrope::{TimeRule, positions, qwen2_5_spans};
use juror_lmm::preprocess::Statistics;
use juror_lmm::preprocess::patches::{Grid, patch_rows};
use juror_lmm::qwen_vision::rotary_angles;
use juror_lmm::qwen2_5_vl::{Config, Qwen25Vl, Videos, renamed_layout};
use juror_lmm::rotary::{Axes, Positions, Rotary};
use juror_lmm::sequence::Batch;
use serde::Deserialize;

use crate::support::{Fixture, complete, device, pictures};

const FAMILY: &str = "qwen2_5_vl";

fn load(fixture: &Fixture) -> (Qwen25Vl, Config) {
    let config: Config = fixture.config();
    let checkpoint = fixture.checkpoint();
    let needed = describe(|vb| Qwen25Vl::load(&config, vb)).unwrap();
    complete(&checkpoint, &needed, canonical, |_| false);
    (Qwen25Vl::load(&config, checkpoint.var_builder(canonical, DType::F32, &device())).unwrap(), config)
}

fn videos(fixture: &Fixture) -> Videos {
    Videos {
        rows: fixture.input("pixel_values_videos").clone(),
        grids: fixture.grids("video_grid_thw"),
        slice_seconds: Some(fixture.input("second_per_grid_ts").to_vec1().unwrap()),
    }
}

#[test]
fn golden_qwen2_5_vl_vision() {
    let fixture = Fixture::open(FAMILY);
    let (model, config) = load(&fixture);
    let videos = videos(&fixture);
    fixture.close("vision.patch_embed", &model.visual.embed(&videos.rows).unwrap());
    let head_dim = config.vision_config.hidden_size / config.vision_config.num_heads;
    let angles = rotary_angles(&videos.grids, head_dim);
    fixture.close("vision.rotary_angles", &Tensor::from_vec(angles, ((), head_dim / 2), &device()).unwrap());
    let windows = model.visual.windows(&videos.grids);
    let integers = |name: &str| fixture.output(name).to_vec1::<i64>().unwrap();
    assert_eq!(
        windows.cells.iter().map(|&c| i64::from(c)).collect::<Vec<_>>(),
        integers("vision.window_index")
    );
    let mut ends = vec![0];
    windows.lengths.iter().for_each(|&l| ends.push(ends[ends.len() - 1] + l as i64));
    assert_eq!(ends, integers("vision.cu_window_seqlens"));
    let observe = |i: usize, x: &Tensor| fixture.close(&format!("vision.block_{i}"), x);
    let tokens = model.visual.forward(&videos.rows, &videos.grids, observe).unwrap();
    fixture.close("video_embeds", &tokens);
}

#[test]
fn golden_qwen2_5_vl_patch_rows() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let side = config.vision_config.patch_size;
    let parts: Vec<Tensor> = ["frames_a", "frames_b"]
        .iter()
        .map(|name| patch_rows(&pictures(fixture.input(name)), side, &Statistics::CLIP, &device()).unwrap().0)
        .collect();
    fixture.compare_input("pixel_values_videos", &Tensor::cat(&parts, 0).unwrap(), 1e-6);
}

fn rows(positions: &Positions) -> Vec<Vec<Vec<u32>>> {
    (0..3)
        .map(|axis| positions.rows.iter().map(|row| row.iter().map(|p| p[axis]).collect()).collect())
        .collect()
}

fn stored(fixture: &Fixture, name: &str) -> Vec<Vec<Vec<u32>>> {
    fixture.output(name).to_dtype(DType::U32).unwrap().to_vec3().unwrap()
}

#[test]
fn golden_qwen2_5_vl_positions() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let videos = videos(&fixture);
    let tps = config.vision_config.tokens_per_second;
    let seconds = videos.slice_seconds.as_deref();
    let batch = fixture.batch("input_ids", None);
    let place = |batch: &Batch, grids: &[Grid], seconds: Option<&[f32]>, rule: TimeRule| {
        positions(batch, config.video_token_id, &qwen2_5_spans(grids, seconds, tps, rule)).unwrap()
    };
    let ours = place(&batch, &videos.grids, seconds, TimeRule::Transformers);
    assert_eq!(rows(&ours), stored(&fixture, "position_ids"));
    let delta = |p: &Positions, tokens: usize| -> Vec<Vec<i64>> {
        p.next().iter().map(|&n| vec![i64::from(n) - tokens as i64]).collect()
    };
    let deltas = |name: &str| fixture.output(name).to_vec2::<i64>().unwrap();
    assert_eq!(delta(&ours, batch.tokens()), deltas("rope_deltas"));
    let unknown = place(&batch, &videos.grids, None, TimeRule::Transformers);
    assert_eq!(rows(&unknown), stored(&fixture, "position_ids_no_seconds"));
    assert_eq!(delta(&unknown, batch.tokens()), deltas("rope_deltas_no_seconds"));
    let released = place(&batch, &videos.grids, seconds, TimeRule::FirstRelease);
    assert_eq!(rows(&released), stored(&fixture, "position_ids_released"));

    let two = fixture.batch("batch_input_ids", Some("batch_attention_mask"));
    let mut all: Vec<f32> = seconds.unwrap().to_vec();
    all.extend_from_slice(&seconds.unwrap()[1..]);
    let ours = place(&two, &fixture.grids("batch_video_grid_thw"), Some(&all), TimeRule::Transformers);
    assert_eq!(rows(&ours), stored(&fixture, "batch_position_ids"));
    assert_eq!(delta(&ours, two.tokens()), deltas("batch_rope_deltas"));

    // One table per axis, before the frequencies are shared out.
    let head_dim = config.text.hidden_size / config.text.num_attention_heads;
    let plain = Rotary::new(head_dim, config.text.rope_theta, Axes::Plain, None);
    let ours = place(&batch, &videos.grids, seconds, TimeRule::Transformers);
    let mut tables = (Vec::new(), Vec::new());
    for axis in 0..3 {
        let same =
            Positions { rows: ours.rows.iter().map(|r| r.iter().map(|p| [p[axis]; 3]).collect()).collect() };
        let (cos, sin) = plain.tables(&same, DType::F32, &device()).unwrap();
        tables.0.push(Tensor::cat(&[&cos, &cos], D::Minus1).unwrap());
        tables.1.push(Tensor::cat(&[&sin, &sin], D::Minus1).unwrap());
    }
    fixture.close("lm_cos", &Tensor::stack(&tables.0, 0).unwrap());
    fixture.close("lm_sin", &Tensor::stack(&tables.1, 0).unwrap());
}

#[derive(Deserialize)]
struct RopeCase {
    why: String,
    video_grid_thw: Vec<[usize; 3]>,
    second_per_grid_ts: Option<Vec<f32>>,
    input_ids: Vec<u32>,
    transformers_4_57_6: Vec<Vec<u32>>,
    first_release: Vec<Vec<u32>>,
}

#[test]
fn golden_qwen2_5_vl_rope_cases() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    for case in fixture.json::<Vec<RopeCase>>("rope_cases.json") {
        let grid = |g: &[usize; 3]| Grid { slices: g[0], rows: g[1], columns: g[2] };
        let grids: Vec<Grid> = case.video_grid_thw.iter().map(grid).collect();
        let batch = Batch { pads: vec![0], ids: vec![case.input_ids] };
        for (rule, want) in [
            (TimeRule::Transformers, &case.transformers_4_57_6),
            (TimeRule::FirstRelease, &case.first_release),
        ] {
            let seconds = case.second_per_grid_ts.as_deref();
            let spans = qwen2_5_spans(&grids, seconds, config.vision_config.tokens_per_second, rule);
            let got = rows(&positions(&batch, config.video_token_id, &spans).unwrap());
            for axis in 0..3 {
                assert_eq!(got[axis][0], want[axis], "{} {rule:?} axis {axis}", case.why);
            }
        }
    }
}

#[test]
fn golden_qwen2_5_vl_language_and_greedy() {
    let fixture = Fixture::open(FAMILY);
    let (mut model, _) = load(&fixture);
    let videos = videos(&fixture);
    let tokens = model.video_tokens(&videos).unwrap();
    let batch = fixture.batch("input_ids", None);
    let prefill = model.prefill(&batch, &tokens, &videos, &device()).unwrap();
    fixture.close("inputs_embeds", &prefill.embeds);
    fixture.language(&model.language_model, &prefill);
    fixture.greedy("", &model.language_model, &prefill);

    let first = videos.grids[0];
    let second = tokens.narrow(0, first.tokens(), tokens.dim(0).unwrap() - first.tokens()).unwrap();
    let all = Tensor::cat(&[&tokens, &second], 0).unwrap();
    let seconds = videos.slice_seconds.clone().unwrap();
    let repeated = Videos {
        grids: fixture.grids("batch_video_grid_thw"),
        slice_seconds: Some([&seconds[..], &seconds[1..]].concat()),
        ..videos.clone()
    };
    let two = fixture.batch("batch_input_ids", Some("batch_attention_mask"));
    let prefill = model.prefill(&two, &all, &repeated, &device()).unwrap();
    fixture.greedy("batch_", &model.language_model, &prefill);

    model.time_rule = TimeRule::FirstRelease;
    let prefill = model.prefill(&batch, &tokens, &videos, &device()).unwrap();
    let hidden = fixture.hidden(&model.language_model, &prefill);
    let logits = model.language_model.logits(&hidden).unwrap();
    fixture.compare("logits_released_positions", &logits, 3e-4, false);
}

#[test]
fn golden_qwen2_5_vl_norm_epsilons() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let vb = fixture.checkpoint().var_builder(canonical, DType::F32, &device());
    for (probe, path, eps) in [
        ("model.visual.blocks.0.norm1", "visual.blocks.0.norm1", 1e-6),
        ("model.visual.merger.ln_q", "visual.merger.ln_q", 1e-6),
        (
            "model.language_model.layers.0.input_layernorm",
            "model.layers.0.input_layernorm",
            config.text.rms_norm_eps,
        ),
        ("model.language_model.norm", "model.norm", config.text.rms_norm_eps),
    ] {
        let name = format!("probe.{probe}");
        let width = fixture.output(&name).dim(D::Minus1).unwrap();
        let norm = RmsNorm::load(width, eps, vb.pp(path)).unwrap();
        fixture.compare(&name, &norm.forward(fixture.input(&format!("probe_{width}"))).unwrap(), 1e-5, false);
    }
}

#[derive(Deserialize)]
struct Names {
    names: BTreeMap<String, String>,
}

#[test]
fn golden_qwen2_5_vl_renamed_layout() {
    let names: Names = Fixture::open(FAMILY).json("name_map.json");
    for (renamed, ours) in names.names {
        assert_eq!(renamed_layout(&ours), Source::Name(renamed));
    }
}
