//! Parity with the published implementations on tiny random models.
//!
//! Fixtures are read from the folder in `JUROR_GOLDEN`, else from `tests/fixtures`; each folder's README states shapes,
//! rules and tolerances. Nothing of a fixture (sizes, ids, seeds) is repeated here, so another set of the same layout
//! can be checked.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod answers;
mod full_size;
mod generation;
mod internvl3;
mod llava_onevision;
mod preprocessing;
mod published;
mod quantised;
mod qwen2_5_vl;
mod qwen3_vl;
mod slowfast_r50;
mod support;
mod tiny;
mod tokenizer;
