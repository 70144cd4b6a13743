//! Scaled dot-product attention (Vaswani et al. 2017) with grouped-query heads (Ainslie et al. 2023).

use super::softmax;
use crate::cpu::attention::{self as kernel, Dims, Input, Output, Saved, Strides};
use crate::cpu::buffer::{Shared, for_overwrite, fused, slice, with_slices};
use candle_core::{CpuStorage, CustomOp1, CustomOp3, D, DType, Device, Layout, Result, Shape, Tensor, bail};
use std::sync::{Mutex, PoisonError};

/// Which keys a query may see.
#[derive(Debug, Clone, Copy)]
pub enum Mask<'a> {
    /// All.
    None,
    /// Query `i` of `q_len` sees keys up to `i + k_len - q_len`: the last query sees all (cache in front).
    Causal,
    /// Added to the scores; broadcast to `[batch, heads, q_len, k_len]`; no gradient.
    Additive(&'a Tensor),
    /// Batch row `i` sees its first `lengths[i]` keys; with length 0 its output is 0.
    KeyLengths(&'a [usize]),
}

/// `softmax(scale · q·kᵀ + mask) · v`.
///
/// `q [batch, heads, q_len, head_dim]`, `k`, `v` `[batch, kv_heads, k_len, head_dim]`, `heads` a multiple of
/// `kv_heads`: query head `h` reads key head `h / (heads/kv_heads)`. A query that sees nothing gives 0.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Mask) -> Result<Tensor> {
    let dims = sizes(q, k, v)?;
    if has_kernel(dims, q, k, v)? {
        let op = Fused::new(dims, scale, mask)?;
        return rows_of(q)?.apply_op3(&rows_of(k)?, &rows_of(v)?, Split(op));
    }
    let (scores, seen) = scores(dims, q, k, scale, mask)?;
    weighted(dims, &scores, seen.as_ref(), v)
}

/// Attention over some of the keys that queries see, `out [batch, heads, q_len, head_dim]`, and the weight of these keys,
/// `lse [batch, heads, q_len]` (`log Σ exp` of the scores, f32). Two parts make the whole ([`joined`]); no gradient.
#[derive(Debug, Clone)]
pub struct Part {
    /// Weighted mean of the values.
    pub out: Tensor,
    /// `log Σ exp` of the scores.
    pub lse: Tensor,
}

/// As [`attention`], of keys that are only some of those seen. Each query must see one of them.
pub fn partial_attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Mask) -> Result<Part> {
    let dims = sizes(q, k, v)?;
    let shape = (dims.batch, dims.heads, dims.q_len);
    if has_kernel(dims, q, k, v)? {
        let op = Split(Fused::new(dims, scale, mask)?);
        let out = rows_of(q)?.apply_op3_no_bwd(&rows_of(k)?, &rows_of(v)?, &op)?;
        let lse = op.0.lse.into_inner().unwrap_or_else(PoisonError::into_inner);
        return Ok(Part { out, lse: Tensor::from_vec(lse, shape, q.device())? });
    }
    let (scores, seen) = scores(dims, &q.detach(), &k.detach(), scale, mask)?;
    let lse = scores.to_dtype(DType::F32)?.log_sum_exp(D::Minus1)?;
    Ok(Part { out: weighted(dims, &scores, seen.as_ref(), &v.detach())?, lse })
}

/// Attention over the keys of both parts: their means by weight.
pub fn joined(a: &Part, b: &Part) -> Result<Tensor> {
    let top = a.lse.maximum(&b.lse)?;
    let weight = |part: &Part| (&part.lse - &top)?.exp();
    let (weight_a, weight_b) = (weight(a)?, weight(b)?);
    let total = (&weight_a + &weight_b)?;
    let share = |part: &Part, weight: &Tensor| {
        part.out.broadcast_mul(&(weight / &total)?.unsqueeze(D::Minus1)?.to_dtype(part.out.dtype())?)
    };
    share(a, &weight_a)? + share(b, &weight_b)?
}

