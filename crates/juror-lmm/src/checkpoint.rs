//! Checkpoint folders: sharded safetensors, memory-mapped, compared with what a model needs before anything is loaded.
//!
//! A model is built from a `VarBuilder` under its canonical tensor names. [`describe`] builds it once without data and
//! so learns which names and shapes it needs; [`Checkpoint::compare`] lists what is missing, extra or misshapen;
//! [`Checkpoint::var_builder`] then serves the data. A second layout of the same weights (transformers' renamed
//! checkpoints) is a function from a canonical name to a [`Source`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use candle_core::safetensors::{Load, MmapedSafetensors};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use juror_nn::lora::LoraConfig;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Where a tensor of the model is found in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Under this name.
    Name(String),
    /// As these tensors of equal size, stacked along the first dimension.
    Rows(Vec<String>),
}

/// From the canonical name of a tensor to its place in the files.
pub type Layout = fn(&str) -> Source;

/// The layout in which every tensor has its canonical name.
pub fn canonical(name: &str) -> Source {
    Source::Name(name.to_owned())
}

/// A tensor that a model needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TensorSpec {
    /// Canonical name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
}

/// Differences between a checkpoint and the model it should fill, by the names in the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Needed, not there.
    pub missing: Vec<String>,
    /// There, not needed.
    pub extra: Vec<String>,
    /// Name, shape needed, shape found.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Mismatch {
    /// Whether the model can be loaded; extra tensors do no harm.
    pub fn is_loadable(&self) -> bool {
        self.missing.is_empty() && self.misshapen.is_empty()
    }

    /// Whether names and shapes are the same on both sides.
    pub fn is_empty(&self) -> bool {
        self.is_loadable() && self.extra.is_empty()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let mut list = |title: &str, rows: Vec<String>| -> fmt::Result {
            if rows.is_empty() {
                return Ok(());
            }
            write!(f, "{} {title}: {}", rows.len(), rows[..rows.len().min(SHOWN)].join(", "))?;
            if rows.len() > SHOWN { write!(f, ", ...; ") } else { write!(f, "; ") }
        };
        list("missing", self.missing.clone())?;
        list(
            "misshapen",
            self.misshapen
                .iter()
                .map(|(name, want, got)| format!("{name} {got:?} instead of {want:?}"))
                .collect(),
        )?;
        list("extra", self.extra.clone())
    }
}

/// Builds a model without data and returns the tensors it asked for, sorted by name.
///
/// # Errors
/// Those of `build`.
pub fn describe<T, E: From<candle_core::Error>>(
    build: impl FnOnce(VarBuilder<'static>) -> Result<T, E>,
) -> Result<Vec<TensorSpec>, E> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let backend: Box<dyn SimpleBackend> = Box::new(Recorder(seen.clone()));
    build(VarBuilder::new_with_args(backend, DType::F32, &Device::Cpu))?;
    let seen = seen.lock().map_err(|e| candle_core::Error::Msg(e.to_string()))?;
    Ok(seen.iter().cloned().collect())
}

/// Answers every request with one zero, broadcast to the shape, and writes the request down.
struct Recorder(Arc<Mutex<BTreeSet<TensorSpec>>>);

impl SimpleBackend for Recorder {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let spec = TensorSpec { name: name.to_owned(), shape: shape.dims().to_vec() };
        self.0.lock().map_err(|e| candle_core::Error::Msg(e.to_string()))?.insert(spec);
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("the shape of {name} is not stated")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// A folder of safetensors files, memory-mapped.
pub struct Checkpoint {
    files: MmapedSafetensors,
    shapes: BTreeMap<String, Vec<usize>>,
    updates: BTreeMap<String, LowRank>,
}

/// A low-rank update of one weight: `weight + scale * b . a`.
struct LowRank {
    a: Tensor,
    b: Tensor,
    scale: f64,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("tensors", &self.shapes.len()).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens `model.safetensors.index.json` with its shards, else `model.safetensors`, of a folder.
    ///
    /// # Errors
    /// A missing, truncated or unreadable file; an index naming a tensor that its shard does not hold.
    pub fn open(folder: &Path) -> Result<Self> {
        let index_path = folder.join("model.safetensors.index.json");
        if !index_path.exists() {
            let single = folder.join("model.safetensors");
            if !single.exists() {
                return Err(Error::Checkpoint {
                    message: "no model.safetensors and no model.safetensors.index.json; the folder is no complete checkpoint".into(),
                    path: folder.to_owned(),
                });
            }
            return Self::open_files(&[single]);
        }
        let text = std::fs::read_to_string(&index_path)
            .map_err(|source| Error::Io { source, path: index_path.clone() })?;
        let index: Index = crate::config::parse(&text, &index_path)?;
        let shards: BTreeSet<&String> = index.weight_map.values().collect();
        let paths: Vec<PathBuf> = shards.iter().map(|shard| folder.join(shard)).collect();
        let checkpoint = Self::open_files(&paths)?;
        let absent: Vec<&str> = index
            .weight_map
            .keys()
            .filter(|k| !checkpoint.shapes.contains_key(*k))
            .map(String::as_str)
            .collect();
        if !absent.is_empty() {
            return Err(Error::Checkpoint {
                message: format!(
                    "the index names {} tensors that no shard holds ({}, ...); get the shards again",
                    absent.len(),
                    absent[0]
                ),
                path: index_path,
            });
        }
        Ok(checkpoint)
    }

