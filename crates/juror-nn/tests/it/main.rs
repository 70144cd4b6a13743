//! Integration tests of `juror-nn`.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod ops;
mod reference;
mod training;
