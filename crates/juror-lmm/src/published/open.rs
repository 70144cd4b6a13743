//! Opening a checkpoint folder: its family, tensors, tokenizer, template and motion tower, in the precision asked for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use candle_core::{DType, Device};
use juror_nn::packed::WeightPrecision;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::motion::MotionTower;
use super::network::{Model, Network};
use super::{Family, Published};
use crate::answer::ScoreRule;
use crate::checkpoint::{Checkpoint, Layout, canonical, describe};
use crate::config::{check, check_sizes};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::internvl3::{self, InternVl3};
use crate::judge::ModelInfo;
use crate::llava_onevision::{self, LlavaOneVision, original_layout};
use crate::prompt::{GRADES, LEVELS};
use crate::qwen2_5_vl::{self, Qwen25Vl};
use crate::qwen3_vl::{self, Qwen3Vl};
use crate::slowfast;
use crate::template::{ChatTemplate, published};
use crate::tokenizer::Tokenizer;
use crate::weights::{Adapter, Weights};

/// Where arithmetic runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Processor {
    /// The cores of this machine.
    #[default]
    Cpu,
    /// A CUDA device by its number; only in builds with the feature `cuda`.
    Cuda(usize),
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Processor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::Input(format!("device `{text}` is none; allowed are cpu, cuda and cuda:N"));
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) => Ok(Self::Cuda(number.parse().map_err(|_| wrong())?)),
            _ => Err(wrong()),
        }
    }
}

impl Processor {
    /// Fails where this build has no such devices.
    ///
    /// # Errors
    /// A GPU in a build without.
    pub fn check_build(self) -> Result<()> {
        if matches!(self, Self::Cuda(_)) && !cfg!(feature = "cuda") {
            return Err(Error::Input(format!(
                "device `{self}` is not available in this build of juror, allowed is `cpu`; \
                 scripts/build-cuda.sh builds one for NVIDIA GPUs"
            )));
        }
        Ok(())
    }

    /// What is taken of the memory of a GPU, by all programs, bytes; `None` for the CPU.
    pub fn used_bytes(self) -> Option<u64> {
        #[cfg(feature = "cuda")]
        if let Self::Cuda(_) = self {
            let (free, total) = candle_core::cuda_backend::cudarc::driver::result::mem_get_info().ok()?;
            return Some((total - free) as u64);
        }
        None
    }

    /// The device itself.
    ///
    /// # Errors
    /// A device that this build or this machine does not have.
    pub fn device(self) -> Result<Device> {
        self.check_build()?;
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) => Device::new_cuda(number)
                .map_err(|e| Error::Input(format!("device `{self}` cannot be used: {e}"))),
        }
    }
}

/// How a checkpoint is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Where it runs.
    pub processor: Processor,
    /// How its weights are kept; by default f32 on CPUs, bf16 elsewhere.
    pub precision: Option<WeightPrecision>,
    /// The folder of a PEFT adapter to merge into the weights.
    pub adapter: Option<PathBuf>,
    /// How written scores are read.
    pub answers: ScoreRule,
}

impl OpenOptions {
    /// The precision in which weights are kept.
    ///
    /// # Errors
    /// Integers elsewhere than on a CPU.
    pub fn precision(&self) -> Result<WeightPrecision> {
        match (self.processor, self.precision) {
            (Processor::Cpu, None) => Ok(WeightPrecision::F32),
            (Processor::Cuda(_), None) => Ok(WeightPrecision::Bf16),
            (Processor::Cuda(_), Some(precision)) if precision.is_integer() => Err(Error::Input(format!(
                "precision {precision} is for CPUs; allowed on {} are f32, bf16, f16",
                self.processor
            ))),
            (_, Some(precision)) => Ok(precision),
        }
    }

    /// Fails where nano is asked for what it does not have.
    ///
    /// # Errors
    /// Another device, another precision, an adapter, or a way to read answers.
    pub fn check_nano(&self) -> Result<()> {
        self.check_plain("nano runs on the cpu in f32")
    }

    /// Fails where a model served elsewhere is asked for what its server decides.
    ///
    /// # Errors
    /// A device, a precision, an adapter, or a way to read answers.
    pub fn check_remote(&self) -> Result<()> {
        self.check_plain("the server of a remote model decides how it runs")
    }

    fn check_plain(&self, why: &str) -> Result<()> {
        let refuse = |what: &str| {
            Err(Error::Input(format!("{what} is for published checkpoints on this machine; {why}")))
        };
        match self {
            Self { processor: Processor::Cuda(_), .. } => refuse(&format!("device `{}`", self.processor)),
            Self { precision: Some(precision), .. } if *precision != WeightPrecision::F32 => {
                refuse(&format!("precision {precision}"))
            }
            Self { adapter: Some(_), .. } => refuse("an adapter"),
            Self { answers, .. } if *answers != ScoreRule::default() => refuse("another way to read answers"),
            _ => Ok(()),
        }
    }

