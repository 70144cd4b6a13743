//! The decoder of `nano`: reads the tokens of one or two videos and a question, writes the reasons.
//!
//! ```text
//! [A tokens][B tokens] <|compare|> <think> ... </think><answer> ... </answer><|end|>
//! [A tokens]           <|describe|> <think> ... </think><answer> ... </answer><|end|>
//! ```
//!
//! A pre-norm transformer with causal attention, learned positions and tied embeddings. Video tokens come from
//! the projector: one per moment, one per region of the picture, one each for time, trunk and the body's own
//! verdict (`TOKENS_PER_VIDEO` for eight moments), with a learned mark of which video they belong to.
//!
//! The margin is `4 (sigmoid(s rA + t + d) - sigmoid(s rB + t - d))` with the rank logits `r` of both beside each other (`pair.rs`), a
//! learned scale `s` and offset `t` that turn them into points, and a correction `d` read by the margin head from the hidden state of
//! the question token (the cheap path) or of the last written token (after the reasoning): the head refines what the body saw and cannot
//! forget it.

use super::body::{BodyOutput, LayerNorm, Linear, REGIONS, Sides};
use super::config::{KINDS, NanoConfig};
use super::pair::PairFeatures;
use candle_core::{D, IndexOp, Result, Tensor};
use juror_nn::kv_cache::KvCache;
use juror_nn::ops::{self, Mask};
use juror_nn::params::{Init, Params};

/// Regions, time, trunk and verdict; the moments' tokens come on top.
const EXTRA_TOKENS: usize = REGIONS * REGIONS + 3;

struct Block {
    attention_norm: LayerNorm,
    qkv: Linear,
    out: Linear,
    mlp_norm: LayerNorm,
    up: Linear,
    down: Linear,
}

/// Keys and values of the tokens read so far, of every block.
#[derive(Default)]
pub struct Cache {
    blocks: Vec<KvCache>,
}

impl Cache {
    /// Tokens read so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.first().map_or(0, KvCache::len)
    }

    /// True before the first token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps these rows of the batch, in this order: one prompt for many rollouts, those that are not finished yet.
    ///
    /// # Errors
    /// On a row that does not exist.
    pub fn select(&mut self, rows: &[u32]) -> Result<()> {
        self.blocks.iter_mut().try_for_each(|block| block.select(rows))
    }
}

/// The decoder's weights, projector and margin head included.
pub struct Decoder {
    moment: Linear,
    region: Linear,
    temporal: Linear,
    trunk: Linear,
    verdict: Linear,
    slot: Tensor,  // [tokens per video, hidden]
    owner: Tensor, // [2, hidden]
    video_norm: LayerNorm,
    embedding: Tensor, // [vocab, hidden]
    position: Tensor,  // [max_position, hidden]
    blocks: Vec<Block>,
    norm: LayerNorm,
    margin_in: Linear,
    margin_out: Linear,
    margin_scale: Tensor,  // [1]
    margin_offset: Tensor, // [1]
    heads: usize,
    max_len: usize,
}

/// What the projector reads about each video, detached from the body: all `[videos, ...]`.
#[derive(Clone)]
pub struct VideoFeatures {
    /// `[videos, moments, 4 fragment_dim]`.
    pub moments: Tensor,
    /// `[videos, 9, 2 fragment_dim]`.
    pub regions: Tensor,
    /// `[videos, temporal_dim + PROFILE_LEN]`: the temporal branch and the profile it read.
    pub temporal: Tensor,
    /// `[videos, trunk_dim]`.
    pub trunk: Tensor,
    /// Rank and score logits by aspect, dominant and severity logits, `[videos, 4 + 1 + 2 KINDS]`.
    pub verdict: Tensor,
    /// What is laid over another video.
    pub sides: Sides,
    /// Steps and mean picture, `[videos, 656]` (`cadence.rs`).
    pub cadence: Tensor,
}

