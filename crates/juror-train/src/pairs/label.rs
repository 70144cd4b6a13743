//! Labels of given videos by the panel, without a set: the engine of `juror label`.
//!
//! With a state, scores are kept by content and judge, so that a stopped run goes on and nothing is judged twice.

use super::sources::{Stamp, sha256_of, stamp_of};
use super::store::Store;
use super::{Progress, id_of, side_by_side};
use crate::panel::scale::{self, Anchors, Label, Scored, Seat};
use crate::panel::{Member, PanelConfig, Subject};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What the panel says of videos.
#[derive(Clone, Debug)]
pub struct Labels {
    /// One for each video, in order; else why there is none.
    pub videos: Vec<Result<Labelled, String>>,
    /// The panel.
    pub seats: Vec<Seat>,
}

/// A labelled video.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// Of the file.
    pub sha256: String,
    /// Raw score per judge.
    pub raw: Vec<Option<f64>>,
    /// What the panel says.
    pub label: Label,
}

/// Labels videos, each against `reference` where judges want one and it is given.
///
/// # Errors
/// When the panel cannot be opened, nothing gives the scale, or the state fails. Videos that fail are no error.
pub fn videos(
    config: &PanelConfig,
    paths: &[PathBuf],
    reference: Option<&Path>,
    state: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Labels> {
    let panel = config.open()?;
    let anchors = config.anchors.as_deref().map(Anchors::read).transpose()?;
    let store = state.map(Store::open).transpose()?;
    let known = match &store {
        Some(store) => store.labels()?,
        None => HashMap::new(),
    };
    let reference_sha256 = match reference {
        Some(path) => hash(path, store.as_ref())?.map_err(|reason| anyhow::anyhow!("{reason}"))?,
        None => String::new(),
    };
    progress.begin("labels", paths.len() as u64, 0);
    let judged = side_by_side(paths, |path| {
        let judged = judge(&panel, path, reference, &reference_sha256, &known, store.as_ref());
        progress.advance(1);
        judged
    })?;
    for member in &panel {
        let conduct = member.conduct();
        if let Some(reason) = conduct.last_failure {
            let end = if conduct.is_out { "; it was not asked any more" } else { "" };
            progress.note(&format!(
                "judge {} gave no score of {} videos: {reason}{end}",
                member.name(),
                conduct.failed
            ));
        }
    }
    let scored: Vec<Scored<'_>> = paths
        .iter()
        .zip(&judged)
        .filter_map(|(path, judged)| {
            let (_, raw) = judged.as_ref().ok()?;
            let rating = anchors.as_ref().and_then(|anchors| anchors.of(path));
            Some(Scored { raw, has_reference: reference.is_some(), rating })
        })
        .collect();
    if scored.is_empty() {
        let videos = judged.into_iter().map(|judged| Err(judged.err().unwrap_or_default())).collect();
        return Ok(Labels { videos, seats: Vec::new() });
    }
    let seats = scale::seats(&panel, &scored, anchors.is_some(), config.least_share)?;
    for seat in &seats {
        if let Some(reason) = &seat.left_out {
            progress.note(&format!("judge {} is left out: {reason}", seat.name));
        }
    }
    let labelled = |judged: Result<(String, Vec<Option<f64>>), String>| {
        let (sha256, raw) = judged?;
        let label = scale::label(&seats, &raw).ok_or("no judge that takes part gave it a score")?;
        Ok(Labelled { sha256, raw, label })
    };
    Ok(Labels { videos: judged.into_iter().map(labelled).collect(), seats: seats.clone() })
}

/// SHA-256 of a video and what each member says of it, or why the video cannot be judged.
type Said = Result<(String, Vec<Option<f64>>), String>;

/// Asks everyone who has not said yet.
fn judge(
    panel: &[Member],
    path: &Path,
    reference: Option<&Path>,
    reference_sha256: &str,
    known: &HashMap<String, HashMap<String, f64>>,
    store: Option<&Store>,
) -> Result<Said> {
    // Before any program gets it: a pipe or a device would hold the run up.
    let sha256 = match hash(path, store)? {
        Ok(sha256) => sha256,
        Err(reason) => return Ok(Err(reason)),
    };
    let opened = std::panic::catch_unwind(|| juror_media::Video::open(path).map(|_| ()));
    match opened {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Ok(Err(error.to_string())),
        Err(_) => return Ok(Err("reading it failed".into())),
    }
    let id = id_of(&["label", &sha256, reference_sha256]);
    let known = known.get(&id);
    let subject = Subject { video: path, reference };
    let (mut raw, mut new) = (Vec::new(), Vec::new());
    for member in panel {
        let before = known.and_then(|scores| scores.get(&member.identity())).copied();
        let score = before.or_else(|| member.ask(&subject));
        if let (None, Some(score)) = (before, score) {
            new.push((member.identity(), score));
        }
        raw.push(score);
    }
    if let Some(store) = store {
        store.keep_scores(&id, &new)?;
    }
    if raw.iter().all(Option::is_none) {
        let reason = panel.iter().find_map(|member| member.conduct().last_failure);
        return Ok(Err(reason.unwrap_or_else(|| "no judge can score it".into())));
    }
    Ok(Ok((sha256, raw)))
}

/// The hash of a regular file, from the state where that knows it; else why there is none.
fn hash(path: &Path, store: Option<&Store>) -> Result<Result<String, String>> {
    let (key, stamp): (&[u8], Stamp) = match stamp_of(path) {
        Ok(stamp) => (path.as_os_str().as_encoded_bytes(), stamp),
        Err((_, reason)) => return Ok(Err(format!("{reason}: {}", path.display()))),
    };
    if let Some(known) = store.map(|store| store.hash_of(key, stamp)).transpose()?.flatten() {
        return Ok(Ok(known));
    }
    match sha256_of(path).with_context(|| format!("cannot read {}", path.display())) {
        Ok(sha256) => {
            if let Some(store) = store {
                store.keep_hash(key, stamp, &sha256)?;
            }
            Ok(Ok(sha256))
        }
        Err(error) => Ok(Err(format!("{error:#}"))),
    }
}
