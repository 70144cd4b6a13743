//! InternVL3 in both checkpoint layouts, and VQAThinker's motion token.

use candle_core::{D, DType, Device, Tensor};
use juror_lmm::checkpoint::{Layout, canonical, describe};
use juror_lmm::decoder::Input;
use juror_lmm::internvl3::{Config, InternVl3, Motion, hf_layout, pixel_shuffle};
use juror_lmm::layers::{LayerNorm, RmsNorm};
use juror_lmm::rotary::{Axes, DynamicScaling, Rotary};
use juror_lmm::sequence::Prefill;
use juror_lmm::slowfast::SlowFast;
use serde::Deserialize;

use crate::support::{Fixture, TOLERANCE, complete, device};

fn load(fixture: &Fixture, layout: Layout, motion: Option<&Motion>) -> InternVl3 {
    let config: Config = fixture.config();
    let checkpoint = fixture.checkpoint();
    let needed = describe(|vb| InternVl3::load(&config, motion, vb)).unwrap();
    complete(&checkpoint, &needed, layout, |_| false);
    InternVl3::load(&config, motion, checkpoint.var_builder(layout, DType::F32, &device())).unwrap()
}

fn thinker(fixture: &Fixture) -> (InternVl3, Motion) {
    let motion: Motion = fixture.json("motion.json");
    (load(fixture, canonical, Some(&motion)), motion)
}

/// The original layout's configuration does not hold the id of `<IMG_CONTEXT>`; it is the most frequent one.
fn context_id(fixture: &Fixture) -> u32 {
    let ids = Fixture::rows(fixture.input("input_ids")).remove(0);
    *ids.iter().max_by_key(|id| ids.iter().filter(|other| other == id).count()).unwrap()
}

#[test]
fn golden_internvl3_vision() {
    let fixture = Fixture::open("internvl3");
    let (model, _) = thinker(&fixture);
    let frames = fixture.input("pixel_values");
    fixture.close("vit_embeddings", &model.vision_model.embed(frames).unwrap());
    let tower =
        model.vision_model.forward(frames, |i, x| fixture.close(&format!("vit_layer_{i}"), x)).unwrap();
    fixture.close("vit_last_hidden_state", &tower);
    fixture.close("pixel_shuffled", &pixel_shuffle(&tower).unwrap());
    fixture.close("projected", &model.project(&tower).unwrap());
    let base = model.vision_model.forward(fixture.input("pixel_values_base"), |_, _| ()).unwrap();
    fixture.close("vit_last_hidden_state_base", &base);
    fixture.close("projected_base", &model.project(&base).unwrap());
}

#[test]
fn golden_internvl3_motion() {
    let fixture = Fixture::open("internvl3");
    let (model, motion) = thinker(&fixture);
    let frames = fixture.input("pixel_values");
    let clip = frames.transpose(0, 1).unwrap().contiguous().unwrap().unsqueeze(0).unwrap();
    let vb = fixture.checkpoint().var_builder(canonical, DType::F32, &device());
    let tower = SlowFast::load(&motion.slowfast, vb.pp("slowfast_model").pp("feature_extraction")).unwrap();
    let features =
        tower.forward(&SlowFast::pack(&clip, motion.slow_frames_divisor).unwrap(), |_, _| ()).unwrap();
    fixture.close("slowfast_slow", &features.slow);
    fixture.close("slowfast_fast", &features.fast);
    let feature = model.motion_feature(frames).unwrap();
    fixture.close("motion_feature", &feature);
    fixture.close("motion_embed", &model.motion_token(&feature).unwrap());
}

#[test]
fn golden_internvl3_language() {
    let fixture = Fixture::open("internvl3");
    let (model, _) = thinker(&fixture);
    let tokens = model.video_tokens(fixture.input("pixel_values")).unwrap();
    let batch = fixture.batch("input_ids", None);
    let lm = &model.language_model;
    let prefill = Prefill::plain(lm, &batch, context_id(&fixture), Some(&tokens), &device()).unwrap();
    fixture.close("inputs_embeds", &prefill.embeds);
    fixture.language(lm, &prefill);
}