    /// Maps the given safetensors files.
    ///
    /// # Errors
    /// A missing or unreadable file, or one whose header does not fit its length.
    pub fn open_files(paths: &[PathBuf]) -> Result<Self> {
        // Checked one by one before all are mapped, so that the message names the file.
        paths.iter().try_for_each(|path| check_length(path))?;
        // Mapping is unsafe because another process could change the file below us. Checkpoints are written once;
        // reading gigabytes into memory first is the alternative, and it doubles the need.
        #[expect(unsafe_code, reason = "memory mapping of files that nobody writes while they are read")]
        let files = unsafe { MmapedSafetensors::multi(paths) }.map_err(|e| Error::Checkpoint {
            message: format!("not a complete safetensors file ({}); get it again", root_cause(&e)),
            path: paths.first().cloned().unwrap_or_default(),
        })?;
        let shapes = files.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
        Ok(Self { files, shapes, updates: BTreeMap::new() })
    }

    /// The same checkpoint with a PEFT adapter (`adapter_config.json`, `adapter_model.safetensors`) merged into its
    /// weights as they are read.
    ///
    /// # Errors
    /// Missing or broken files; an adapter that updates weights which are not there or have another shape.
    pub fn with_adapter(mut self, folder: &Path) -> Result<Self> {
        let config: LoraConfig = crate::config::read(&folder.join("adapter_config.json"))?;
        crate::config::check(config.rank > 0, "r", config.rank, "must be positive")?;
        let adapter = Self::open_files(&[folder.join("adapter_model.safetensors")])?;
        let wrong = |message: String| Error::Checkpoint { message, path: folder.to_owned() };
        for (name, shape_a) in &adapter.shapes {
            let Some(path) = name.strip_suffix(".lora_A.weight") else {
                if name.ends_with(".lora_B.weight") {
                    continue;
                }
                return Err(wrong(format!("{name} is no part of a LoRA adapter")));
            };
            let b_name = format!("{path}.lora_B.weight");
            let module = path.strip_prefix("base_model.model.").unwrap_or(path);
            let target = self.weight_of(module).ok_or_else(|| {
                wrong(format!("the adapter updates {module}, which this checkpoint does not have"))
            })?;
            let b_shape = adapter.shapes.get(&b_name).cloned().unwrap_or_default();
            let updated = [b_shape.first().copied().unwrap_or(0), shape_a.get(1).copied().unwrap_or(0)];
            if self.shapes[&target] != updated {
                let found = &self.shapes[&target];
                return Err(wrong(format!(
                    "the adapter's update of {module} is {updated:?}, the weight {found:?}"
                )));
            }
            let f32 = |name: &str| adapter.tensor(name, &Device::Cpu)?.to_dtype(DType::F32);
            let update = LowRank { a: f32(name)?, b: f32(&b_name)?, scale: config.scale() };
            self.updates.insert(target, update);
        }
        Ok(self)
    }

    /// The weight of the module that an adapter calls `module`: adapters use the names in memory, which transformers
    /// 4.52 and later changed.
    fn weight_of(&self, module: &str) -> Option<String> {
        const RENAMED: [(&str, &str); 4] = [
            ("", ""),
            ("model.language_model.", "language_model.model."),
            ("model.language_model.", "model."),
            ("model.visual.", "visual."),
        ];
        let names = RENAMED
            .iter()
            .filter_map(|(new, old)| Some(format!("{old}{}.weight", module.strip_prefix(new)?)));
        names.into_iter().find(|name| self.shapes.contains_key(name))
    }

