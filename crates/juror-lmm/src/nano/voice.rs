//! Pieces of text and the greedy writing of them.

use super::decoder::{Cache, Decoder};
use crate::error::{Error, Result};
use candle_core::{Device, IndexOp, Tensor};
use tokenizers::Tokenizer;

/// Asks for the comparison of two videos.
pub const COMPARE: &str = "<|compare|>";
/// Asks for the description of one video.
pub const DESCRIBE: &str = "<|describe|>";
/// Ends an answer.
pub const END: &str = "<|end|>";

/// The tokenizer of `nano`: byte-level BPE in the `tokenizer.json` format.
pub struct Voice {
    tokenizer: Tokenizer,
    end: u32,
}

impl Voice {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is none, or lacks one of the three special pieces.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| Error::Tokenizer(e.to_string()))?;
        let end = piece(&tokenizer, END)?;
        piece(&tokenizer, COMPARE)?;
        piece(&tokenizer, DESCRIBE)?;
        Ok(Self { tokenizer, end })
    }

    /// Ids of a text, special pieces recognised.
    ///
    /// # Errors
    /// Only where the tokenizer itself fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding =
            self.tokenizer.encode_fast(text, false).map_err(|e| Error::Tokenizer(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Puts `question` after the tokens of the videos, `[1, tokens, hidden]`.
    ///
    /// # Errors
    /// Only where tensor work fails.
    pub fn ask<'a>(&'a self, decoder: &'a Decoder, videos: &Tensor, question: &str) -> Result<Talk<'a>> {
        let mut cache = Cache::default();
        let id = piece(&self.tokenizer, question)?;
        let asked = decoder.embed(&Tensor::new(&[[id]], &Device::Cpu)?)?;
        let hidden = decoder.forward(&Tensor::cat(&[videos, &asked], 1)?, Some(&mut cache))?;
        let question = hidden.i((.., hidden.dim(1)? - 1))?.contiguous()?;
        Ok(Talk { voice: self, decoder, cache, question })
    }
}

fn piece(tokenizer: &Tokenizer, piece: &str) -> Result<u32> {
    tokenizer.token_to_id(piece).ok_or_else(|| Error::Tokenizer(format!("it has no piece `{piece}`")))
}

/// A question that has been read.
pub struct Talk<'a> {
    voice: &'a Voice,
    decoder: &'a Decoder,
    cache: Cache,
    question: Tensor, // [1, hidden]
}

impl Talk<'_> {
    /// Hidden state of the question, `[1, hidden]`.
    #[must_use]
    pub fn question(&self) -> &Tensor {
        &self.question
    }

    /// Writes greedily to the end of the answer; returns the reasons, tags removed.
    ///
    /// # Errors
    /// Only where tensor work fails.
    pub fn write(&mut self) -> Result<String> {
        let mut hidden = self.question.clone();
        let mut ids: Vec<u32> = Vec::new();
        while self.cache.len() < self.decoder.max_len() {
            let logits: Vec<f32> = self.decoder.logits(&hidden)?.i(0)?.to_vec1()?;
            // The first of equals, so that ties fall the same way everywhere.
            let next =
                (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0) as u32;
            if next == self.voice.end {
                break;
            }
            ids.push(next);
            let x = self.decoder.embed(&Tensor::new(&[[next]], &Device::Cpu)?)?;
            hidden = self.decoder.forward(&x, Some(&mut self.cache))?.i((.., 0))?.contiguous()?;
        }
        let text = self.voice.tokenizer.decode(&ids, false).map_err(|e| Error::Tokenizer(e.to_string()))?;
        let reasons = text.split("</think>").next().unwrap_or("").trim_start_matches("<think>");
        Ok(reasons.trim().to_owned())
    }
}
