//! Times the conversions of a 1920x1080 picture: `cargo run --release -p juror-media --example picture_speed`.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use juror_media::{Matrix, Picture};

fn time<T>(what: &str, mut run: impl FnMut() -> T) {
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        black_box(run());
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{what:24} {:.2} ms", best * 1e3);
}

fn main() -> juror_media::Result<()> {
    let (width, height) = (1920, 1080);
    let noise = |n: usize| (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let quarter = width * height / 4;
    let picture = Picture::new(width, height, noise(width * height), noise(quarter), noise(quarter))?;
    let rgb = picture.to_rgb();
    time("to RGB", || picture.to_rgb());
    time("to RGB 448x448", || picture.to_rgb_sized(448, 448));
    time("from RGB", || Picture::from_rgb(&rgb, Matrix::Bt709));
    time("resized to 960x540", || picture.resized(960, 540));
    time("resized to 3840x2160", || picture.resized(3840, 2160));
    Ok(())
}
