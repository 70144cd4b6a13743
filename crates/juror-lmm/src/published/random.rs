//! The published networks with random weights, at their real sizes or tiny: what speed and memory take to measure, without
//! a checkpoint.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use juror_nn::memory::MachineMemory;
use juror_nn::rng;
use rand::RngExt;
use serde_json::{Value, json};

use super::memory::Need;
use super::network::{Model, Network};
use super::{Family, OpenOptions};
use crate::checkpoint::{TensorSpec, describe};
use crate::config::parse;
use crate::error::{Error, Result};
use crate::internvl3::{InternVl3, Motion};
use crate::llava_onevision::LlavaOneVision;
use crate::qwen2_5_vl::Qwen25Vl;
use crate::qwen3_vl::Qwen3Vl;
use crate::slowfast;
use crate::weights::Weights;

/// A published network by its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// InternVL3-8B.
    InternVl3,
    /// VQAThinker: InternVL3-8B with SlowFast.
    VqaThinker,
    /// LLaVA-OneVision-7B, and W2S-VQA without its motion tokens.
    LlavaOneVision,
    /// Qwen2.5-VL-7B.
    Qwen25Vl,
    /// Qwen3-VL-4B.
    Qwen3Vl,
}

impl Known {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::InternVl3, Self::VqaThinker, Self::LlavaOneVision, Self::Qwen25Vl, Self::Qwen3Vl];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::InternVl3 => "internvl3",
            Self::VqaThinker => "vqathinker",
            Self::LlavaOneVision => "llava-onevision",
            Self::Qwen25Vl => "qwen2.5-vl",
            Self::Qwen3Vl => "qwen3-vl",
        }
    }

    /// The keys of its `config.json` that decide sizes. Tiny ones are the same network with narrow and few layers.
    pub fn config(self, scale: Scale) -> Value {
        let full = scale == Scale::Full;
        let qwen2 = |vocab: usize| {
            if full {
                json!({ "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28,
                    "num_key_value_heads": 4, "num_hidden_layers": 28, "vocab_size": vocab, "rope_theta": 1e6,
                    "tie_word_embeddings": false })
            } else {
                json!({ "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8,
                    "num_key_value_heads": 2, "num_hidden_layers": 4, "vocab_size": 2048, "rope_theta": 1e6,
                    "tie_word_embeddings": false })
            }
        };
        let tower = |hidden: usize, inner: usize, layers: usize, heads: usize, size: usize| {
            json!({ "hidden_size": if full { hidden } else { 128 }, "num_hidden_layers": if full { layers } else { 4 },
                "intermediate_size": if full { inner } else { 512 }, "num_attention_heads": if full { heads } else { 4 },
                "image_size": if full { size } else { 112 }, "patch_size": 14 })
        };
        match self {
            Self::InternVl3 | Self::VqaThinker => json!({ "model_type": "internvl_chat",
                "vision_config": tower(1024, 4096, 24, 16, 448), "llm_config": qwen2(151_674) }),
            Self::LlavaOneVision => json!({ "model_type": "llava_onevision", "video_token_index": 7,
                "vision_config": tower(1152, 4304, 26, 16, 384), "text_config": qwen2(152_064) }),
            Self::Qwen25Vl => {
                let mut config = qwen2(152_064);
                config["model_type"] = json!("qwen2_5_vl");
                config["video_token_id"] = json!(7);
                let sections = if full { [16, 24, 24] } else { [4, 6, 6] };
                config["rope_scaling"] = json!({ "type": "mrope", "mrope_section": sections });
                config["vision_config"] = if full {
                    json!({ "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
                        "out_hidden_size": 3584, "patch_size": 14, "spatial_merge_size": 2, "window_size": 112,
                        "fullatt_block_indexes": [7, 15, 23, 31] })
                } else {
                    json!({ "depth": 4, "hidden_size": 128, "intermediate_size": 344, "num_heads": 4,
                        "out_hidden_size": 256, "patch_size": 14, "spatial_merge_size": 2, "window_size": 112,
                        "fullatt_block_indexes": [3] })
                };
                config
            }
            Self::Qwen3Vl => {
                let (vision, text) = if full {
                    (
                        json!({ "depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16,
                            "out_hidden_size": 2560, "num_position_embeddings": 2304,
                            "deepstack_visual_indexes": [5, 11, 17] }),
                        json!({ "hidden_size": 2560, "intermediate_size": 9728, "num_attention_heads": 32,
                            "num_key_value_heads": 8, "head_dim": 128, "num_hidden_layers": 36, "vocab_size": 151_936,
                            "rope_scaling": { "mrope_interleaved": true, "mrope_section": [24, 20, 20] } }),
                    )
                } else {
                    (
                        json!({ "depth": 4, "hidden_size": 128, "intermediate_size": 512, "num_heads": 4,
                            "out_hidden_size": 256, "num_position_embeddings": 2304,
                            "deepstack_visual_indexes": [0, 1, 2] }),
                        json!({ "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8,
                            "num_key_value_heads": 2, "head_dim": 32, "num_hidden_layers": 4, "vocab_size": 2048,
                            "rope_scaling": { "mrope_interleaved": true, "mrope_section": [6, 5, 5] } }),
                    )
                };
                let mut config = json!({ "model_type": "qwen3_vl", "vision_config": vision, "text_config": text,
                    "video_token_id": 7, "tie_word_embeddings": true });
                config["vision_config"]["patch_size"] = json!(16);
                config["vision_config"]["spatial_merge_size"] = json!(2);
                config["vision_config"]["temporal_patch_size"] = json!(2);
                config
            }
        }
    }

    fn load(self, scale: Scale, weights: Weights) -> Result<Model> {
        let text = self.config(scale).to_string();
        let name = std::path::Path::new("config.json");
        let motion = match scale {
            Scale::Full => slowfast::Config::default(),
            Scale::Tiny => slowfast::Config { stem_dim_outs: [8, 1], ..slowfast::Config::default() },
        };
        let motion = Motion { slowfast: motion, ..Motion::test() };
        Ok(match self {
            Self::InternVl3 => {
                let config: crate::internvl3::Config = parse(&text, name)?;
                let side = config.vision_config.image_size;
                Model::InternVl3 { model: InternVl3::load(&config, None, weights)?, side }
            }
            Self::VqaThinker => {
                let side = if scale == Scale::Full { 560 } else { 224 };
                Model::InternVl3 {
                    model: InternVl3::load(&parse(&text, name)?, Some(&motion), weights)?,
                    side,
                }
            }
            Self::LlavaOneVision => {
                let config: crate::llava_onevision::Config = parse(&text, name)?;
                let side = config.vision_config.image_size;
                Model::Llava { model: LlavaOneVision::load(&config, None, weights)?, side, motion: None }
            }
            Self::Qwen25Vl => {
                Model::Qwen25 { model: Qwen25Vl::load(&parse(&text, name)?, weights)?, patch: 14 }
            }
            Self::Qwen3Vl => Model::Qwen3 { model: Qwen3Vl::load(&parse(&text, name)?, weights)?, patch: 16 },
        })
    }

    /// Names and shapes of its tensors.
    ///
    /// # Errors
    /// None: the sizes are our own.
    pub fn tensors(self, scale: Scale) -> Result<Vec<TensorSpec>> {
        describe(|vb| self.load(scale, vb.into()))
    }

    /// The network with random weights, the same for the same `seed`.
    ///
    /// # Errors
    /// A device that is not here; more memory than there is.
    pub fn build(self, scale: Scale, seed: u64, options: &OpenOptions) -> Result<Random> {
        let (precision, dtype) = (options.precision()?, options.dtype()?);
        let device = options.processor.device()?;
        let tensors = self.tensors(scale)?;
        let listed = tensors.iter().map(|spec| (spec.name.as_str(), spec.shape.as_slice()));
        let need = Need::of(&self.config(scale), listed, precision);
        if let (true, Some(machine)) = (device.is_cpu(), MachineMemory::now())
            && machine.available < need.total()
        {
            return Err(Error::Memory {
                name: self.name().to_owned(),
                needed: need.total(),
                available: machine.available,
                advice: "choose --precision int8 or int4, or --scale tiny".to_owned(),
            });
        }
        let backend: Box<dyn SimpleBackend> = Box::new(Noise::new(seed));
        let vb = VarBuilder::new_with_args(backend, dtype, &device);
        let weights = if device.is_cpu() { Weights::packed(vb, precision) } else { vb.into() };
        let family = match self {
            Self::InternVl3 | Self::VqaThinker => Family::InternVl3,
            Self::LlavaOneVision => Family::LlavaOneVision,
            Self::Qwen25Vl => Family::Qwen25Vl,
            Self::Qwen3Vl => Family::Qwen3Vl,
        };
        let network = Network { family, model: self.load(scale, weights)?, device, dtype };
        Ok(Random { network, placeholder: 7, parameters: need.parameters, weights_bytes: need.weights })
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Known {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|known| known.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Input(format!("`{text}` is no family with known sizes; allowed are {names}"))
        })
    }
}

