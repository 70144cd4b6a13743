//! The full-reference yardstick: how far a version is from its source, 0..1 (1: the source itself).
//!
//! VMAF v0.6.1 by an FFmpeg program that has libvmaf (a training-time tool, never needed at run time), on the
//! first frame of each moment; or juror's own MS-SSIM, stretched to a similar range, where no such program is
//! there. Neither sees time, and VMAF knows nothing of exposure or banding, so `quality` in `groups` bounds it.

use crate::config::YardstickConfig;
use anyhow::{Context, Result, ensure};
use juror_media::{Picture, quality};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Mean quality 0..1 of `distorted` against `reference`, picture by picture; sizes are brought to the
/// reference's first, as a player would.
///
/// # Errors
/// When the VMAF program fails or its answer cannot be read.
pub fn quality(config: &YardstickConfig, reference: &[&Picture], distorted: &[&Picture]) -> Result<f64> {
    ensure!(
        reference.len() == distorted.len(),
        "{} reference pictures, {} others",
        reference.len(),
        distorted.len()
    );
    let (width, height) = (reference[0].width(), reference[0].height());
    let shown = distorted
        .iter()
        .map(|p| {
            let fits = p.width() == width && p.height() == height;
            Ok(if fits { (*p).clone() } else { p.resized(width, height)? })
        })
        .collect::<Result<Vec<Picture>>>()?;
    match config {
        YardstickConfig::Vmaf { program } => vmaf(program, reference, &shown),
        YardstickConfig::MsSsim => {
            let sum =
                reference.iter().zip(&shown).map(|(a, b)| quality::ms_ssim(a, b)).sum::<Result<f64, _>>()?;
            // MS-SSIM crowds near 1; this exponent spreads x264's CRF range about as VMAF does.
            Ok((sum / reference.len() as f64).clamp(0.0, 1.0).powi(12))
        }
    }
}

fn vmaf(program: &Path, reference: &[&Picture], distorted: &[Picture]) -> Result<f64> {
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (left, right, log) =
        (dir.path().join("distorted.y4m"), dir.path().join("reference.y4m"), dir.path().join("vmaf.json"));
    write_y4m(&left, distorted.iter())?;
    write_y4m(&right, reference.iter().copied())?;
    let filter = format!("libvmaf=log_fmt=json:n_threads=1:log_path={}", log.display());
    let output = Command::new(program)
        .args(["-v", "error", "-nostdin", "-threads", "1", "-i"])
        .arg(&left)
        .args(["-threads", "1", "-i"])
        .arg(&right)
        .args(["-lavfi", &filter, "-f", "null", "-"])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let answer: serde_json::Value = serde_json::from_slice(&std::fs::read(&log)?).context("VMAF's log")?;
    let mean = answer["pooled_metrics"]["vmaf"]["mean"].as_f64().context("VMAF's log has no mean")?;
    Ok((mean / 100.0).clamp(0.0, 1.0))
}

fn write_y4m<'a>(path: &Path, pictures: impl Iterator<Item = &'a Picture>) -> Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for (i, picture) in pictures.enumerate() {
        if i == 0 {
            writeln!(file, "YUV4MPEG2 W{} H{} F25:1 Ip A1:1 C420jpeg", picture.width(), picture.height())?;
        }
        file.write_all(b"FRAME\n")?;
        for plane in [picture.y(), picture.u(), picture.v()] {
            file.write_all(plane)?;
        }
    }
    Ok(file.flush()?)
}
