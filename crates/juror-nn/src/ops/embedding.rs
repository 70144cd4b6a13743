//! Rows of a table by index.

use candle_core::{Result, Tensor};

/// `ids` of u32 (any shape), `weight [vocab, dim]` to `[.., dim]`.
pub fn embedding(ids: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut dims = ids.dims().to_vec();
    dims.push(weight.dim(1)?);
    weight.index_select(&ids.flatten_all()?, 0)?.reshape(dims)
}