fn sizes(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Dims> {
    let (batch, heads, q_len, dim) = q.dims4()?;
    let (k_batch, kv_heads, k_len, k_dim) = k.dims4()?;
    let (v_batch, v_heads, v_len, _) = v.dims4()?;
    let fits = (k_batch, v_batch, v_heads, v_len, k_dim) == (batch, batch, kv_heads, k_len, dim);
    if !fits || kv_heads == 0 || heads % kv_heads != 0 {
        bail!("attention: q {:?}, k {:?}, v {:?}", q.dims(), k.dims(), v.dims());
    }
    Ok(Dims { batch, heads, kv_heads, q_len, k_len, dim })
}

/// Whether the fused kernel takes these.
fn has_kernel(dims: Dims, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<bool> {
    Ok(fused(&[q, k, v]) && v.dim(3)? == dims.dim && dims.dim > 0)
}

/// Masked scores `[batch, heads, q_len, k_len]`, and 0 where nothing may be seen.
fn scores(dims: Dims, q: &Tensor, k: &Tensor, scale: f64, mask: Mask) -> Result<(Tensor, Option<Tensor>)> {
    let Dims { batch, heads, kv_heads, q_len, k_len, dim } = dims;
    let q = q.contiguous()?.reshape((batch, kv_heads, heads / kv_heads * q_len, dim))?;
    let scores = (q.matmul(&k.t()?.contiguous()?)? * scale)?.reshape((batch, heads, q_len, k_len))?;
    match mask {
        Mask::None => Ok((scores, None)),
        Mask::Additive(mask) => Ok((scores.broadcast_add(&mask.detach().to_dtype(q.dtype())?)?, None)),
        Mask::Causal => {
            let see = |i: usize, j: usize| j + q_len <= i + k_len;
            let seen: Vec<bool> = (0..q_len * k_len).map(|cell| see(cell / k_len, cell % k_len)).collect();
            masked(&scores, &seen, &[1, 1, q_len, k_len])
        }
        Mask::KeyLengths(lengths) => {
            if lengths.len() != batch {
                bail!("attention: {} key lengths for a batch of {batch}", lengths.len());
            }
            let seen: Vec<bool> = lengths.iter().flat_map(|&len| (0..k_len).map(move |j| j < len)).collect();
            masked(&scores, &seen, &[batch, 1, 1, k_len])
        }
    }
}

/// Softmax of the scores, times the values.
fn weighted(dims: Dims, scores: &Tensor, seen: Option<&Tensor>, v: &Tensor) -> Result<Tensor> {
    let Dims { batch, heads, kv_heads, q_len, k_len, .. } = dims;
    let mut weights = softmax(scores)?;
    if let Some(seen) = seen {
        weights = weights.broadcast_mul(seen)?;
    }
    let weights = weights.reshape((batch, kv_heads, heads / kv_heads * q_len, k_len))?;
    weights.matmul(&v.contiguous()?)?.reshape((batch, heads, q_len, v.dim(3)?))
}

/// Adds a large negative number where nothing may be seen; also gives the 0/1 mask that silences rows without keys.
fn masked(scores: &Tensor, seen: &[bool], dims: &[usize]) -> Result<(Tensor, Option<Tensor>)> {
    let values: Vec<f32> = seen.iter().map(|&see| f32::from(see)).collect();
    let seen = Tensor::from_vec(values, dims, &Device::Cpu)?.to_device(scores.device())?;
    let lift = ((&seen - 1.0)? * 1e9)?;
    let low = if scores.dtype() == DType::F16 { (lift * 6e-5)? } else { lift };
    Ok((scores.broadcast_add(&low.to_dtype(scores.dtype())?)?, Some(seen.to_dtype(scores.dtype())?)))
}

/// Attention straight from one projection: `qkv [batch, tokens, (heads + 2·kv_heads)·head_dim]`, all queries first,
/// then keys, then values, to `[batch, tokens, heads·head_dim]`. Saves the copies that splitting heads costs.
pub fn attention_packed(
    qkv: &Tensor,
    heads: usize,
    kv_heads: usize,
    scale: f64,
    mask: Mask,
) -> Result<Tensor> {
    let (batch, tokens, width) = qkv.dims3()?;
    let all = heads + 2 * kv_heads;
    if kv_heads == 0 || width % all != 0 {
        bail!(
            "attention: {heads} query and 2·{kv_heads} key and value heads do not divide a width of {width}"
        );
    }
    let dim = width / all;
    if heads == 0 || !heads.is_multiple_of(kv_heads) {
        bail!("attention: {heads} query heads are no multiple of {kv_heads} key heads");
    }
    if fused(&[qkv]) && dim > 0 {
        let dims = Dims { batch, heads, kv_heads, q_len: tokens, k_len: tokens, dim };
        return qkv.contiguous()?.apply_op1(Packed(Fused::new(dims, scale, mask)?));
    }
    let part = |start: usize, count: usize| {
        qkv.narrow(D::Minus1, start * dim, count * dim)?.reshape((batch, tokens, count, dim))?.transpose(1, 2)
    };
    let (q, k, v) = (part(0, heads)?, part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?);
    attention(&q, &k, &v, scale, mask)?.transpose(1, 2)?.reshape((batch, tokens, heads * dim))
}

/// The tensor itself when the values of a token lie side by side, else a contiguous copy.
fn rows_of(x: &Tensor) -> Result<Tensor> {
    if x.stride().last() == Some(&1) { Ok(x.clone()) } else { x.contiguous() }
}

enum OwnedMask {
    None,
    Causal,
    Additive(Vec<f32>, [usize; 4]),
    Lengths(Vec<usize>),
}

/// Sizes, scale and mask of one attention, and what its forward pass leaves for the backward pass.
struct Fused {
    dims: Dims,
    scale: f32,
    mask: OwnedMask,
    /// `log Σ exp` of the scores, `[batch, heads, q_len]`.
    lse: Mutex<Vec<f32>>,
}

impl Fused {
    fn new(dims: Dims, scale: f64, mask: Mask) -> Result<Self> {
        let mask = match mask {
            Mask::None => OwnedMask::None,
            Mask::Causal => OwnedMask::Causal,
            Mask::KeyLengths(lengths) if lengths.len() == dims.batch => OwnedMask::Lengths(lengths.to_vec()),
            Mask::KeyLengths(lengths) => {
                bail!("attention: {} key lengths for a batch of {}", lengths.len(), dims.batch)
            }
            Mask::Additive(mask) => {
                let want = [dims.batch, dims.heads, dims.q_len, dims.k_len];
                let have = mask.dims();
                let (mut strides, mut stride) = ([0; 4], 1);
                for back in 1..=have.len() {
                    let size = have[have.len() - back];
                    if back > 4 || (size != 1 && size != want[4 - back]) {
                        bail!("attention: mask {have:?} does not broadcast to {want:?}");
                    }
                    strides[4 - back] = if size == 1 { 0 } else { stride };
                    stride *= size;
                }
                OwnedMask::Additive(mask.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?, strides)
            }
        };
        Ok(Self { dims, scale: scale as f32, mask, lse: Mutex::default() })
    }

    fn mask(&self) -> kernel::Mask<'_> {
        match &self.mask {
            OwnedMask::None => kernel::Mask::None,
            OwnedMask::Causal => kernel::Mask::Causal,
            OwnedMask::Additive(values, strides) => kernel::Mask::Additive(values, *strides),
            OwnedMask::Lengths(lengths) => kernel::Mask::Lengths(lengths),
        }
    }

    fn forward(&self, q: Input, k: Input, v: Input, strides: Strides) -> CpuStorage {
        let Dims { batch, heads, q_len, dim, .. } = self.dims;
        let mut out = for_overwrite(batch * heads * q_len * dim);
        let output = Output { data: &mut out, strides };
        let lse = kernel::forward(&self.dims, q, k, v, self.scale, self.mask(), output);
        *self.lse.lock().unwrap_or_else(PoisonError::into_inner) = lse;
        CpuStorage::F32(out)
    }
}

/// Apart: q, k, v `[batch, heads, tokens, dim]`, any strides but 1 between channels.
struct Split(Fused);

fn input<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Input<'a>> {
    let &[batch, head, token, _] = layout.stride() else { bail!("attention wants four dimensions") };
    match storage {
        CpuStorage::F32(data) => {
            Ok(Input { data: &data[layout.start_offset()..], strides: Strides { batch, head, token } })
        }
        _ => bail!("attention wants f32"),
    }
}

