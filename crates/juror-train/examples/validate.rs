//! Prints the figures of a nano model on a folder of clips with its CSV table beside it:
//! `cargo run --release -p juror-train --example validate -- CLIPS [--model DIR] [--every N] [--kinds A,B] [--vmaf FFMPEG] [--ladders DIR]`
//!
//! `--every N` takes one clip in N; `--kinds` takes other ladders than those nano is trained on, such as `shuffle,stutter,freeze`; `--vmaf` names an FFmpeg built with libvmaf (else MS-SSIM is the yardstick);
//! `--ladders` says where the observed ladders are kept (1.2 GB for ten clips), by default a folder that is removed.
//! `scripts/validate-nano.sh` fetches an FFmpeg and runs this on all clips.

use anyhow::{Context, Result, bail};
use juror_lmm::nano::Nano;
use juror_media::distort::Kind;
use juror_train::config::{ClipFolder, DataConfig, YardstickConfig};
use juror_train::data::sources;
use juror_train::validate::{ladders, measure};
use std::io::Write;
use std::path::PathBuf;

fn main() -> Result<()> {
    juror_nn::memory::keep_freed_memory();
    let (mut clips, mut model, mut every, mut yardstick) = (None, None, 1usize, YardstickConfig::MsSsim);
    let (mut short_side, mut max_frames, mut dir) = (432, 72, None);
    let mut kinds = Kind::CORE.to_vec();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--model" => model = Some(PathBuf::from(value()?)),
            "--every" => every = value()?.parse()?,
            "--vmaf" => yardstick = YardstickConfig::Vmaf { program: value()?.into() },
            "--kinds" => kinds = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--short-side" => short_side = value()?.parse()?,
            "--max-frames" => max_frames = value()?.parse()?,
            "--ladders" => dir = Some(PathBuf::from(value()?)),
            _ if arg.starts_with('-') => bail!("unknown option {arg}"),
            _ => clips = Some(PathBuf::from(arg)),
        }
    }
    let nano = match model {
        Some(folder) => Nano::from_folder(&folder)?,
        None => Nano::embedded()?,
    };
    let config = DataConfig {
        clips: vec![ClipFolder { folder: clips.context("which folder of clips?")?, groups: 1, varied: 0 }],
        scenes: 0,
        short_sides: vec![short_side],
        max_frames,
        versions: 2,
        held_out_codecs: Vec::new(),
        yardstick,
    };
    let sources: Vec<_> = sources::list(&config, 1)?.into_iter().step_by(every.max(1)).collect();
    let scratch = tempfile::tempdir()?;
    let dir = dir.unwrap_or_else(|| scratch.path().to_owned());
    let report = measure(&nano, &ladders(&config, nano.config(), &sources, &kinds, &dir)?)?;
    write!(std::io::stdout(), "{}", report.table())?;
    Ok(())
}
