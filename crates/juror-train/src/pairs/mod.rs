//! Pair sets: from unlabelled videos to pairs with margins, levels and written comparisons, without a person.
//!
//! After LMM-PVQA (arXiv 2505.03631): sources are distorted at known severities, a panel of judges ([`crate::panel`]) scores
//! everything, and pairs are drawn from both kinds of knowledge.
//!
//! ```text
//! sources ──► plan ──► build: make clips, ask the panel ──► label ──► choose ──► write
//!    videos,     ids and        │        one scale, mean,     stratified,    pairs.jsonl, pairs.parquet,
//!    scenes      recipes        ▼        variance             gMAD           manifest.json
//!                             store (SQLite)
//! ```
//!
//! Every video has an id made from its source's content and its recipe, and everything that is learnt of it is kept in the
//! state under that id: a killed run goes on where it was, another configuration uses what it can, and the finished set is a
//! function of configuration, sources and judges alone. Left out: audio, HDR output, sets that span several machines.

pub mod build;
pub mod choose;
pub mod clips;
pub mod config;
pub mod label;
pub mod mining;
pub mod plan;
pub mod sources;
pub mod store;
pub mod summary;
pub mod write;

pub use build::{Estimate, Finished, estimate, run};
pub use config::PairsConfig;
pub use summary::Summary;

/// Told how a run goes; may be called from any thread.
pub trait Progress: Sync {
    /// A stage begins; `total` units are to be done, of which `done` were done by earlier runs.
    fn begin(&self, stage: &'static str, total: u64, done: u64);
    /// Units were done.
    fn advance(&self, units: u64);
    /// Something that a person should know.
    fn note(&self, text: &str);
}

/// Nobody to tell.
impl Progress for () {
    fn begin(&self, _: &'static str, _: u64, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
}

/// The SHA-256 of parts, each closed by its length so that no two lists of parts meet; hexadecimal.
pub(crate) fn id_of(parts: &[&str]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update((part.len() as u64).to_le_bytes());
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