    /// The type of computation: CPUs compute in f32 whatever the weights are kept in.
    pub(super) fn dtype(&self) -> Result<DType> {
        Ok(match (self.processor, self.precision()?) {
            (Processor::Cuda(_), WeightPrecision::Bf16) => DType::BF16,
            (Processor::Cuda(_), WeightPrecision::F16) => DType::F16,
            _ => DType::F32,
        })
    }
}

/// Serves the tensors of a checkpoint to models.
struct Loader {
    checkpoint: Arc<Checkpoint>,
    precision: WeightPrecision,
    dtype: DType,
    device: Device,
    /// Under training.
    training: Option<Arc<Adapter>>,
}

impl Loader {
    /// SHA-256 of what judges: the checkpoint, and what of its adapter and precision changes judgements.
    fn fingerprint(&self, options: &OpenOptions) -> Result<String> {
        let checkpoint = self.checkpoint.fingerprint()?;
        let adapter = match &options.adapter {
            Some(folder) => {
                Checkpoint::open_files(&[folder.join("adapter_model.safetensors")])?.fingerprint()?
            }
            None => String::new(),
        };
        if adapter.is_empty() && (self.precision == WeightPrecision::F32 || !self.device.is_cpu()) {
            return Ok(checkpoint);
        }
        let hash = Sha256::digest(format!("{checkpoint} {adapter} {}", self.precision));
        Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Builds a model without data to learn what it needs, compares that with the checkpoint, then builds it for real;
    /// also gives the tensors that it does not use.
    fn build<M>(&self, layout: Layout, load: impl Fn(Weights) -> Result<M>) -> Result<(M, Vec<String>)> {
        let unused = self.checkpoint.require(&describe(|vb| load(vb.into()))?, layout)?;
        let tensors = self.checkpoint.var_builder(layout, self.dtype, &self.device);
        let weights = match (&self.training, &self.device) {
            (Some(adapter), _) => Weights::adapted(tensors, adapter.clone()),
            (None, Device::Cpu) => Weights::packed(tensors, self.precision),
            (None, _) => tensors.into(),
        };
        Ok((load(weights)?, unused))
    }
}

impl Published {
    /// Opens a checkpoint folder.
    ///
    /// # Errors
    /// Whatever is missing or does not fit, by name; a device that is not there.
    pub fn open(folder: &Path, options: &OpenOptions) -> Result<Self> {
        Self::open_with(folder, options, None)
    }

    /// Opens a checkpoint folder to train: `adapter` is put on its decoder, all else is frozen. Gives the judge, who computes
    /// without gradients by whatever the adapter has learnt so far, and the decoder to train, on the same memory.
    ///
    /// # Errors
    /// Those of [`Self::open`]; a precision that is not trained in; a target that no layer of the decoder is called by.
    pub fn open_to_train(
        folder: &Path,
        options: &OpenOptions,
        adapter: Arc<Adapter>,
    ) -> Result<(Self, Decoder)> {
        let precision = options.precision()?;
        if options.processor == Processor::Cpu && precision != WeightPrecision::F32 {
            return Err(Error::Input(format!(
                "precision {precision} is not for training on cpu, allowed is f32"
            )));
        }
        let mut opened = Self::open_with(folder, options, Some(adapter.clone()))?;
        let adapted = adapter.params.tensors();
        for target in &adapter.config.target_modules {
            if !adapted.keys().any(|name| name.contains(&format!("{target}.lora_A."))) {
                return Err(Error::ConfigValue {
                    key: "target_modules".into(),
                    value: target.clone(),
                    allowed: "names of linear layers in the decoder's layers, such as q_proj".into(),
                });
            }
        }
        let policy = opened.network.decoder().clone();
        opened.network.set_decoder(policy.detached());
        Ok((opened, policy))
    }