    /// Names and shapes of all tensors.
    pub fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    /// What differs between this checkpoint and the tensors `needed` by a model.
    pub fn compare(&self, needed: &[TensorSpec], layout: Layout) -> Mismatch {
        let mut result = Mismatch::default();
        let mut used = BTreeSet::new();
        for spec in needed {
            let (names, shape) = match layout(&spec.name) {
                Source::Name(name) => (vec![name], spec.shape.clone()),
                Source::Rows(names) => {
                    let mut shape = spec.shape.clone();
                    if let Some(rows) = shape.first_mut() {
                        *rows /= names.len().max(1);
                    }
                    (names, shape)
                }
            };
            for name in names {
                match self.shapes.get(&name) {
                    None => result.missing.push(name),
                    Some(found) => {
                        if *found != shape {
                            result.misshapen.push((name.clone(), shape.clone(), found.clone()));
                        }
                        used.insert(name);
                    }
                }
            }
        }
        result.extra = self.shapes.keys().filter(|name| !used.contains(*name)).cloned().collect();
        result
    }

    /// Fails unless every needed tensor is there in its shape; returns the names of the tensors that are not needed.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with all missing and misshapen tensors.
    pub fn require(&self, needed: &[TensorSpec], layout: Layout) -> Result<Vec<String>> {
        let mismatch = self.compare(needed, layout);
        if mismatch.is_loadable() { Ok(mismatch.extra) } else { Err(Error::Mismatch(Box::new(mismatch))) }
    }

    /// Serves the tensors under their canonical names, converted to `dtype`.
    pub fn var_builder(
        self: &Arc<Self>,
        layout: Layout,
        dtype: DType,
        device: &Device,
    ) -> VarBuilder<'static> {
        let backend: Box<dyn SimpleBackend> = Box::new(Served { checkpoint: self.clone(), layout });
        VarBuilder::new_with_args(backend, dtype, device)
    }

    /// SHA-256, in hexadecimal, over the name, type, shape and first 4 KiB of every tensor: tells checkpoints apart
    /// without reading gigabytes.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn fingerprint(&self) -> candle_core::Result<String> {
        const SAMPLE_BYTES: usize = 4096;
        let mut hash = Sha256::new();
        for name in self.shapes.keys() {
            let view = self.files.get(name)?;
            hash.update(format!("{name} {:?} {:?}\n", view.dtype(), view.shape()));
            hash.update(&view.data()[..view.data().len().min(SAMPLE_BYTES)]);
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// One tensor by its name in the files, in its stored type (f32 where an adapter updates it).
    ///
    /// # Errors
    /// No such tensor.
    pub fn tensor(&self, name: &str, device: &Device) -> candle_core::Result<Tensor> {
        let stored = self.files.get(name)?.load(device)?;
        let Some(LowRank { a, b, scale }) = self.updates.get(name) else { return Ok(stored) };
        stored.to_dtype(DType::F32)? + (b.matmul(a)? * *scale)?.to_device(device)?
    }
}

/// Fails unless a safetensors file is as long as its header says: a cut-off download is told as such.
fn check_length(path: &Path) -> Result<()> {
    let io = |source| Error::Io { source, path: path.to_owned() };
    let broken = |message: String| Error::Checkpoint { message, path: path.to_owned() };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut start = [0; 8];
    file.read_exact(&mut start)
        .map_err(|_| broken("not a safetensors file: shorter than a header".into()))?;
    let header_length = u64::from_le_bytes(start);
    if header_length > length.saturating_sub(8) {
        return Err(broken(format!("cut off within its header ({length} bytes); get it again")));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&header)
        .map_err(|e| broken(format!("not a safetensors file: its header is no JSON ({e}); get it again")))?;
    let end = |entry: &serde_json::Value| entry.get("data_offsets")?.get(1)?.as_u64();
    let needed = 8 + header_length + header.values().filter_map(end).max().unwrap_or(0);
    if needed != length {
        return Err(broken(format!(
            "{length} bytes instead of the {needed} its header states; get it again"
        )));
    }
    Ok(())
}

fn root_cause(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

struct Served {
    checkpoint: Arc<Checkpoint>,
    layout: Layout,
}

impl SimpleBackend for Served {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if tensor.shape() != &shape {
            candle_core::bail!("{name} has shape {:?} instead of {:?}", tensor.dims(), shape.dims());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let load = |name: &String| self.checkpoint.tensor(name, device)?.to_dtype(dtype);
        match (self.layout)(name) {
            Source::Name(name) => load(&name),
            Source::Rows(names) => {
                Tensor::cat(&names.iter().map(load).collect::<candle_core::Result<Vec<_>>>()?, 0)
            }
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        match (self.layout)(name) {
            Source::Name(name) => self.checkpoint.shapes.contains_key(&name),
            Source::Rows(names) => names.iter().all(|name| self.checkpoint.shapes.contains_key(name)),
        }
    }
}
