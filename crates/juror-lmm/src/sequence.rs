//! Token sequences with places for pictures: left padding, and putting visual tokens where their placeholders stand.

use candle_core::{Device, Tensor};

use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::rotary::Positions;

/// Token ids of a batch, padded on the left to one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// `[batch][tokens]`, padding included.
    pub ids: Vec<Vec<u32>>,
    /// Padded places at the left of each row.
    pub pads: Vec<usize>,
}

impl Batch {
    /// Pads rows of different lengths on the left with `pad_id`.
    pub fn left_padded(rows: &[Vec<u32>], pad_id: u32) -> Self {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let pads: Vec<usize> = rows.iter().map(|row| longest - row.len()).collect();
        let ids = rows
            .iter()
            .zip(&pads)
            .map(|(row, &pad)| std::iter::repeat_n(pad_id, pad).chain(row.iter().copied()).collect())
            .collect();
        Self { ids, pads }
    }

    /// Tokens per row.
    pub fn tokens(&self) -> usize {
        self.ids.first().map_or(0, Vec::len)
    }

    /// The ids as a tensor `[batch, tokens]` of u32.
    ///
    /// # Errors
    /// Rows of different lengths.
    pub fn tensor(&self, device: &Device) -> Result<Tensor> {
        let flat: Vec<u32> = self.ids.iter().flatten().copied().collect();
        Ok(Tensor::from_vec(flat, (self.ids.len(), self.tokens()), device)?)
    }

    /// The index of every unpadded place that holds `id`, over the flattened batch, in order.
    pub fn places(&self, id: u32) -> Vec<usize> {
        let tokens = self.tokens();
        let row_places = |(row, (ids, &pad)): (usize, (&Vec<u32>, &usize))| {
            ids.iter()
                .enumerate()
                .skip(pad)
                .filter(move |(_, i)| **i == id)
                .map(move |(i, _)| row * tokens + i)
                .collect::<Vec<_>>()
        };
        self.ids.iter().zip(&self.pads).enumerate().flat_map(row_places).collect()
    }
}

/// What a decoder is given before it writes.
#[derive(Debug, Clone)]
pub struct Prefill {
    /// `[batch, tokens, hidden]`.
    pub embeds: Tensor,
    /// Positions of all tokens.
    pub positions: Positions,
    /// Padded places at the left of each row.
    pub pads: Vec<usize>,
    /// Added to the stream after layer 0, 1, ..., `[batch, tokens, hidden]` each (deepstack); else empty.
    pub after_layer: Vec<Tensor>,
}

impl Prefill {
    /// Plain positions; each `placeholder` takes one row of `visual` `[places, hidden]`, in order over the batch.
    ///
    /// # Errors
    /// [`Error::Input`] when placeholders and visual tokens differ in number.
    pub fn plain(
        decoder: &Decoder,
        batch: &Batch,
        placeholder: u32,
        visual: Option<&Tensor>,
        device: &Device,
    ) -> Result<Self> {
        let text = decoder.embed(&batch.tensor(device)?)?;
        let places = batch.places(placeholder);
        let embeds = match visual {
            Some(visual) => replace(&text, &places, visual)?,
            None => text,
        };
        Ok(Self {
            embeds,
            positions: Positions::text(&batch.pads, batch.tokens()),
            pads: batch.pads.clone(),
            after_layer: Vec::new(),
        })
    }
}

/// `x` `[batch, n, width]` with row `places[k]` of its flattened form replaced by row `k` of `rows` `[places, width]`.
///
/// # Errors
/// [`Error::Input`] when the numbers differ.
pub fn replace(x: &Tensor, places: &[usize], rows: &Tensor) -> Result<Tensor> {
    let (batch, n, width) = x.dims3()?;
    let given = rows.dim(0)?;
    if places.len() != given {
        return Err(Error::Input(format!(
            "the prompt has {} placeholders for visual tokens, the video gives {given}",
            places.len()
        )));
    }
    // One gather over [text rows, visual rows]: differentiable in both.
    let mut index: Vec<u32> = (0..(batch * n) as u32).collect();
    for (k, &place) in places.iter().enumerate() {
        index[place] = (batch * n + k) as u32;
    }
    let all = Tensor::cat(&[&x.reshape((batch * n, width))?, &rows.to_dtype(x.dtype())?], 0)?;
    Ok(all.index_select(&Tensor::new(index, x.device())?, 0)?.reshape((batch, n, width))?)
}

/// Zeros `[batch, n, width]` with the given rows at the given places (deepstack).
///
/// # Errors
/// [`Error::Input`] when the numbers differ.
pub fn scatter(like: &Tensor, places: &[usize], rows: &Tensor) -> Result<Tensor> {
    replace(&like.zeros_like()?, places, rows)
}