impl CustomOp3 for Split {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Dims { batch, heads, q_len, dim, .. } = self.0.dims;
        let (q, k, v) = (input(q, q_layout)?, input(k, k_layout)?, input(v, v_layout)?);
        let out = self.0.forward(q, k, v, Strides::contiguous(heads, q_len, dim));
        Ok((out, Shape::from((batch, heads, q_len, dim))))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Dims { heads, kv_heads, q_len, k_len, dim, .. } = self.0.dims;
        let q_strides = Strides::contiguous(heads, q_len, dim);
        let k_strides = Strides::contiguous(kv_heads, k_len, dim);
        let lse = self.0.lse.lock().unwrap_or_else(PoisonError::into_inner);
        let mut grads = [q, k, v].map(|x| for_overwrite(x.elem_count()));
        with_slices([q, k, v, out, grad], |[q, k, v, out, grad]| {
            let saved = Saved {
                q: Input { data: q, strides: q_strides },
                k: Input { data: k, strides: k_strides },
                v: Input { data: v, strides: k_strides },
                out: Input { data: out, strides: q_strides },
                grad: Input { data: grad, strides: q_strides },
                lse: &lse,
            };
            let [q_grad, k_grad, v_grad] = &mut grads;
            let buffers = [Shared::new(q_grad), Shared::new(k_grad), Shared::new(v_grad)];
            let strides = [q_strides, k_strides, k_strides];
            kernel::backward(&self.0.dims, &saved, self.0.scale, self.0.mask(), buffers, strides);
            Ok(())
        })?;
        let [q_grad, k_grad, v_grad] = grads;
        Ok((
            Some(Tensor::from_vec(q_grad, q.shape(), q.device())?),
            Some(Tensor::from_vec(k_grad, k.shape(), k.device())?),
            Some(Tensor::from_vec(v_grad, v.shape(), v.device())?),
        ))
    }
}

