//! Keys and values of the tokens already seen, for token-by-token decoding.
//!
//! One [`KvCache`] per layer; tensors are `[rows, kv_heads, tokens, head_dim]`. The buffer doubles when full, so
//! appending costs amortised constant copies; `truncate` takes tokens back (a rejected draft, another try).
//!
//! Rows that are forked from one prompt share its keys and values and own only what they wrote. Attention then has two parts
//! (`ops::joined`): over the prompt, with the queries of all its rows at once, so that its keys are read once for all of them
//! (Hydragen, Juravsky et al. 2024; cascade inference), and over the row's own tokens.

use crate::ops::{self, Mask, Part};
use candle_core::{Result, Tensor, bail};

/// Cached keys and values of one attention layer.
#[derive(Debug, Default)]
pub struct KvCache {
    shared: Option<Shared>,
    /// Of the tokens behind those that are shared.
    buffers: Option<(Tensor, Tensor)>,
    own_len: usize,
}

/// What forked rows have in common.
#[derive(Debug, Clone)]
struct Shared {
    /// `[prompts, kv_heads, tokens, head_dim]`; never written to.
    keys: Tensor,
    values: Tensor,
    /// The prompt of each row.
    prompts: Vec<usize>,
}

impl Shared {
    fn len(&self) -> usize {
        self.keys.dims()[2]
    }

    fn repeated(&self, times: usize) -> Self {
        Self { prompts: self.prompts.repeat(times), ..self.clone() }
    }

    /// Attention of `q [rows, heads, n, head_dim]` over the prompts; `mask` is that of [`KvCache::attend`].
    fn attend(&self, q: &Tensor, scale: f64, mask: Mask) -> Result<Part> {
        let (rows, heads, n, dim) = q.dims4()?;
        let (count, kv_heads, len, _) = self.keys.dims4()?;
        if rows != self.prompts.len() || !heads.is_multiple_of(kv_heads) {
            bail!("kv cache: queries {:?} for {} rows of {kv_heads} heads", q.dims(), self.prompts.len());
        }
        let group = heads / kv_heads;
        let (mut order, mut parts) = (Vec::with_capacity(rows), Vec::new());
        for prompt in 0..count {
            let own: Vec<u32> =
                (0u32..).zip(&self.prompts).filter(|(_, p)| **p == prompt).map(|(r, _)| r).collect();
            let Some(&first) = own.first() else { continue };
            // The rows of a prompt are taken as more query heads of each key head.
            let q = if own.len() == rows {
                q.clone()
            } else {
                q.index_select(&Tensor::new(&own[..], q.device())?, 0)?
            };
            let q = q.reshape((own.len(), kv_heads, group, n, dim))?.transpose(0, 1)?.contiguous()?;
            let q = q.reshape((1, kv_heads * own.len() * group, n, dim))?;
            let narrowed = match mask {
                Mask::Additive(mask) => {
                    let row = if mask.dim(0)? == 1 { 0 } else { first as usize };
                    Some(mask.narrow(0, row, 1)?.narrow(3, 0, len)?.contiguous()?)
                }
                _ => None,
            };
            let (keys, values) = (self.keys.narrow(0, prompt, 1)?, self.values.narrow(0, prompt, 1)?);
            let mask = narrowed.as_ref().map_or(Mask::None, Mask::Additive);
            let Part { out, lse } = ops::partial_attention(&q, &keys, &values, scale, mask)?;
            let out = out.reshape((kv_heads, own.len(), group, n, dim))?.transpose(0, 1)?.contiguous()?;
            let lse = lse.reshape((kv_heads, own.len(), group, n))?.transpose(0, 1)?.contiguous()?;
            parts.push(Part {
                out: out.reshape((own.len(), heads, n, dim))?,
                lse: lse.reshape((own.len(), heads, n))?,
            });
            order.extend(own);
        }
        let cat = |part: fn(&Part) -> &Tensor| Tensor::cat(&parts.iter().map(part).collect::<Vec<_>>(), 0);
        let (out, lse) = (cat(|p| &p.out)?, cat(|p| &p.lse)?);
        if order.is_sorted() {
            return Ok(Part { out, lse });
        }
        let mut places = vec![0u32; rows];
        for (place, row) in (0u32..).zip(order) {
            places[row as usize] = place;
        }
        let places = Tensor::new(places, q.device())?;
        Ok(Part { out: out.index_select(&places, 0)?, lse: lse.index_select(&places, 0)? })
    }
}

