//! Reading fixtures and comparing tensors.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use candle_core::{DType, Device, Tensor};
use juror_lmm::checkpoint::{Checkpoint, Layout, Mismatch, TensorSpec};
use juror_lmm::decoder::{Decoder, Input};
use juror_lmm::preprocess::patches::Grid;
use juror_lmm::published::Processor;
use juror_lmm::rotary::Positions;
use juror_lmm::sequence::{Batch, Prefill};
use juror_media::Rgb;

/// The golden tolerance in f32 on the CPU.
pub const TOLERANCE: f32 = 1e-4;

/// Where the networks of the golden tests run: the CPU, or what `JUROR_TEST_DEVICE` names (`cuda:0`, in a build with
/// the feature `cuda`). One device for all: candle does not mix tensors of two.
pub fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || {
        let name = std::env::var("JUROR_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
        name.parse::<Processor>().unwrap().device().unwrap()
    };
    DEVICE.get_or_init(open).clone()
}

/// How much more than on the CPU a GPU may differ: it adds in other orders.
fn slack() -> f32 {
    if device().is_cpu() { 1.0 } else { 10.0 }
}

pub struct Fixture {
    pub folder: PathBuf,
    pub inputs: HashMap<String, Tensor>,
    pub outputs: HashMap<String, Tensor>,
}