#[test]
fn golden_internvl3_greedy() {
    let fixture = Fixture::open("internvl3");
    let (model, _) = thinker(&fixture);
    let (lm, context, device) = (&model.language_model, context_id(&fixture), Device::Cpu);
    let frames = fixture.input("pixel_values");
    let video = model.video_tokens(frames).unwrap();
    let one = Prefill::plain(lm, &fixture.batch("input_ids", None), context, Some(&video), &device).unwrap();
    fixture.greedy("", lm, &one);

    let reversed: Vec<u32> = (0..frames.dim(0).unwrap() as u32).rev().collect();
    let reversed = frames.index_select(&Tensor::new(reversed, &device).unwrap(), 0).unwrap();
    let both = Tensor::cat(&[video, model.video_tokens(&reversed).unwrap()], 0).unwrap();
    let batch = fixture.batch("batch_input_ids", Some("batch_attention_mask"));
    fixture.greedy("batch_", lm, &Prefill::plain(lm, &batch, context, Some(&both), &device).unwrap());

    let plain = model.frame_tokens(frames).unwrap().flatten_to(1).unwrap();
    let plain =
        Prefill::plain(lm, &fixture.batch("input_ids_plain", None), context, Some(&plain), &device).unwrap();
    let input = Input { embeds: &plain.embeds, positions: &plain.positions, after_layer: &[] };
    let hidden = lm.forward(&input, &plain.pads, None, |_, _| ()).unwrap();
    fixture.close("plain_logits", &lm.logits(&hidden).unwrap());
    fixture.greedy("plain_", lm, &plain);
}

#[test]
fn golden_internvl3_norm_epsilons() {
    let fixture = Fixture::open("internvl3");
    let config: Config = fixture.config();
    let vb = fixture.checkpoint().var_builder(canonical, DType::F32, &device());
    for (path, eps) in [
        ("vision_model.encoder.layers.0.norm1", config.vision_config.layer_norm_eps),
        ("mlp1.0", 1e-5),
        ("motion_mlp.0", 1e-5),
    ] {
        let name = format!("probe.{path}");
        let width = fixture.output(&name).dim(D::Minus1).unwrap();
        let norm = LayerNorm::load(width, eps, vb.pp(path)).unwrap();
        fixture.compare(&name, &norm.forward(fixture.input(&format!("probe_{width}"))).unwrap(), 1e-5, false);
    }
    let name = "probe.language_model.model.norm";
    let width = fixture.output(name).dim(D::Minus1).unwrap();
    let norm =
        RmsNorm::load(width, config.llm_config.rms_norm_eps, vb.pp("language_model.model.norm")).unwrap();
    fixture.compare(name, &norm.forward(fixture.input(&format!("probe_{width}"))).unwrap(), 1e-5, false);
}

#[derive(Deserialize)]
struct RopeRow {
    head_dim: usize,
    seq_len: usize,
    inv_freq: Vec<f32>,
}

#[test]
fn golden_internvl3_dynamic_rope() {
    let fixture = Fixture::open("internvl3");
    let config: Config = fixture.config();
    let scaling = config.llm_config.rope_scaling.as_ref().unwrap();
    let dynamic = DynamicScaling {
        factor: scaling.factor.unwrap(),
        trained_tokens: config.llm_config.max_position_embeddings,
    };
    for row in fixture.json::<Vec<RopeRow>>("dynamic_rope.json") {
        let rotary = Rotary::new(row.head_dim, config.llm_config.rope_theta, Axes::Plain, Some(dynamic));
        for (got, want) in rotary.inverse_frequencies(row.seq_len).into_iter().zip(row.inv_freq) {
            assert!((got - want).abs() <= 1e-6 * want, "{} tokens: {got} instead of {want}", row.seq_len);
        }
    }
}

#[test]
fn golden_internvl3_hf_layout() {
    let fixture = Fixture::open("internvl3-hf");
    let model = load(&fixture, hf_layout, None);
    let config: Config = fixture.config();
    let frames = fixture.input("pixel_values");
    fixture.close("vit_embeddings", &model.vision_model.embed(frames).unwrap());
    let tower = model.vision_model.forward(frames, |_, _| ()).unwrap();
    fixture.close("vit_last_hidden_state", &tower);
    let features = model.project(&tower).unwrap();
    fixture.close("image_features", &features);
    let lm = &model.language_model;
    let batch = fixture.batch("input_ids", None);
    let prefill = Prefill::plain(
        lm,
        &batch,
        config.image_token_id.unwrap(),
        Some(&features.flatten_to(1).unwrap()),
        &device(),
    )
    .unwrap();
    fixture.close("inputs_embeds", &prefill.embeds);
    let input = Input { embeds: &prefill.embeds, positions: &prefill.positions, after_layer: &[] };
    let hidden = lm.forward(&input, &prefill.pads, None, |_, _| ()).unwrap();
    fixture.close("lm_final_norm", &hidden);
    fixture.compare("logits", &lm.logits(&hidden).unwrap(), TOLERANCE, false);
    fixture.greedy("", lm, &prefill);
}
