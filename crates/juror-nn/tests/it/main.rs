//! Integration tests of `juror-nn`.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod ops;
mod packed;
mod reference;
mod training;
