//! Clips and small helpers shared by tests of the writing half.

use juror_media::{Frame, Picture, TimeWindow, Video};
use std::path::Path;

/// A moving textured scene.
pub fn moving_clip(width: usize, height: usize, frames: usize, fps: f64) -> Vec<Frame> {
    let wave = |x: f64, y: f64| {
        110.0 + 45.0 * (0.05 * x).sin() * (0.07 * y).cos() + 30.0 * (0.9 * x + 0.5 * y).sin()
    };
    let frame = |t: usize| {
        let at = |x: usize, y: usize| {
            let (x, y) = (x as f64 + 1.7 * t as f64, y as f64 + 0.6 * t as f64);
            let edge = if (x / 23.0).floor() as i64 % 3 == 0 { 40.0 } else { 0.0 };
            wave(x, y) + edge
        };
        let plane = |width: usize, height: usize, of: &dyn Fn(usize, usize) -> f64| -> Vec<u8> {
            (0..width * height).map(|i| of(i % width, i / width) as u8).collect()
        };
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        let y = plane(width, height, &at);
        let u = plane(chroma_width, chroma_height, &|x, _| 128.0 + 50.0 * (0.06 * x as f64).sin());
        let v = plane(chroma_width, chroma_height, &|_, y| 128.0 + 50.0 * (0.08 * y as f64).cos());
        Frame { picture: Picture::new(width, height, y, u, v).unwrap(), pts_secs: t as f64 / fps }
    };
    (0..frames).map(frame).collect()
}

/// All frames of a file.
pub fn read(path: &Path) -> Vec<Frame> {
    let video = Video::open(path).unwrap();
    let mut stream = video.frames(TimeWindow::ALL).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = stream.next_frame().unwrap() {
        frames.push(frame.to_frame().unwrap());
    }
    frames
}

/// Names of everything in a folder, sorted.
pub fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