/// Together: `[batch, tokens, (heads + 2·kv_heads)·dim]`.
struct Packed(Fused);

impl Packed {
    /// Width of a token, strides, and where keys and values start.
    fn layout(&self) -> (Strides, usize, usize) {
        let Dims { heads, kv_heads, q_len, dim, .. } = self.0.dims;
        let width = (heads + 2 * kv_heads) * dim;
        (Strides { batch: q_len * width, head: dim, token: width }, heads * dim, (heads + kv_heads) * dim)
    }

    fn inputs<'a>(&self, qkv: &'a [f32]) -> [Input<'a>; 3] {
        let (strides, k, v) = self.layout();
        [0, k, v].map(|start| Input { data: qkv.get(start..).unwrap_or_default(), strides })
    }

    fn out_strides(&self) -> Strides {
        let Dims { heads, q_len, dim, .. } = self.0.dims;
        Strides { batch: q_len * heads * dim, head: dim, token: heads * dim }
    }
}

impl CustomOp1 for Packed {
    fn name(&self) -> &'static str {
        "packed attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Dims { batch, heads, q_len, dim, .. } = self.0.dims;
        let [q, k, v] = self.inputs(slice(storage, layout)?);
        Ok((self.0.forward(q, k, v, self.out_strides()), Shape::from((batch, q_len, heads * dim))))
    }

    fn bwd(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (strides, k_start, v_start) = self.layout();
        let out_strides = self.out_strides();
        let lse = self.0.lse.lock().unwrap_or_else(PoisonError::into_inner);
        let mut grads = for_overwrite(qkv.elem_count());
        if qkv.elem_count() > 0 {
            with_slices([qkv, out, grad], |[qkv, out, grad]| {
                let [q, k, v] = self.inputs(qkv);
                let [out, grad] = [out, grad].map(|data| Input { data, strides: out_strides });
                let saved = Saved { q, k, v, out, grad, lse: &lse };
                let buffers = [0, k_start, v_start].map(|start| Shared::new(&mut grads[start..]));
                kernel::backward(&self.0.dims, &saved, self.0.scale, self.0.mask(), buffers, [strides; 3]);
                Ok(())
            })?;
        }
        Ok(Some(Tensor::from_vec(grads, qkv.shape(), qkv.device())?))
    }
}
