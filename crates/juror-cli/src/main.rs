//! The juror program.
fn main() {}
