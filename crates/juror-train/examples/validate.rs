//! Prints the figures of a nano model on a folder of clips with its CSV table beside it:
//! `cargo run --release -p juror-train --example validate -- CLIPS [--model DIR] [--every N] [--vmaf FFMPEG]`
//!
//! `--every N` takes one clip in N; `--vmaf` names an FFmpeg built with libvmaf (else MS-SSIM is the yardstick);
//! `scripts/validate-nano.sh` fetches one and runs this on all clips.

use anyhow::{Context, Result, bail};
use juror_lmm::nano::Nano;
use juror_train::config::{DataConfig, YardstickConfig};
use juror_train::data::sources;
use juror_train::validate::{Options, validate};
use std::io::Write;
use std::path::PathBuf;

fn main() -> Result<()> {
    juror_nn::memory::keep_freed_memory();
    let (mut clips, mut model, mut every, mut yardstick) = (None, None, 1usize, YardstickConfig::MsSsim);
    let mut options = (432, 72);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--model" => model = Some(PathBuf::from(value()?)),
            "--every" => every = value()?.parse()?,
            "--vmaf" => yardstick = YardstickConfig::Vmaf { program: value()?.into() },
            "--short-side" => options.0 = value()?.parse()?,
            "--max-frames" => options.1 = value()?.parse()?,
            _ if arg.starts_with('-') => bail!("unknown option {arg}"),
            _ => clips = Some(PathBuf::from(arg)),
        }
    }
    let nano = match model {
        Some(folder) => Nano::from_folder(&folder)?,
        None => Nano::embedded()?,
    };
    let config = DataConfig {
        clips: Some(clips.context("which folder of clips?")?),
        groups_per_clip: 1,
        scenes: 0,
        short_sides: vec![options.0],
        max_frames: options.1,
        versions: 2,
        held_out_codecs: Vec::new(),
        yardstick: yardstick.clone(),
    };
    let sources: Vec<_> = sources::list(&config, 1)?.into_iter().step_by(every.max(1)).collect();
    let report =
        validate(&nano, &sources, &Options { short_side: options.0, max_frames: options.1, yardstick })?;
    write!(std::io::stdout(), "{}", report.table())?;
    Ok(())
}
