//! Shows that every simulator gets worse with its level on natural clips:
//!
//! `cargo run --release -p juror-media --example distortion_report -- FOLDER OUT [CLIPS [FRAMES [SHORT_SIDE]]]`
//!
//! takes FRAMES (default 96) frames of the first CLIPS (default 6) videos of FOLDER, their short side at most SHORT_SIDE (default 270)
//! pixels, applies every kind at levels 1 to 5 and compares what is shown at each source frame's time, at its size, with the
//! source: SSIM of luma, and PSNR of luma and chroma (a frame counts at most 60 dB). Writes `levels.png` (a small plot per
//! kind: SSIM, and PSNR as a share of 60 dB, against the level; thin lines are clips), `contact-sheet.png` (a row per kind: a frame of
//! the first clip, untouched and at the five levels) and `levels.md`, the table, which it prints too. Exit status 1 if a
//! kind's mean over the clips does not fall from each level to the next by at least one of the two.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use font8x8::UnicodeFonts;
use juror_media::distort::{Chain, Distortion, Kind};
use juror_media::{Frame, Picture, Rgb, TimeWindow, Video, quality};
use rayon::prelude::*;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const LEVELS: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];
const MOST_DECIBELS: f64 = 60.0;
const SEED: u64 = 1;

/// What is measured of one kind: per clip and level, SSIM and PSNR.
struct Ladder {
    kind: Kind,
    ssim: Vec<[f64; 5]>,
    psnr: Vec<[f64; 5]>,
    /// The middle frame of the first clip at the five levels.
    pictures: Vec<Picture>,
}

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out, numbers @ ..] = arguments.as_slice() else {
        return Err("usage: distortion_report FOLDER OUT [CLIPS [FRAMES [SHORT_SIDE]]]".into());
    };
    let number = |at: usize, usual: usize| numbers.get(at).map_or(Ok(usual), |text| text.parse());
    let (clips, frames, short_side) = (number(0, 6)?, number(1, 96)?, number(2, 270)?);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    let loaded = paths.iter().filter_map(|path| load(path, frames, short_side).ok());
    let clips: Vec<Vec<Frame>> = loaded.filter(|clip| clip.len() > 1).take(clips).collect();
    if clips.is_empty() {
        return Err(format!("no video could be read in {folder}").into());
    }
    let mut ladders = Vec::new();
    for kind in Kind::ALL {
        ladders.push(measure(kind, &clips)?);
        eprintln!("{kind}");
    }
    std::fs::create_dir_all(out)?;
    let out = Path::new(out);
    plot(&ladders).save(&out.join("levels.png"))?;
    contact_sheet(&ladders, &clips[0])?.save(&out.join("contact-sheet.png"))?;
    let (table, all_fall) = table(&ladders);
    std::fs::write(out.join("levels.md"), &table)?;
    print!("{table}");
    Ok(if all_fall { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn load(path: &Path, frames: usize, short_side: usize) -> Result<Vec<Frame>, Failure> {
    let video = Video::open(path)?;
    let mut stream = video.frames(TimeWindow::ALL)?;
    let mut clip = Vec::new();
    while clip.len() < frames {
        let Some(decoded) = stream.next_frame()? else { break };
        let mut frame = decoded.to_frame()?;
        let (width, height) = (frame.picture.width(), frame.picture.height());
        let scale = (short_side as f64 / width.min(height) as f64).min(1.0);
        let even = |side: usize| ((side as f64 * scale / 2.0).round() as usize).max(1) * 2;
        frame.picture = frame.picture.resized(even(width), even(height))?;
        clip.push(frame);
    }
    Ok(clip)
}

fn measure(kind: Kind, clips: &[Vec<Frame>]) -> Result<Ladder, Failure> {
    let jobs: Vec<(usize, f64)> =
        (0..clips.len()).flat_map(|clip| LEVELS.map(|level| (clip, level))).collect();
    let measured = jobs.par_iter().map(|&(clip, level)| -> Result<_, Failure> {
        let source = &clips[clip];
        let distorted = Chain::from(Distortion::new(kind, level)?).apply_all(source, SEED)?;
        let (mut ssim, mut psnr, mut middle) = (0.0, 0.0, None);
        for (i, frame) in source.iter().enumerate() {
            let after = distorted.partition_point(|d| d.pts_secs <= frame.pts_secs + 1e-9);
            let shown = &distorted[after.saturating_sub(1)].picture;
            let shown = shown.resized(frame.picture.width(), frame.picture.height())?;
            ssim += quality::ssim(&frame.picture, &shown)?;
            psnr += quality::psnr_yuv(&frame.picture, &shown)?.min(MOST_DECIBELS);
            if i == source.len() / 2 {
                middle = Some(shown);
            }
        }
        let count = source.len() as f64;
        Ok((ssim / count, psnr / count, middle))
    });
    let measured: Vec<_> = measured.collect::<Result<_, _>>()?;
    let per_clip = |values: Vec<f64>| -> Vec<[f64; 5]> {
        values.chunks(LEVELS.len()).map(|clip| std::array::from_fn(|level| clip[level])).collect()
    };
    let ssim = per_clip(measured.iter().map(|m| m.0).collect());
    let psnr = per_clip(measured.iter().map(|m| m.1).collect());
    let pictures = measured.into_iter().take(LEVELS.len()).filter_map(|m| m.2).collect();
    Ok(Ladder { kind, ssim, psnr, pictures })
}

fn mean(clips: &[[f64; 5]]) -> [f64; 5] {
    std::array::from_fn(|level| clips.iter().map(|clip| clip[level]).sum::<f64>() / clips.len() as f64)
}

fn falls(values: &[f64; 5]) -> bool {
    values.windows(2).all(|pair| pair[1] < pair[0])
}

/// The table, and whether every kind falls by one of the measures.
fn table(ladders: &[Ladder]) -> (String, bool) {
    let mut text = String::from(
        "| kind | SSIM at levels 1 to 5 | clips falling | PSNR (dB) at levels 1 to 5 | clips falling | falls |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut all_fall = true;
    for Ladder { kind, ssim, psnr, .. } in ladders {
        let row = |values: &[[f64; 5]], digits: usize| {
            mean(values).map(|value| format!("{value:.digits$}")).join(" ")
        };
        let share = |values: &[[f64; 5]]| {
            format!("{}/{}", values.iter().filter(|clip| falls(clip)).count(), values.len())
        };
        let verdict = match (falls(&mean(ssim)), falls(&mean(psnr))) {
            (true, true) => "by both",
            (true, false) => "by SSIM",
            (false, true) => "by PSNR",
            (false, false) => "NO",
        };
        all_fall &= verdict != "NO";
        let cells = [row(ssim, 4), share(ssim), row(psnr, 2), share(psnr), verdict.to_owned()];
        text += &format!("| {kind} | {} |\n", cells.join(" | "));
    }
    (text, all_fall)
}

/// A picture to draw on.
struct Canvas {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

const BLACK: [u8; 3] = [20, 20, 20];
const GREY: [u8; 3] = [215, 215, 215];
const SSIM_COLOURS: [[u8; 3]; 2] = [[20, 80, 200], [170, 195, 240]];
const PSNR_COLOURS: [[u8; 3]; 2] = [[200, 70, 20], [240, 200, 180]];

impl Canvas {
    fn white(width: usize, height: usize) -> Self {
        Self { width, height, data: vec![255; width * height * 3] }
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            self.data[(y * self.width + x) * 3..][..3].copy_from_slice(&colour);
        }
    }

    fn text(&mut self, left: usize, top: usize, text: &str, colour: [u8; 3]) {
        for (i, letter) in text.chars().enumerate() {
            let glyph = font8x8::BASIC_FONTS.get(letter).unwrap_or_default();
            for (row, bits) in glyph.into_iter().enumerate() {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    self.set(left + 8 * i + column, top + row, colour);
                }
            }
        }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: [u8; 3]) {
        let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
        for step in 0..=steps as usize {
            let t = step as f64 / steps;
            let at = |a: f64, b: f64| (a + t * (b - a)).round().max(0.0) as usize;
            self.set(at(from.0, to.0), at(from.1, to.1), colour);
        }
    }

    fn paste(&mut self, left: usize, top: usize, picture: &Rgb) {
        for (y, row) in picture.data().chunks_exact(3 * picture.width()).enumerate() {
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                self.set(left + x, top + y, [pixel[0], pixel[1], pixel[2]]);
            }
        }
    }

    fn save(&self, path: &Path) -> Result<(), Failure> {
        let file = std::io::BufWriter::new(std::fs::File::create(path)?);
        let mut encoder = png::Encoder::new(file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&self.data)?;
        Ok(())
    }
}

/// One small plot per kind.
fn plot(ladders: &[Ladder]) -> Canvas {
    const COLUMNS: usize = 6;
    const CELL: (usize, usize) = (200, 150);
    const PLOT: (f64, f64) = (160.0, 100.0);
    let mut canvas = Canvas::white(COLUMNS * CELL.0, ladders.len().div_ceil(COLUMNS) * CELL.1 + 24);
    canvas.text(8, 8, "SSIM of luma, 0 to 1", SSIM_COLOURS[0]);
    canvas.text(200, 8, "PSNR of luma and chroma, 0 to 60 dB", PSNR_COLOURS[0]);
    canvas.text(520, 8, "against levels 1 to 5; thick: mean of the clips, thin: a clip", BLACK);
    for (i, ladder) in ladders.iter().enumerate() {
        let (left, top) = (i % COLUMNS * CELL.0 + 24, i / COLUMNS * CELL.1 + 44);
        canvas.text(left, top - 12, ladder.kind.name(), BLACK);
        for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let y = top as f64 + PLOT.1 * share;
            canvas.line((left as f64, y), (left as f64 + PLOT.0, y), GREY);
        }
        let place = |level: usize, share: f64| {
            let x = left as f64 + PLOT.0 * level as f64 / 4.0;
            (x, top as f64 + PLOT.1 * (1.0 - share.clamp(0.0, 1.0)))
        };
        for level in 0..LEVELS.len() {
            canvas.text(
                place(level, 0.0).0 as usize - 4,
                top + PLOT.1 as usize + 4,
                &(level + 1).to_string(),
                BLACK,
            );
        }
        for (values, most, [dark, light]) in
            [(&ladder.ssim, 1.0, SSIM_COLOURS), (&ladder.psnr, MOST_DECIBELS, PSNR_COLOURS)]
        {
            let mut curve = |values: &[f64; 5], colour, shift: f64| {
                for (level, pair) in values.windows(2).enumerate() {
                    let (from, to) = (place(level, pair[0] / most), place(level + 1, pair[1] / most));
                    canvas.line((from.0, from.1 + shift), (to.0, to.1 + shift), colour);
                }
            };
            values.iter().for_each(|clip| curve(clip, light, 0.0));
            curve(&mean(values), dark, 0.0);
            curve(&mean(values), dark, 1.0);
        }
    }
    canvas
}

/// A row per kind: the source and five levels.
fn contact_sheet(ladders: &[Ladder], clip: &[Frame]) -> Result<Canvas, Failure> {
    const WIDTH: usize = 208;
    const LABEL: usize = 12;
    let source = &clip[clip.len() / 2].picture;
    let height = WIDTH * source.height() / source.width();
    let mut canvas = Canvas::white((LEVELS.len() + 1) * (WIDTH + 4), ladders.len() * (height + LABEL + 4));
    for (row, ladder) in ladders.iter().enumerate() {
        let top = row * (height + LABEL + 4);
        for (column, picture) in [source].into_iter().chain(&ladder.pictures).enumerate() {
            let left = column * (WIDTH + 4);
            let label = match column {
                0 => "source".to_owned(),
                level => format!("{}:{level}", ladder.kind),
            };
            canvas.text(left, top + 2, &label, BLACK);
            canvas.paste(left, top + LABEL, &picture.to_rgb_sized(WIDTH, height)?);
        }
    }
    Ok(canvas)
}