impl VideoFeatures {
    /// Gathers what the decoder needs from a full pass of the body over `profile` `[videos, 109]`, and `cadence`
    /// `[videos, 656]` (`cadence.rs`).
    ///
    /// # Errors
    /// When the pass lacked native places.
    pub fn new(body: &BodyOutput, profile: &Tensor, cadence: Tensor) -> Result<Self> {
        let Some(regions) = &body.views.regions else {
            candle_core::bail!("the decoder needs all native places");
        };
        let column = |t: &Tensor| t.unsqueeze(1);
        Ok(Self {
            moments: body.views.moments.detach(),
            regions: regions.detach(),
            temporal: Tensor::cat(&[&body.views.temporal.detach(), profile], 1)?,
            trunk: body.views.trunk.detach(),
            verdict: Tensor::cat(
                &[
                    column(&body.rank_visual)?,
                    column(&body.rank_temporal)?,
                    column(&body.score_visual)?,
                    column(&body.score_temporal)?,
                    body.dominant.clone(),
                    body.severity.clone(),
                ],
                1,
            )?
            .detach(),
            sides: body.views.sides.map(|t| Ok(t.detach()))?,
            cadence,
        })
    }

    /// Rank logits of each alone, `[videos]`.
    pub(super) fn rank(&self) -> Result<Tensor> {
        self.verdict.i((.., 0))? + self.temporal_rank()?
    }

    /// Their temporal part, `[videos]`.
    pub(super) fn temporal_rank(&self) -> Result<Tensor> {
        self.verdict.i((.., 1))
    }
}

impl Decoder {
    /// Takes (or draws) the weights under `decoder.`.
    ///
    /// # Errors
    /// When a stored tensor has another shape.
    pub fn new(p: &Params, config: &NanoConfig) -> Result<Self> {
        let (hidden, fragment) = (config.hidden_size, config.fragment_dim);
        let temporal = config.temporal_dim + super::profile::PROFILE_LEN;
        let residual_std = 0.5 / ((2 * config.num_hidden_layers * hidden) as f64).sqrt();
        let blocks = (0..config.num_hidden_layers).map(|i| {
            let name = |part: &str| format!("decoder.blocks.{i}.{part}");
            Ok(Block {
                attention_norm: LayerNorm::new(p, &name("attention_norm"), hidden)?,
                qkv: Linear::new(p, &name("qkv"), hidden, 3 * hidden)?,
                out: Linear::with_std(p, &name("out"), hidden, hidden, residual_std)?,
                mlp_norm: LayerNorm::new(p, &name("mlp_norm"), hidden)?,
                up: Linear::new(p, &name("up"), hidden, config.intermediate_size)?,
                down: Linear::with_std(p, &name("down"), config.intermediate_size, hidden, residual_std)?,
            })
        });
        let blocks = blocks.collect::<Result<_>>()?;
        let std = 0.02;
        Ok(Self {
            blocks,
            moment: Linear::new(p, "decoder.projector.moment", 4 * fragment, hidden)?,
            region: Linear::new(p, "decoder.projector.region", 2 * fragment, hidden)?,
            temporal: Linear::new(p, "decoder.projector.temporal", temporal, hidden)?,
            trunk: Linear::new(p, "decoder.projector.trunk", config.trunk_dim, hidden)?,
            verdict: Linear::new(p, "decoder.projector.verdict", 5 + 2 * KINDS.len(), hidden)?,
            slot: p.get_or_init(
                "decoder.slot",
                &[config.moments + EXTRA_TOKENS, hidden],
                Init::Normal(std),
            )?,
            owner: p.get_or_init("decoder.owner", &[2, hidden], Init::Normal(std))?,
            video_norm: LayerNorm::new(p, "decoder.video_norm", hidden)?,
            embedding: p.get_or_init("decoder.embedding", &[config.vocab_size, hidden], Init::Normal(std))?,
            position: p.get_or_init(
                "decoder.position",
                &[config.max_position_embeddings, hidden],
                Init::Normal(std),
            )?,
            norm: LayerNorm::new(p, "decoder.norm", hidden)?,
            margin_in: Linear::new(p, "decoder.margin_in", hidden, 64)?,
            margin_out: Linear::with_std(p, "decoder.margin_out", 64, 1, 0.01)?,
            margin_scale: p.get_or_init("decoder.margin_scale", &[1], Init::Ones)?,
            margin_offset: p.get_or_init("decoder.margin_offset", &[1], Init::Zeros)?,
            heads: config.num_attention_heads,
            max_len: config.max_position_embeddings,
        })
    }

