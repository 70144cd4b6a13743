//! From sources to training groups: versions with known order, observed once and kept on disk.

pub mod groups;
pub mod sources;
mod vary;
pub mod versions;
pub mod yardstick;
