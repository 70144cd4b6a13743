//! What a stage logs: `log.jsonl`, the same for TensorBoard, and the line beside the progress bar.
//!
//! A line holds the means since the last one: `{"step", "steps_per_sec", "tokens_per_sec", "means": {NAME: MEAN}}`.

use crate::tensorboard::EventFile;
use anyhow::{Context, Result};
use juror_nn::collective::Collective;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Steps between lines of the log.
pub(crate) const LOG_STEPS: usize = 20;
/// The term that counts tokens of a step, of all ranks.
pub(crate) const TOKENS: &str = "tokens";

/// A line of the log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Line {
    /// Steps done.
    pub step: u64,
    /// Since this process began.
    pub steps_per_sec: f64,
    /// Text read or written, by all processes; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_sec: Option<f64>,
    /// Means over the steps since the last line and over processes, by name.
    pub means: BTreeMap<String, f64>,
}

impl Line {
    /// What a person watches, in few words.
    #[must_use]
    pub fn brief(&self) -> String {
        let shown = [
            ("loss", "loss"),
            ("reward", "reward"),
            ("kl", "KL"),
            ("margin_error", "margin error"),
            ("coupling/margin_error", "margin error"),
        ];
        let mean = |(key, label): &(&str, &str)| Some(format!("{label} {:.4}", self.means.get(*key)?));
        let mut parts: Vec<String> = shown.iter().filter_map(mean).collect();
        parts.extend(self.tokens_per_sec.map(|speed| format!("{speed:.0} tokens/s")));
        parts.join(", ")
    }
}

/// Reads a log; where a killed run was gone on with, what it had logged behind its last checkpoint is superseded. A half
/// line, as a kill leaves it, is passed over.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines: Vec<Line> = Vec::new();
    for line in text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
        lines.retain(|earlier| earlier.step < line.step);
        lines.push(line);
    }
    Ok(lines)
}

/// The log of a stage at work.
pub(crate) struct Log {
    /// Of the first rank.
    files: Option<(File, EventFile)>,
    /// Sum and number of values by name.
    sums: BTreeMap<String, (f64, u64)>,
    begin: Instant,
    steps: usize,
}

impl Log {
    /// Goes on with the log in `dir` behind `done` steps.
    pub(crate) fn open(dir: &Path, done: usize, world: &dyn Collective) -> Result<Self> {
        let open = || -> Result<_> {
            let context = || format!("cannot write a log in {}", dir.display());
            let path = dir.join("log.jsonl");
            let lines = File::options().create(true).append(true).open(path).with_context(context)?;
            Ok((lines, EventFile::create(dir, done as u64).with_context(context)?))
        };
        let files = world.is_first().then(open).transpose()?;
        Ok(Self { files, sums: BTreeMap::new(), begin: Instant::now(), steps: 0 })
    }

    /// Takes the values of a step.
    pub(crate) fn add(&mut self, terms: impl Iterator<Item = (String, f64)>) {
        self.steps += 1;
        for (name, value) in terms {
            let sum = self.sums.entry(name).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
        }
    }

    /// Writes the means over all ranks and the steps since the last line; a term that some steps lack is the mean of the others.
    pub(crate) fn write(&mut self, step: usize, world: &dyn Collective) -> Result<Line> {
        // As bits: JSON has no NaN.
        let own: BTreeMap<String, (u64, u64)> = std::mem::take(&mut self.sums)
            .into_iter()
            .map(|(name, (sum, n))| (name, (sum.to_bits(), n)))
            .collect();
        let mut sums: BTreeMap<String, (f64, u64)> = BTreeMap::new();
        for rank in world.all_gather(&serde_json::to_vec(&own)?)? {
            for (name, (sum, n)) in serde_json::from_slice::<BTreeMap<String, (u64, u64)>>(&rank)? {
                let all = sums.entry(name).or_default();
                *all = (all.0 + f64::from_bits(sum), all.1 + n);
            }
        }
        let means: BTreeMap<String, f64> = sums
            .into_iter()
            .map(|(name, (sum, n))| (name, sum / n as f64))
            .filter(|(_, mean)| mean.is_finite())
            .collect();
        let steps_per_sec = self.steps as f64 / self.begin.elapsed().as_secs_f64();
        let tokens_per_sec = means.get(TOKENS).map(|tokens| tokens * steps_per_sec);
        let line = Line { step: step as u64, steps_per_sec, tokens_per_sec, means };
        if let Some((lines, events)) = &mut self.files {
            let context = "cannot write the log";
            writeln!(lines, "{}", serde_json::to_string(&line)?).context(context)?;
            let speeds = [("steps_per_sec", Some(steps_per_sec)), ("tokens_per_sec", tokens_per_sec)];
            let speeds = speeds.into_iter().filter_map(|(name, speed)| Some((name, speed?)));
            let means = line.means.iter().map(|(name, mean)| (name.as_str(), *mean));
            events.scalars(line.step, means.chain(speeds)).context(context)?;
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use juror_nn::collective::Single;

    #[test]
    fn a_log_tells_means_and_survives_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), 0, &Single).unwrap();
        for step in 0..4 {
            let all = [("loss".to_owned(), f64::from(step)), (TOKENS.to_owned(), 10.0)];
            let some = (step == 1).then(|| ("reward".to_owned(), 0.5));
            log.add(all.into_iter().chain(some));
        }
        let line = log.write(4, &Single).unwrap();
        assert_eq!((line.means["loss"], line.means["reward"]), (1.5, 0.5));
        let brief = line.brief();
        assert!(brief.starts_with("loss 1.5000, reward 0.5000, ") && brief.ends_with(" tokens/s"), "{brief}");

        let path = dir.path().join("log.jsonl");
        let (first, resumed) = (line.clone(), Line { step: 2, ..line });
        let json = serde_json::to_string(&resumed).unwrap();
        std::fs::write(
            &path,
            format!("{}\n{{\"step\": 6, \"ste\n{json}\n", serde_json::to_string(&first).unwrap()),
        )
        .unwrap();
        let lines = read(&path).unwrap();
        assert_eq!(lines.len(), 1, "step 4 was done again");
        assert_eq!((lines[0].step, &lines[0].means), (2, &resumed.means));
    }
}
