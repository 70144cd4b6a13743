//! Keys and values of the tokens already seen, for token-by-token decoding.
//!
//! One [`KvCache`] per layer; tensors are `[batch, kv_heads, tokens, head_dim]`. The buffer doubles when full, so
//! appending costs amortised constant copies; `truncate` takes tokens back (a shared prompt, a rejected draft).

use candle_core::{Result, Tensor, bail};

/// Cached keys and values of one attention layer.
#[derive(Debug, Default)]
pub struct KvCache {
    buffers: Option<(Tensor, Tensor)>,
    len: usize,
}

impl KvCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of cached tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `[batch, kv_heads, new, head_dim]` keys and values and returns views of all `[.., len, ..]`.
    ///
    /// The views share the buffer: use them before the next `append`. No gradient passes through a cache.
    pub fn append(&mut self, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let (_, _, new, _) = k.dims4()?;
        if v.dims4()?.2 != new {
            bail!("kv cache: {new} new keys but {} new values", v.dim(2)?);
        }
        let (k, v) = (k.detach().contiguous()?, v.detach().contiguous()?);
        let needed = self.len + new;
        if self.buffers.as_ref().is_none_or(|(buffer, _)| buffer.dims()[2] < needed) {
            let capacity = needed.next_power_of_two().max(64);
            self.buffers = Some((self.grown(0, &k, capacity)?, self.grown(1, &v, capacity)?));
        }
        let Some((keys, values)) = &self.buffers else { bail!("kv cache without buffer") };
        if new > 0 {
            keys.slice_set(&k, 2, self.len)?;
            values.slice_set(&v, 2, self.len)?;
        }
        self.len = needed;
        Ok((keys.narrow(2, 0, needed)?, values.narrow(2, 0, needed)?))
    }

    fn grown(&self, which: usize, like: &Tensor, capacity: usize) -> Result<Tensor> {
        let (batch, heads, _, dim) = like.dims4()?;
        let grown = Tensor::zeros((batch, heads, capacity, dim), like.dtype(), like.device())?;
        if let Some((keys, values)) = &self.buffers
            && self.len > 0
        {
            let old = if which == 0 { keys } else { values };
            grown.slice_set(&old.narrow(2, 0, self.len)?.contiguous()?, 2, 0)?;
        }
        Ok(grown)
    }

    /// Forgets all tokens from position `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Forgets everything and frees the buffer.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// An independent copy with its own buffer, repeated `times` along the batch: one prompt, many rollouts.
    pub fn fork(&self, times: usize) -> Result<Self> {
        let copy = |buffer: &Tensor| -> Result<Tensor> {
            let copies = vec![buffer; times];
            // `cat` of one tensor returns the same storage, which two caches must not share.
            if times == 1 { buffer.copy() } else { Tensor::cat(&copies, 0) }
        };
        let buffers = match &self.buffers {
            Some((keys, values)) => Some((copy(keys)?, copy(values)?)),
            None => None,
        };
        Ok(Self { buffers, len: self.len })
    }

    /// Keeps only the listed batch rows, in that order (finished rollouts leave).
    pub fn select(&mut self, rows: &[u32]) -> Result<()> {
        if let Some((keys, values)) = &self.buffers {
            let rows = Tensor::new(rows, keys.device())?;
            self.buffers = Some((keys.index_select(&rows, 0)?, values.index_select(&rows, 0)?));
        }
        Ok(())
    }
}
