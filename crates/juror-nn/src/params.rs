//! Named parameters: one store for training (variables) and inference (plain tensors).
//!
//! A model asks for each of its tensors by its checkpoint name (`body.mixers.0.norm.weight`) and shape. A store made
//! by [`Params::seeded`] draws what is asked for, each tensor from the stream (seed, name), so adding a tensor changes
//! no other; a store made from a file hands out what the file holds, and [`Params::verify`] lists in one error
//! everything missing, left over or of another shape. All parameters live as f32.

use crate::tensor_file::{TensorFile, cast};
use crate::{Error, Result, error::ParamsMismatch, rng};
use candle_core::{DType, Device, Shape, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a fresh parameter is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Gaussian of mean 0 and this standard deviation, cut at two standard deviations.
    Normal(f64),
    /// Uniform on `[-bound, bound]`, `bound = 1/sqrt(fan-in)`; fan-in is the product of all dimensions but the first.
    Uniform,
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// One value.
    Const(f64),
}

/// On-disk float type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: exact.
    #[default]
    F32,
    /// 16 bits: half the size, about three decimal digits.
    F16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Parameters are variables.
    Train,
    /// Parameters are plain tensors: no graph is ever built.
    Infer,
}

#[derive(Debug, Default)]
struct Inner {
    /// Read from a file and not yet asked for.
    loaded: BTreeMap<String, Tensor>,
    /// Asked for. The variable is `None` for plain tensors.
    used: BTreeMap<String, (Tensor, Option<Var>)>,
    missing: Vec<String>,
    misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    frozen: Vec<String>,
}

/// A named, seeded store of parameters.
#[derive(Debug)]
pub struct Params {
    inner: Mutex<Inner>,
    seed: u64,
    mode: Mode,
    /// Whether a tensor absent from `loaded` is an error at [`Params::verify`].
    from_file: bool,
    device: Device,
}

impl Params {
    /// A store for training which draws every parameter from `seed`.
    pub fn seeded(seed: u64, device: &Device) -> Self {
        Self::with(Inner::default(), seed, Mode::Train, false, device)
    }

    /// A store of plain tensors which draws every parameter from `seed` (tests, benchmarks).
    pub fn seeded_inference(seed: u64, device: &Device) -> Self {
        Self::with(Inner::default(), seed, Mode::Infer, false, device)
    }

