//! Fits the model of natural pictures that `NaturalModel::embedded` holds, to two frames of every video in a folder:
//! `cargo run --release -p juror-media --example fit_natural_model -- FOLDER crates/juror-media/src/measure/natural-model.f32`.
//!
//! Writes 36 means and the lower triangle of the covariance, row by row, as little-endian `f32`. Videos that cannot be read,
//! and pictures too small for a patch, are told and left out.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;

use juror_media::measure::{Grey, NIQE_FEATURES, NaturalModel};
use juror_media::{Result, SamplingPlan, Video};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out] = arguments.as_slice() else {
        return Err("usage: fit_natural_model FOLDER OUT".into());
    };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    let mut pictures = 0;
    let greys = paths.iter().flat_map(|path| {
        let greys = greys(path).unwrap_or_else(|error| {
            eprintln!("left out: {error}");
            Vec::new()
        });
        pictures += greys.len();
        greys
    });
    let model = NaturalModel::fit(greys).ok_or("no patch was found")?;
    let covariance = model.covariance().chunks_exact(NIQE_FEATURES).enumerate();
    let triangle = covariance.flat_map(|(row, values)| &values[..=row]);
    let bytes: Vec<u8> =
        model.mean().iter().chain(triangle).flat_map(|&value| (value as f32).to_le_bytes()).collect();
    std::fs::write(out, bytes)?;
    println!("fitted to {pictures} pictures of {} videos", paths.len());
    Ok(())
}

fn greys(path: &std::path::Path) -> Result<Vec<Grey>> {
    let video = Video::open(path)?;
    let mut moments = video.moments(&SamplingPlan::evenly(2)?.decoding_at_most(0.5)?)?;
    let mut greys = Vec::new();
    while let Some(moment) = moments.next_moment()? {
        greys.push(Grey::of(&moment.shown.picture));
    }
    Ok(greys)
}
