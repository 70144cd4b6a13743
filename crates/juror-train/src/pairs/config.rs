//! What a pair set is made of, from a TOML file such as `configs/pairs.toml` or from flags. Unknown keys are errors.

use crate::config;
use crate::panel::PanelConfig;
use anyhow::{Result, ensure};
use juror_media::distort::Kind;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A pair set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsConfig {
    /// Folder of the state, the clips and the finished set.
    pub run_dir: PathBuf,
    /// Every random choice follows from it.
    #[serde(default)]
    pub seed: u64,
    /// Where quality comes from.
    #[serde(default)]
    pub sources: SourcesConfig,
    /// What is done to it.
    #[serde(default)]
    pub versions: VersionsConfig,
    /// Who judges it.
    #[serde(default)]
    pub panel: PanelConfig,
    /// Which pairs are kept.
    #[serde(default)]
    pub choice: ChoiceConfig,
}

/// Videos and procedural scenes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourcesConfig {
    /// Videos, folders of videos, and tables (CSV with `file` or `video`, and perhaps `licence`, `quality`).
    pub videos: Vec<PathBuf>,
    /// Folder that the names in tables are relative to; the table's own by default.
    pub folder: Option<PathBuf>,
    /// Procedural scenes.
    pub scenes: usize,
    /// Longest stretch of a source that is distorted, seconds.
    pub max_secs: f64,
    /// The most frames of a stretch.
    pub max_frames: usize,
    /// Short side of the pristine version, pixels; larger sources are shrunk, which hides their own compression.
    pub short_side: usize,
    /// Files above this size are rejected.
    pub max_gib: f64,
    /// How much of each file is measured, and gives its stretch, seconds from its middle.
    pub measure_secs: f64,
    /// A file none of whose frames changes by more than this (mean over a thumbnail, codes of 0..=255) is static.
    pub static_change: f64,
    /// Least share of the area that black bars may leave.
    pub least_active_share: f64,
    /// Files to select by what they measure; all by default.
    pub select: Option<usize>,
    /// The wanted distribution: a table with the columns of `sources.csv`; by default measurements are spread evenly.
    pub like: Option<PathBuf>,
}

impl SourcesConfig {
    /// Length of a stretch at this frame rate, seconds.
    #[must_use]
    pub fn stretch_secs(&self, fps: f64) -> f64 {
        let fps = if fps.is_finite() && fps > 0.0 { fps } else { 30.0 };
        self.max_secs.min(self.max_frames as f64 / fps)
    }
}

impl Default for SourcesConfig {
    fn default() -> Self {
        Self {
            videos: Vec::new(),
            folder: None,
            scenes: 0,
            max_secs: 2.0,
            max_frames: 60,
            short_side: 288,
            max_gib: 64.0,
            measure_secs: 10.0,
            static_change: 0.05,
            least_active_share: 0.5,
            select: None,
            like: None,
        }
    }
}

/// Distorted versions of each source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VersionsConfig {
    /// Families of versions per source: one distortion (or chain) at every level.
    pub families: usize,
    /// The levels of a family, ascending.
    pub levels: Vec<f64>,
    /// The kinds to draw from; all by default.
    pub kinds: Vec<String>,
    /// Share of the codec families that compress an already worse picture.
    pub chains: f64,
    /// CRF of the last, all but invisible H.264 encode of versions that no codec ends.
    pub delivery_crf: f64,
    /// Largest size of all clips together. Over it, clips go as soon as they are judged, and are made again when asked for.
    pub cache_gib: f64,
}

impl Default for VersionsConfig {
    fn default() -> Self {
        Self {
            families: 3,
            levels: vec![1.0, 2.0, 3.0, 4.0, 5.0],
            kinds: Vec::new(),
            chains: 0.25,
            delivery_crf: 12.0,
            cache_gib: 20.0,
        }
    }
}

impl VersionsConfig {
    /// The kinds to draw from.
    ///
    /// # Errors
    /// An unknown name.
    pub fn kinds(&self) -> Result<Vec<Kind>> {
        if self.kinds.is_empty() {
            return Ok(Kind::ALL.to_vec());
        }
        let mut kinds = self.kinds.iter().map(|name| Ok(name.parse()?)).collect::<Result<Vec<Kind>>>()?;
        kinds.sort_unstable();
        kinds.dedup();
        Ok(kinds)
    }
}

/// How pairs are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChoiceConfig {
    /// Pairs of the set, as far as there are so many.
    pub pairs: usize,
    /// The share of each kind of pair; what one cannot fill, the others do.
    pub shares: Shares,
    /// The model whose weaknesses are mined; none: no hard pairs.
    pub student: Option<String>,
    /// Equal-sized levels of a teacher's scores inside which gMAD looks.
    pub gmad_levels: usize,
    /// Videos that gMAD takes for equal in a judge's eyes differ by at most this, points.
    pub gmad_tolerance: f64,
    /// Whether comparisons are written out, where the simulators know what there is to say.
    pub texts: bool,
}

