//! Pair sets: from unlabelled videos to pairs with margins, levels and written comparisons, without a person.
//!
//! After LMM-PVQA (arXiv 2505.03631): sources are distorted at known severities, a panel of judges ([`crate::panel`]) scores
//! everything, and pairs are drawn from both kinds of knowledge.
//!
//! ```text
//! sources ──► select ──► plan ──► build: make clips, ask the panel ──► label ──► choose ──► write
//!    videos,     measure,   ids and        │        one scale, mean,     stratified,    pairs.jsonl, pairs.parquet,
//!    scenes      match      recipes        ▼        variance             gMAD           sources.csv, manifest.json
//!                                        store (SQLite)
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
pub mod matching;
pub mod mining;
pub mod plan;
pub mod select;
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

/// Runs `work` on every item, on as many threads as rayon's pool has; gives the results in order, or the first error met, after
/// which no new item is begun. Not by rayon itself: there a thread that waits inside an item takes up another one, and the memory
/// of all of them is held at once.
pub(crate) fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, anyhow::Result<R>)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..rayon::current_num_threads().clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).map(|item| (index, item))
                } {
                    let result = work(item);
                    if result.is_err() {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
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

#[cfg(test)]
mod tests {
    use super::side_by_side;

    #[test]
    fn work_side_by_side_keeps_its_order_and_ends_with_an_error() {
        let items: Vec<usize> = (0..100).collect();
        let doubled = side_by_side(&items, |item| Ok(2 * item)).expect("no error");
        assert_eq!(doubled, (0..100).map(|item| 2 * item).collect::<Vec<_>>());
        let failed = side_by_side(&items, |&item| if item == 7 { anyhow::bail!("seven") } else { Ok(item) });
        assert_eq!(failed.unwrap_err().to_string(), "seven");
        let nothing: &[u8] = &[];
        assert!(side_by_side(nothing, |_| Ok(())).expect("nothing to do").is_empty());
    }
}