impl KvCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of cached tokens.
    pub fn len(&self) -> usize {
        self.shared_len() + self.own_len
    }

    /// True when nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shared_len(&self) -> usize {
        self.shared.as_ref().map_or(0, Shared::len)
    }

    /// Appends keys and values `[rows, kv_heads, n, head_dim]` of new tokens, and lets their queries `[rows, heads, n, head_dim]`
    /// see all that is cached: `ops::attention`, without gradient. `mask` is `Causal`, or `Additive` of
    /// `[rows or 1, 1, n, tokens]` where rows forked from one prompt have one and the same.
    pub fn attend(&mut self, q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Mask) -> Result<Tensor> {
        let (keys, values) = self.append(k, v)?;
        let Some(shared) = &self.shared else { return ops::attention(q, &keys, &values, scale, mask) };
        let prompt = shared.attend(q, scale, mask)?;
        let narrowed = match mask {
            Mask::Additive(mask) => Some(mask.narrow(3, shared.len(), self.own_len)?.contiguous()?),
            _ => None,
        };
        let mask = narrowed.as_ref().map_or(mask, Mask::Additive);
        ops::joined(&prompt, &ops::partial_attention(q, &keys, &values, scale, mask)?)
    }

    /// Appends `[rows, kv_heads, n, head_dim]` keys and values and returns views of all that rows own. The views share the
    /// buffer: use them before the next call.
    fn append(&mut self, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let (_, _, new, _) = k.dims4()?;
        if v.dims4()?.2 != new {
            bail!("kv cache: {new} new keys but {} new values", v.dim(2)?);
        }
        let (k, v) = (k.detach().contiguous()?, v.detach().contiguous()?);
        let needed = self.own_len + new;
        if self.buffers.as_ref().is_none_or(|(buffer, _)| buffer.dims()[2] < needed) {
            let capacity = needed.next_power_of_two().max(64);
            self.buffers = Some((self.grown(0, &k, capacity)?, self.grown(1, &v, capacity)?));
        }
        let Some((keys, values)) = &self.buffers else { bail!("kv cache without buffer") };
        if new > 0 {
            keys.slice_set(&k, 2, self.own_len)?;
            values.slice_set(&v, 2, self.own_len)?;
        }
        self.own_len = needed;
        Ok((keys.narrow(2, 0, needed)?, values.narrow(2, 0, needed)?))
    }

    fn grown(&self, which: usize, like: &Tensor, capacity: usize) -> Result<Tensor> {
        let (rows, heads, _, dim) = like.dims4()?;
        let grown = Tensor::zeros((rows, heads, capacity, dim), like.dtype(), like.device())?;
        if let Some((keys, values)) = &self.buffers
            && self.own_len > 0
        {
            let old = if which == 0 { keys } else { values };
            grown.slice_set(&old.narrow(2, 0, self.own_len)?.contiguous()?, 2, 0)?;
        }
        Ok(grown)
    }

    /// Forgets all tokens from position `len` on.
    pub fn truncate(&mut self, len: usize) -> Result<()> {
        self.own_len = self.own_len.min(len.saturating_sub(self.shared_len()));
        if let Some(shared) = self.shared.as_mut().filter(|shared| shared.len() > len) {
            shared.keys = shared.keys.narrow(2, 0, len)?;
            shared.values = shared.values.narrow(2, 0, len)?;
        }
        Ok(())
    }

    /// An independent cache in which all rows stand `times` times, one copy of them below the other: many rollouts of each prompt.
    /// What is cached now is kept once for all of them.
    pub fn fork(&self, times: usize) -> Result<Self> {
        let repeated = |t: &Tensor| -> Result<Tensor> {
            // `cat` of one tensor returns the same storage, which two caches must not share.
            if times == 1 { t.copy() } else { Tensor::cat(&vec![t; times], 0) }
        };
        let shared = self.shared.as_ref().map(|shared| shared.repeated(times));
        let Some((keys, values)) = &self.buffers else {
            return Ok(Self { shared, buffers: None, own_len: 0 });
        };
        if shared.is_some() || times == 1 {
            let buffers = Some((repeated(keys)?, repeated(values)?));
            return Ok(Self { shared, buffers, own_len: self.own_len });
        }
        // A copy: this cache may take tokens back and write over them.
        let kept = |t: &Tensor| t.narrow(2, 0, self.own_len)?.copy();
        let prompts = (0..keys.dim(0)?).collect();
        let shared = Shared { keys: kept(keys)?, values: kept(values)?, prompts };
        Ok(Self { shared: Some(shared.repeated(times)), buffers: None, own_len: 0 })
    }

    /// Keeps only the listed rows, in that order (finished rollouts leave).
    pub fn select(&mut self, rows: &[u32]) -> Result<()> {
        if let Some(shared) = &mut self.shared {
            let prompt = |&row: &u32| shared.prompts.get(row as usize).copied();
            let Some(prompts) = rows.iter().map(prompt).collect() else {
                bail!("kv cache: rows {rows:?} of {}", shared.prompts.len());
            };
            shared.prompts = prompts;
        }
        if let Some((keys, values)) = &self.buffers {
            let rows = Tensor::new(rows, keys.device())?;
            self.buffers = Some((keys.index_select(&rows, 0)?, values.index_select(&rows, 0)?));
        }
        Ok(())
    }
}