pub fn folder(family: &str) -> PathBuf {
    let root = std::env::var_os("JUROR_GOLDEN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), PathBuf::from);
    root.join(family)
}

pub fn tensors(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &device()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    juror_lmm::config::read(path).unwrap()
}

/// Pictures of a stack of uint8 frames `[frames, 3, height, width]`.
pub fn pictures(stack: &Tensor) -> Vec<Rgb> {
    let (count, _, height, width) = stack.dims4().unwrap();
    let interleaved = stack.permute((0, 2, 3, 1)).unwrap();
    let data = |i: usize| interleaved.get(i).unwrap().flatten_all().unwrap().to_vec1::<u8>().unwrap();
    (0..count).map(|i| Rgb::new(width, height, data(i)).unwrap()).collect()
}

impl Fixture {
    pub fn open(family: &str) -> Self {
        let folder = folder(family);
        let read = |name: &str| tensors(&folder.join(name));
        Self { inputs: read("inputs.safetensors"), outputs: read("outputs.safetensors"), folder }
    }

    pub fn config<T: serde::de::DeserializeOwned>(&self) -> T {
        self.json("config.json")
    }

    pub fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> T {
        json(&self.folder.join(name))
    }

    pub fn checkpoint(&self) -> Arc<Checkpoint> {
        Arc::new(Checkpoint::open(&self.folder).unwrap())
    }

    pub fn input(&self, name: &str) -> &Tensor {
        self.inputs.get(name).unwrap_or_else(|| panic!("no input {name}"))
    }

    pub fn output(&self, name: &str) -> &Tensor {
        self.outputs.get(name).unwrap_or_else(|| panic!("no output {name}"))
    }

    /// Fails unless `got` is within `tolerance` of the stored output; values above 1 in magnitude are compared relatively if `relative`.
    pub fn compare(&self, name: &str, got: &Tensor, tolerance: f32, relative: bool) {
        let tolerance = tolerance * slack();
        let want = self.output(name);
        assert_eq!(got.dims(), want.dims(), "{name}: shape");
        let flat =
            |t: &Tensor| t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (mut worst, mut at) = (0f32, 0);
        for (i, (g, w)) in flat(got).into_iter().zip(flat(want)).enumerate() {
            assert!(g.is_finite(), "{name}: element {i} is {g}");
            let difference = (g - w).abs() / if relative { w.abs().max(1.0) } else { 1.0 };
            if difference > worst {
                (worst, at) = (difference, i);
            }
        }
        eprintln!("{name}: {worst:.2e}");
        assert!(worst <= tolerance, "{name}: differs by {worst} at element {at}, allowed {tolerance}");
    }

    pub fn close(&self, name: &str, got: &Tensor) {
        self.compare(name, got, TOLERANCE, false);
    }

    /// A two-dimensional integer tensor as rows.
    pub fn rows(t: &Tensor) -> Vec<Vec<u32>> {
        t.to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap()
    }

    /// Ids and paddings of an input pair like `batch_input_ids`, `batch_attention_mask`.
    pub fn batch(&self, ids: &str, mask: Option<&str>) -> Batch {
        let ids = Self::rows(self.input(ids));
        let pads = match mask {
            Some(mask) => Self::rows(self.input(mask))
                .iter()
                .map(|row| row.iter().filter(|&&m| m == 0).count())
                .collect(),
            None => vec![0; ids.len()],
        };
        Batch { ids, pads }
    }

    /// Fails unless `got` is within `tolerance` of a stored input.
    pub fn compare_input(&self, name: &str, got: &Tensor, tolerance: f32) {
        let tolerance = tolerance * slack();
        let want = self.input(name).to_device(got.device()).unwrap();
        let difference = (got - want).unwrap().abs().unwrap().max_all().unwrap();
        let worst = difference.to_scalar::<f32>().unwrap();
        assert!(worst <= tolerance, "{name}: differs by {worst}, allowed {tolerance}");
    }

    /// Grids stored as rows (slices, rows, columns).
    pub fn grids(&self, name: &str) -> Vec<Grid> {
        let grid = |g: Vec<u32>| Grid { slices: g[0] as usize, rows: g[1] as usize, columns: g[2] as usize };
        Self::rows(self.input(name)).into_iter().map(grid).collect()
    }

    /// The hidden states of a whole sequence.
    pub fn hidden(&self, decoder: &Decoder, prefill: &Prefill) -> Tensor {
        let input = Input {
            embeds: &prefill.embeds,
            positions: &prefill.positions,
            after_layer: &prefill.after_layer,
        };
        decoder.forward(&input, &prefill.pads, None, |_, _| ()).unwrap()
    }

    /// Every stored tensor of a plain forward pass: layers, final norm, logits.
    pub fn language(&self, decoder: &Decoder, prefill: &Prefill) {
        let input = Input {
            embeds: &prefill.embeds,
            positions: &prefill.positions,
            after_layer: &prefill.after_layer,
        };
        let mut seen = 0;
        let observe = |i: usize, x: &Tensor| {
            let name = format!("lm_layer_{i}");
            if self.outputs.contains_key(&name) {
                self.close(&name, x);
                seen += 1;
            }
        };
        let hidden = decoder.forward(&input, &prefill.pads, None, observe).unwrap();
        assert_eq!(seen, self.outputs.keys().filter(|k| k.starts_with("lm_layer_")).count());
        self.close("lm_final_norm", &hidden);
        self.compare("logits", &decoder.logits(&hidden).unwrap(), 3e-4, false);
    }

    /// The stored tokens and logits of a greedy continuation, token by token.
    pub fn greedy(&self, prefix: &str, decoder: &Decoder, prefill: &Prefill) {
        let want = Self::rows(self.output(&format!("{prefix}greedy_tokens")));
        let (tokens, logits) = greedy(decoder, prefill, want[0].len());
        assert_eq!(tokens, want, "{prefix}greedy_tokens");
        let name = format!("{prefix}greedy_logits");
        if self.outputs.contains_key(&name) {
            self.close(&name, &logits);
        }
    }
}

/// Tokens `[batch][steps]` and the logits they were chosen from, `[batch, steps, vocab]`, with the KV cache.
fn greedy(decoder: &Decoder, prefill: &Prefill, steps: usize) -> (Vec<Vec<u32>>, Tensor) {
    let mut cache = decoder.cache();
    let first =
        Input { embeds: &prefill.embeds, positions: &prefill.positions, after_layer: &prefill.after_layer };
    let mut hidden = decoder.forward(&first, &prefill.pads, Some(&mut cache), |_, _| ()).unwrap();
    let mut places = prefill.positions.next();
    let (mut rows, mut all) = (vec![Vec::new(); prefill.pads.len()], Vec::new());
    for _ in 0..steps {
        let last = hidden.narrow(1, hidden.dim(1).unwrap() - 1, 1).unwrap();
        let logits = decoder.logits(&last).unwrap();
        let chosen = logits.squeeze(1).unwrap().argmax(1).unwrap().to_vec1::<u32>().unwrap();
        all.push(logits);
        rows.iter_mut().zip(&chosen).for_each(|(row, &token)| row.push(token));
        let embeds = decoder.embed(&Tensor::new(chosen, &device()).unwrap().unsqueeze(1).unwrap()).unwrap();
        let positions = Positions::single(&places);
        let next = Input { embeds: &embeds, positions: &positions, after_layer: &[] };
        hidden = decoder.forward(&next, &prefill.pads, Some(&mut cache), |_, _| ()).unwrap();
        places.iter_mut().for_each(|p| *p += 1);
    }
    (rows, Tensor::cat(&all, 1).unwrap())
}

/// The checkpoint holds exactly the tensors the model needs.
pub fn complete(
    checkpoint: &Checkpoint,
    needed: &[TensorSpec],
    layout: Layout,
    allowed_extra: fn(&str) -> bool,
) {
    let mut mismatch = checkpoint.compare(needed, layout);
    mismatch.extra.retain(|name| !allowed_extra(name));
    assert_eq!(mismatch, Mismatch::default());
}
