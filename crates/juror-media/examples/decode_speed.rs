//! Times our pass over a video (decode every frame, sum its luma) against `ffmpeg -i FILE -f null -`, in turn, in one run.
//!
//! `cargo run --release -p juror-media --example decode_speed -- FILE [ROUNDS]`; also tells the peak memory of this process
//! (Linux), which must not grow with the duration of FILE.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use juror_media::{TimeWindow, Video};

fn our_pass(path: &PathBuf) -> juror_media::Result<(usize, u64)> {
    let video = Video::open(path)?;
    let mut frames = video.frames(TimeWindow::ALL)?;
    let (mut count, mut sum) = (0, 0u64);
    while let Some(frame) = frames.next_frame()? {
        let luma = frame.luma();
        count += 1;
        for row in luma.data.chunks(luma.stride) {
            sum += u64::from(row.iter().map(|&x| u32::from(x)).sum::<u32>());
        }
    }
    Ok((count, sum))
}

/// Processor seconds spent so far by this process and by the children it waited for (Linux), which, unlike the clock,
/// say the same on a busy machine.
fn processor_secs() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<f64> =
        stat.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
    // utime, stime, cutime, cstime: the 14th to 17th fields, of which two stand before the last parenthesis.
    let ticks = fields.get(11..15)?;
    Some(((ticks[0] + ticks[1]) / 100.0, (ticks[2] + ticks[3]) / 100.0))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("which file?")?);
    let rounds: usize = match arguments.next() {
        Some(text) => text.to_string_lossy().parse()?,
        None => 5,
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = Instant::now();
        let status = Command::new("ffmpeg")
            .args(["-v", "quiet", "-nostdin", "-i"])
            .arg(&path)
            .args(["-map", "0:v:0", "-f", "null", "-"])
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            return Err("ffmpeg failed".into());
        }
        theirs.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let (count, sum) = our_pass(&path)?;
        ours.push(start.elapsed().as_secs_f64());
        println!("{count} frames, luma sum {sum}: {:.3} s", ours[ours.len() - 1]);
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!("medians: juror-media {ours:.3} s, ffmpeg {theirs:.3} s, ratio {:.3}", ours / theirs);
    if let Some((ours, theirs)) = processor_secs() {
        println!(
            "processor time in all: juror-media {ours:.2} s, ffmpeg {theirs:.2} s, ratio {:.3}",
            ours / theirs
        );
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status")
        && let Some(line) = status.lines().find(|line| line.starts_with("VmHWM"))
    {
        println!("peak memory: {}", line.trim_start_matches("VmHWM:").trim());
    }
    Ok(())
}