/// Real sizes, or small ones for a test or a laptop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// As published.
    Full,
    /// The same network of some megabytes.
    Tiny,
}

/// A network of random weights.
pub struct Random {
    /// The network.
    pub network: Network,
    /// The token in whose places visual tokens are put.
    pub placeholder: u32,
    /// Parameters.
    pub parameters: u64,
    /// Bytes of its weights on a CPU.
    pub weights_bytes: u64,
}

/// Draws every tensor from one table of noise, from a place that its name decides: drawing billions of numbers one by
/// one would take longer than any measurement.
struct Noise {
    table: Vec<f32>,
}

impl Noise {
    const LENGTH: usize = 1 << 20;

    fn new(seed: u64) -> Self {
        let mut stream = rng::stream(seed, &[]);
        // Uniform, of deviation 1.
        let draw = || (stream.random::<f32>() * 2.0 - 1.0) * 3f32.sqrt();
        Self { table: std::iter::repeat_with(draw).take(Self::LENGTH).collect() }
    }
}

impl SimpleBackend for Noise {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        if shape.rank() < 2 {
            let centred = ["bias", "running_mean"].iter().any(|end| name.ends_with(end));
            let value = if centred { 0f32 } else { 1.0 };
            return Tensor::full(value, shape, device)?.to_dtype(dtype);
        }
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let start = hasher.finish() as usize % Self::LENGTH;
        let fan_in = shape.dims()[1..].iter().product::<usize>().max(1);
        let deviation = 1.0 / (fan_in as f32).sqrt();
        let values: Vec<f32> =
            self.table.iter().cycle().skip(start).take(shape.elem_count()).map(|x| x * deviation).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("the shape of {name} is not stated")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