impl Default for ChoiceConfig {
    fn default() -> Self {
        Self {
            pairs: 2000,
            shares: Shares::default(),
            student: None,
            gmad_levels: 10,
            gmad_tolerance: 0.15,
            texts: true,
        }
    }
}

/// Shares of the kinds of pairs, relative to each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Two severities of one distortion of one source.
    pub severity: f64,
    /// Two distortions of one source.
    pub distortion: f64,
    /// Versions of two sources.
    pub content: f64,
    /// Two videos as they came.
    pub real: f64,
    /// Pairs on which student and judge differ most.
    pub gmad: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { severity: 0.5, distortion: 0.15, content: 0.15, real: 0.1, gmad: 0.1 }
    }
}

impl PairsConfig {
    /// A set with every default.
    #[must_use]
    pub fn new(run_dir: PathBuf) -> Self {
        Self {
            run_dir,
            seed: 0,
            sources: SourcesConfig::default(),
            versions: VersionsConfig::default(),
            panel: PanelConfig::default(),
            choice: ChoiceConfig::default(),
        }
    }

    /// Reads a configuration; [`Self::check`] is still to do, as flags may change it.
    ///
    /// # Errors
    /// When the file is missing, or has unknown keys or keys of the wrong type.
    pub fn read(path: &Path) -> Result<Self> {
        config::read(path, |_: &Self| Ok(()))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Tells the value and what is allowed.
    pub fn check(&self) -> Result<()> {
        let (sources, versions, choice) = (&self.sources, &self.versions, &self.choice);
        ensure!(
            !sources.videos.is_empty() || sources.scenes > 0,
            "no source: give videos, or scenes above 0"
        );
        ensure!(sources.scenes <= 1_000_000, "sources.scenes is {}, at most 1000000", sources.scenes);
        ensure!(
            (12..=1200).contains(&sources.max_frames),
            "sources.max_frames is {}, 12 to 1200 are allowed",
            sources.max_frames
        );
        ensure!(
            (64..=2160).contains(&sources.short_side),
            "sources.short_side is {}, 64 to 2160 are allowed",
            sources.short_side
        );
        for (name, value) in [
            ("sources.max_secs", sources.max_secs),
            ("sources.max_gib", sources.max_gib),
            ("sources.measure_secs", sources.measure_secs),
            ("versions.cache_gib", versions.cache_gib),
            ("choice.gmad_tolerance", choice.gmad_tolerance),
        ] {
            ensure!(value.is_finite() && value > 0.0, "{name} is {value}, a number above 0 is needed");
        }
        ensure!(
            (0.0..=255.0).contains(&sources.static_change),
            "sources.static_change is {}, 0 to 255 is allowed",
            sources.static_change
        );
        ensure!(
            (0.0..=1.0).contains(&sources.least_active_share),
            "sources.least_active_share is {}, 0 to 1 is allowed",
            sources.least_active_share
        );
        ensure!(sources.select != Some(0), "sources.select is 0, at least 1 is needed");
        ensure!(
            sources.like.is_none() || sources.select.is_some(),
            "sources.like needs sources.select: how many files are wanted?"
        );
        ensure!(
            (0.0..=1.0).contains(&versions.chains),
            "versions.chains is {}, 0 to 1 is allowed",
            versions.chains
        );
        ensure!(
            (0.0..=51.0).contains(&versions.delivery_crf),
            "versions.delivery_crf is {}, 0 to 51 is allowed",
            versions.delivery_crf
        );
        ensure!(!versions.levels.is_empty(), "versions.levels is empty");
        for (index, &level) in versions.levels.iter().enumerate() {
            let below = if index == 0 { 0.0 } else { versions.levels[index - 1] };
            ensure!(
                level > below && level <= 5.0,
                "versions.levels must ascend within 0 < level <= 5; {level} follows {below}"
            );
        }
        versions.kinds()?;
        ensure!(choice.pairs > 0, "choice.pairs is 0, at least 1 is needed");
        ensure!(choice.gmad_levels > 0, "choice.gmad_levels is 0, at least 1 is needed");
        let Shares { severity, distortion, content, real, gmad } = choice.shares;
        let shares = [severity, distortion, content, real, gmad];
        ensure!(
            shares.iter().all(|s| s.is_finite() && *s >= 0.0) && shares.iter().sum::<f64>() > 0.0,
            "choice.shares are {shares:?}; numbers of 0 or more are needed, one of them above 0"
        );
        Ok(())
    }
}