    /// Plain tensors for inference from a safetensors file.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        Self::from_tensors(TensorFile::read(path, device)?.tensors, device)
    }

    /// Plain tensors for inference from the bytes of a safetensors file (weights inside the program).
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self> {
        Self::from_tensors(TensorFile::parse(bytes, Path::new("(embedded)"), device)?.tensors, device)
    }

    /// Plain tensors for inference from tensors at hand.
    pub fn from_tensors(tensors: BTreeMap<String, Tensor>, device: &Device) -> Result<Self> {
        let loaded = cast(tensors, DType::F32)?;
        Ok(Self::with(Inner { loaded, ..Default::default() }, 0, Mode::Infer, true, device))
    }

    /// Variables for training that start from a safetensors file; what the file lacks is drawn from `seed`
    /// and listed by [`Params::verify`] (call it unless new parts are wanted).
    pub fn load_for_training(path: &Path, seed: u64, device: &Device) -> Result<Self> {
        Self::tensors_for_training(TensorFile::read(path, device)?.tensors, seed, device)
    }

    /// As [`Params::load_for_training`], from tensors at hand.
    pub fn tensors_for_training(
        tensors: BTreeMap<String, Tensor>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let loaded = cast(tensors, DType::F32)?;
        Ok(Self::with(Inner { loaded, ..Default::default() }, seed, Mode::Train, true, device))
    }

    fn with(inner: Inner, seed: u64, mode: Mode, from_file: bool, device: &Device) -> Self {
        Self { inner: Mutex::new(inner), seed, mode, from_file, device: device.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the parameters live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Parameters whose name starts with `prefix` become plain tensors: no gradient, not in [`Params::variables`].
    /// Call it before the model is built; tensors handed out earlier keep their gradient.
    pub fn freeze(&self, prefix: &str) {
        self.lock().frozen.push(prefix.to_owned());
    }

    /// The parameter `name`: from the file, as handed out before, or freshly drawn.
    pub fn get_or_init(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        let shape = shape.into();
        let mut inner = self.lock();
        if let Some((tensor, _)) = inner.used.get(name) {
            if tensor.shape() != &shape {
                return Err(Error::Reshaped {
                    name: name.to_owned(),
                    asked: shape.dims().to_vec(),
                    existing: tensor.dims().to_vec(),
                });
            }
            return Ok(tensor.clone());
        }
        let value = match inner.loaded.remove(name) {
            Some(tensor) if tensor.shape() == &shape => tensor.to_device(&self.device)?.detach(),
            Some(tensor) => {
                inner.misshapen.push((name.to_owned(), tensor.dims().to_vec(), shape.dims().to_vec()));
                self.draw(name, &shape, init)?
            }
            None => {
                if self.from_file {
                    inner.missing.push(name.to_owned());
                }
                self.draw(name, &shape, init)?
            }
        };
        let frozen = inner.frozen.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let entry = if self.mode == Mode::Train && !frozen {
            let var = Var::from_tensor(&value)?;
            (var.as_tensor().clone(), Some(var))
        } else {
            (value, None)
        };
        let tensor = entry.0.clone();
        inner.used.insert(name.to_owned(), entry);
        Ok(tensor)
    }

    /// Whether the store holds `name`, asked for or not.
    pub fn contains(&self, name: &str) -> bool {
        let inner = self.lock();
        inner.used.contains_key(name) || inner.loaded.contains_key(name)
    }

    /// Errors with everything missing, extra and misshapen, once the model is built. Always fine for a drawn store.
    pub fn verify(&self) -> Result<()> {
        let mismatch = self.mismatch();
        if mismatch.is_empty() { Ok(()) } else { Err(Error::Params(mismatch)) }
    }

    /// What [`Params::verify`] would complain about.
    pub fn mismatch(&self) -> ParamsMismatch {
        let inner = self.lock();
        let extra = inner.loaded.keys().cloned().collect();
        ParamsMismatch { missing: inner.missing.clone(), extra, misshapen: inner.misshapen.clone() }
    }

    /// The variables in the order of their names; empty for inference.
    pub fn variables(&self) -> BTreeMap<String, Var> {
        let inner = self.lock();
        inner.used.iter().filter_map(|(name, (_, var))| Some((name.clone(), var.clone()?))).collect()
    }

    /// Every parameter handed out, frozen ones too, detached.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let inner = self.lock();
        inner.used.iter().map(|(name, (tensor, _))| (name.clone(), tensor.detach())).collect()
    }

    /// Overwrites the variables with `values` (all must be there, of the same shape).
    pub fn set(&self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        let variables = self.variables();
        let mut mismatch = ParamsMismatch::default();
        for (name, var) in &variables {
            match values.get(name) {
                None => mismatch.missing.push(name.clone()),
                Some(value) if value.shape() != var.shape() => {
                    mismatch.misshapen.push((name.clone(), value.dims().to_vec(), var.dims().to_vec()));
                }
                Some(_) => {}
            }
        }
        if !mismatch.is_empty() {
            return Err(Error::Params(mismatch));
        }
        for (name, var) in &variables {
            var.set(&values[name].to_device(&self.device)?.to_dtype(DType::F32)?)?;
        }
        Ok(())
    }

    /// Number of scalars in all parameters handed out.
    pub fn count(&self) -> usize {
        self.lock().used.values().map(|(tensor, _)| tensor.elem_count()).sum()
    }

    /// Writes all parameters handed out (atomically).
    pub fn save(&self, path: &Path, precision: Precision) -> Result<()> {
        save_tensors(self.tensors(), path, precision)
    }

    fn draw(&self, name: &str, shape: &Shape, init: Init) -> Result<Tensor> {
        let mut rng = ChaCha8Rng::seed_from_u64(rng::derive_named(self.seed, name));
        let count = shape.elem_count();
        let fan_in = shape.dims().iter().skip(1).product::<usize>().max(1);
        let values: Vec<f32> = match init {
            Init::Zeros => vec![0.0; count],
            Init::Ones => vec![1.0; count],
            Init::Const(value) => vec![value as f32; count],
            Init::Uniform => {
                let bound = 1.0 / (fan_in as f64).sqrt();
                (0..count).map(|_| (bound * (2.0 * rng.random::<f64>() - 1.0)) as f32).collect()
            }
            Init::Normal(std) => (0..count).map(|_| (std * cut_normal(&mut rng)) as f32).collect(),
        };
        Ok(Tensor::from_vec(values, shape, &self.device)?)
    }
}

/// Writes tensors as safetensors (atomically).
pub fn save_tensors(tensors: BTreeMap<String, Tensor>, path: &Path, precision: Precision) -> Result<()> {
    let dtype = match precision {
        Precision::F32 => DType::F32,
        Precision::F16 => DType::F16,
    };
    TensorFile { tensors: cast(tensors, dtype)?, metadata: None }.write(path)
}

/// A standard normal draw by the Box-Muller transform, redrawn outside two standard deviations.
fn cut_normal(rng: &mut ChaCha8Rng) -> f64 {
    loop {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let value = radius * (std::f64::consts::TAU * rng.random::<f64>()).cos();
        if value.abs() <= 2.0 {
            return value;
        }
    }
}