    /// Longest sequence that can be read.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// Tokens of the videos in slot `owner` (0 for A, 1 for B): `[videos, tokens per video, hidden]`.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn project(&self, video: &VideoFeatures, owner: usize) -> Result<Tensor> {
        let row = |t: Tensor| t.unsqueeze(1);
        let tokens = Tensor::cat(
            &[
                self.moment.forward(&video.moments)?,
                self.region.forward(&video.regions)?,
                row(self.temporal.forward(&video.temporal)?)?,
                row(self.trunk.forward(&video.trunk)?)?,
                row(self.verdict.forward(&video.verdict)?)?,
            ],
            1,
        )?;
        let mark = self.slot.broadcast_add(&self.owner.i(owner..=owner)?)?;
        self.video_norm.forward(&tokens)?.broadcast_add(&mark)
    }

    /// Tokens of pairs: `[pairs, tokens of both videos, hidden]`.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn project_pair(&self, pair: &PairFeatures) -> Result<Tensor> {
        Tensor::cat(&[self.project(&pair.a, 0)?, self.project(&pair.b, 1)?], 1)
    }

    /// Embeds piece ids `[batch, len]` as `[batch, len, hidden]`.
    ///
    /// # Errors
    /// On ids beyond the vocabulary.
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        ops::embedding(ids, &self.embedding)
    }

    /// Reads `[batch, len, hidden]` after what `cache` holds; gives the hidden states after the last norm.
    ///
    /// # Errors
    /// When the sequence is longer than the position table.
    pub fn forward(&self, x: &Tensor, cache: Option<&mut Cache>) -> Result<Tensor> {
        let (batch, len, hidden) = x.dims3()?;
        let head_dim = hidden / self.heads;
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let mut kept = cache.map(|cache| {
            cache.blocks.resize_with(self.blocks.len(), KvCache::new);
            cache.blocks.iter_mut()
        });
        let mut x = x.broadcast_add(&self.position.narrow(0, past, len)?)?;
        for block in &self.blocks {
            let qkv = block.qkv.forward(&block.attention_norm.forward(&x)?)?;
            let split = |i: usize| {
                qkv.narrow(D::Minus1, i * hidden, hidden)?
                    .reshape((batch, len, self.heads, head_dim))?
                    .transpose(1, 2)?
                    .contiguous() // [batch, heads, len, head_dim]
            };
            let (q, k, v) = (split(0)?, split(1)?, split(2)?);
            let scale = (head_dim as f64).powf(-0.5);
            let seen = match kept.as_mut().and_then(Iterator::next) {
                Some(kept) => kept.attend(&q, &k, &v, scale, Mask::Causal)?,
                None => ops::attention(&q, &k, &v, scale, Mask::Causal)?,
            };
            let seen = seen.transpose(1, 2)?.contiguous()?.reshape((batch, len, hidden))?;
            x = (x + block.out.forward(&seen)?)?;
            let up = ops::gelu(&block.up.forward(&block.mlp_norm.forward(&x)?)?)?;
            x = (x + block.down.forward(&up)?)?;
        }
        self.norm.forward(&x)
    }

    /// Logits over the pieces, `[..., vocab]`, of hidden states `[..., hidden]`.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        ops::linear(hidden, &self.embedding, None)
    }

    /// The margin of A over B in points, `[batch]`, from hidden states `[batch, hidden]` and the body's rank
    /// logits `[batch]`.
    ///
    /// # Errors
    /// On shapes that do not fit.
    pub fn margin(&self, hidden: &Tensor, rank_a: &Tensor, rank_b: &Tensor) -> Result<Tensor> {
        let shift = self.margin_out.forward(&ops::gelu(&self.margin_in.forward(hidden)?)?)?.squeeze(1)?;
        let quality = |rank: &Tensor, shift: &Tensor| {
            let logit = rank.broadcast_mul(&self.margin_scale)?.broadcast_add(&self.margin_offset)?;
            candle_nn::ops::sigmoid(&(logit + shift)?)
        };
        (quality(rank_a, &shift)? - quality(rank_b, &shift.neg()?)?)? * 4.0
    }
}
