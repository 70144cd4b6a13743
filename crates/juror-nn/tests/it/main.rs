//! Integration tests of `juror-nn`.

mod ops;
mod reference;
mod training;
