//! Group-relative policy optimisation (Shao et al. 2024, arXiv 2402.03300) and its relatives, named as in TRL.
//!
//! K rollouts answer one prompt; the advantage of each is how far its reward lies above the group's mean
//! ([`advantages`]). The policy's log-probabilities of what was written ([`token_statistics`]) are pushed up or down by
//! a clipped importance ratio ([`policy_loss`]), held near a frozen reference by the k3 estimate of the KL divergence.
//! [`train`] is the loop around it: sample, reward, `num_iterations` optimiser steps over the same rollouts, each with
//! accumulated gradients; an [`Actor`] brings the model, its prompts and its rewards, and may couple a loss of its own to
//! the advantages (`crate::mc_grpo`).
//!
//! Settings ([`GrpoConfig`]) and logged keys follow TRL 0.29's `GRPOConfig` and `GRPOTrainer`; golden values of both stand
//! in `tests/golden`. Left out: vLLM's importance correction, entropy quantiles, replay, asynchronous sampling.

mod advantage;
mod config;
pub mod decoder;
mod loss;
mod tokens;
mod trainer;

pub use advantage::{Advantages, advantages};
pub use config::{GrpoConfig, ImportanceSampling, LossType, ScaleRewards};
pub use loss::{PolicyLoss, Scored, policy_loss};
pub use tokens::{completion_mask, token_statistics};
pub use trainer::{Actor, Forward, Rollout, train};
