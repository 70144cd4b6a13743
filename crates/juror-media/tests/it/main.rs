//! Integration tests of `juror-media`, in one binary.
#![allow(clippy::unwrap_used)] // `allow-unwrap-in-tests` does not reach helper functions

mod distort;
