//! Scaled dot-product attention (Vaswani et al. 2017) with grouped-query heads (Ainslie et al. 2023).

use super::softmax;
use candle_core::{D, DType, Device, Result, Tensor, bail};

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
    let (batch, heads, q_len, dim) = q.dims4()?;
    let (k_batch, kv_heads, k_len, k_dim) = k.dims4()?;
    let (v_batch, v_heads, v_len, v_dim) = v.dims4()?;
    let fits = (k_batch, v_batch, v_heads, v_len, k_dim) == (batch, batch, kv_heads, k_len, dim);
    if !fits || kv_heads == 0 || heads % kv_heads != 0 {
        bail!("attention: q {:?}, k {:?}, v {:?}", q.dims(), k.dims(), v.dims());
    }
    let group = heads / kv_heads;
    let q = q.contiguous()?.reshape((batch, kv_heads, group * q_len, dim))?;
    let scores = (q.matmul(&k.t()?.contiguous()?)? * scale)?.reshape((batch, heads, q_len, k_len))?;
    let (scores, seen) = match mask {
        Mask::None => (scores, None),
        Mask::Additive(mask) => (scores.broadcast_add(&mask.detach().to_dtype(q.dtype())?)?, None),
        Mask::Causal => {
            let see = |i: usize, j: usize| j + q_len <= i + k_len;
            let seen: Vec<bool> = (0..q_len * k_len).map(|cell| see(cell / k_len, cell % k_len)).collect();
            masked(&scores, &seen, &[1, 1, q_len, k_len])?
        }
        Mask::KeyLengths(lengths) => {
            if lengths.len() != batch {
                bail!("attention: {} key lengths for a batch of {batch}", lengths.len());
            }
            let seen: Vec<bool> = lengths.iter().flat_map(|&len| (0..k_len).map(move |j| j < len)).collect();
            masked(&scores, &seen, &[batch, 1, 1, k_len])?
        }
    };
    let mut weights = softmax(&scores)?;
    if let Some(seen) = seen {
        weights = weights.broadcast_mul(&seen)?;
    }
    let weights = weights.reshape((batch, kv_heads, group * q_len, k_len))?;
    weights.matmul(&v.contiguous()?)?.reshape((batch, heads, q_len, v_dim))
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
    let part = |start: usize, count: usize| {
        qkv.narrow(D::Minus1, start * dim, count * dim)?.reshape((batch, tokens, count, dim))?.transpose(1, 2)
    };
    let (q, k, v) = (part(0, heads)?, part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?);
    attention(&q, &k, &v, scale, mask)?.transpose(1, 2)?.reshape((batch, tokens, heads * dim))
}