    fn open_with(folder: &Path, options: &OpenOptions, training: Option<Arc<Adapter>>) -> Result<Self> {
        let family = Family::detect(folder)?;
        check_sizes(&crate::config::read(&folder.join("config.json"))?)?;
        let (precision, dtype) = (options.precision()?, options.dtype()?);
        let device = options.processor.device()?;
        let mut checkpoint = Checkpoint::open(folder)?;
        if let Some(adapter) = &options.adapter {
            checkpoint = checkpoint.with_adapter(adapter)?;
        }
        let tokenizer = Tokenizer::open(folder)?;
        let loader =
            Loader { checkpoint: Arc::new(checkpoint), precision, dtype, device: device.clone(), training };
        let (model, unused, default_template, placeholder) = load(family, folder, &loader, &tokenizer)?;
        // InternVL's own conversation template is Python code; its checkpoints' Jinja templates know no default message.
        let own = if family == Family::InternVl3 { None } else { ChatTemplate::open(folder)? };
        let template = own.map_or_else(|| ChatTemplate::new(default_template), Ok)?;
        let stop_ids = vec![tokenizer.id("<|im_end|>")?, tokenizer.id("<|endoftext|>")?];
        let words = |words: [&str; 5]| -> Option<[u32; 5]> {
            let ids: Option<Vec<u32>> = words.iter().map(|word| tokenizer.word(word).ok()).collect();
            ids?.try_into().ok()
        };
        let (levels, grades) = (words(LEVELS), words(GRADES));
        let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let placeholder = tokenizer.id(placeholder)?;
        let network = Network { family, model, device, dtype };
        let words = levels.iter().chain(&grades).flatten();
        let needed: Vec<u32> = words.chain(&stop_ids).chain([&placeholder]).copied().collect();
        tokenizer.check_rows(network.decoder().vocabulary(), &needed)?;
        Ok(Self {
            network,
            placeholder,
            tokenizer,
            template,
            stop_ids,
            levels,
            grades,
            info: ModelInfo { name, sha256: loader.fingerprint(options)? },
            unused,
            answers: options.answers,
            processor: options.processor.to_string(),
        })
    }
}

/// The model of a folder, the tensors it does not use, its family's template, and the token that keeps visual places.
fn load(
    family: Family,
    folder: &Path,
    loader: &Loader,
    tokenizer: &Tokenizer,
) -> Result<(Model, Vec<String>, &'static str, &'static str)> {
    // Qwen's positions follow from where this token stands.
    let video_token = |id: u32| {
        let (token, key) = ("<|video_pad|>", "video_token_id");
        let own = tokenizer.id(token)?;
        check(id == own, key, id, &format!("{token} is {own} in the tokenizer of the checkpoint"))
    };
    let config = folder.join("config.json");
    let shapes = loader.checkpoint.shapes();
    Ok(match family {
        Family::InternVl3 | Family::InternVl3Hf => {
            let config: internvl3::Config = crate::config::read(&config)?;
            let slowfast = slowfast::Config::of_shapes("slowfast_model.feature_extraction.", shapes);
            let has_motion = shapes.keys().any(|name| name.starts_with("motion_mlp."));
            let motion = has_motion.then(|| internvl3::Motion {
                slowfast: slowfast.unwrap_or_default(),
                ..internvl3::Motion::test()
            });
            // VQAThinker runs a tower of 448 pixels at 560.
            let side = if has_motion { 560 } else { config.vision_config.image_size };
            let (layout, template): (Layout, _) = match family {
                Family::InternVl3 => (canonical, published::INTERNVL2_5),
                _ => (internvl3::hf_layout, published::INTERNVL_HF),
            };
            let (model, unused) =
                loader.build(layout, |weights| InternVl3::load(&config, motion.as_ref(), weights))?;
            (Model::InternVl3 { model, side }, unused, template, "<IMG_CONTEXT>")
        }
        Family::LlavaOneVision | Family::LlavaOriginal => {
            let (config, layout, template): (_, Layout, _) = match family {
                Family::LlavaOneVision => {
                    (crate::config::read(&config)?, canonical, published::LLAVA_ONEVISION)
                }
                _ => {
                    let original: llava_onevision::OriginalConfig = crate::config::read(&config)?;
                    (original.convert()?, original_layout as Layout, published::QWEN_CHAT)
                }
            };
            let side = config.vision_config.image_size;
            let projector = shapes.iter().find(|(name, _)| name.ends_with("slowfast_projector.0.weight"));
            let motion_width = projector.and_then(|(_, shape)| shape.get(1).copied());
            let (model, unused) =
                loader.build(layout, |weights| LlavaOneVision::load(&config, motion_width, weights))?;
            let motion = match motion_width {
                Some(width) => MotionTower::find(folder, width, &loader.device)?,
                None => None,
            };
            // The original layout has no token for videos; one that no prompt holds keeps their places.
            (Model::Llava { model, side, motion }, unused, template, "<|endoftext|>")
        }
        Family::Qwen25Vl => {
            let value: Value = crate::config::read(&config)?;
            let config: qwen2_5_vl::Config = match value.get("text_config") {
                Some(_) => crate::config::read::<qwen2_5_vl::NestedConfig>(&config)?.into(),
                None => crate::config::read(&config)?,
            };
            video_token(config.video_token_id)?;
            let renamed = shapes.keys().any(|name| name.starts_with("model.language_model."));
            let layout: Layout = if renamed { qwen2_5_vl::renamed_layout } else { canonical };
            let patch = config.vision_config.patch_size;
            let (model, unused) = loader.build(layout, |weights| Qwen25Vl::load(&config, weights))?;
            (Model::Qwen25 { model, patch }, unused, published::QWEN2_5_VL, "<|video_pad|>")
        }
        Family::Qwen3Vl => {
            let config: qwen3_vl::Config = crate::config::read(&config)?;
            video_token(config.video_token_id)?;
            let patch = config.vision_config.patch_size;
            let (model, unused) = loader.build(canonical, |weights| Qwen3Vl::load(&config, weights))?;
            (Model::Qwen3 { model, patch }, unused, published::QWEN3_VL, "<|video_pad|>")
        }
    })
}
