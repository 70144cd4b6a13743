//! Encoding to files and `distort_file`: what is written is what was meant, and nothing else is left.

use crate::clips::{listing, moving_clip, read};
use juror_media::distort::{Chain, distort_file, recode};
use juror_media::encode::{Codec, EncodeOptions, Encoder, Rate};
use juror_media::{Frame, MediaError, Picture, TimeWindow, Video, quality};
use std::path::Path;

fn write(path: &Path, frames: &[Frame], fps: f64, options: EncodeOptions) -> Result<(), MediaError> {
    let mut encoder = Encoder::create(path, fps, options)?;
    for frame in frames {
        encoder.push(frame)?;
    }
    encoder.finish()
}

fn times(frames: &[Frame]) -> Vec<f64> {
    frames.iter().map(|frame| frame.pts_secs).collect()
}

fn assert_times_near(found: &[Frame], expected: &[Frame], tolerance_secs: f64, what: &str) {
    let (found, expected) = (times(found), times(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    assert!(
        found.iter().zip(&expected).all(|(f, e)| (f - e).abs() <= tolerance_secs),
        "{what}: {found:?} is not {expected:?}"
    );
}

/// A frame rate that no time base of milliseconds or 1/90000 s meets, with two uneven gaps.
fn uneven_clip() -> Vec<Frame> {
    let mut frames = moving_clip(96, 72, 20, 24_000.0 / 1001.0);
    for (i, frame) in frames.iter_mut().enumerate() {
        frame.pts_secs += if i >= 7 { 0.05 } else { 0.0 } + if i >= 13 { 0.2 } else { 0.0 };
    }
    frames
}

#[test]
fn every_codec_round_trips_in_every_container_that_carries_it_and_keeps_uneven_times() {
    let folder = tempfile::tempdir().unwrap();
    let frames = uneven_clip();
    let mut written = 0;
    for codec in Codec::ALL {
        for (extension, tolerance_secs) in [("mp4", 1e-4), ("mkv", 1e-3), ("webm", 1e-3)] {
            let path = folder.path().join(format!("{codec:?}.{extension}"));
            let rate = match codec {
                Codec::Ffv1 => Rate::Lossless,
                Codec::Mpeg2 | Codec::Mpeg4 | Codec::Mjpeg => Rate::Crf(3.0),
                _ => Rate::Crf(20.0),
            };
            match write(&path, &frames, 24.0, EncodeOptions::new(codec, rate)) {
                Err(MediaError::Unsupported { reason, .. }) => {
                    assert!(reason.contains("cannot carry"), "{codec:?} {extension}: {reason}");
                    continue;
                }
                other => other.unwrap(),
            }
            written += 1;
            let what = format!("{codec:?} in {extension}");
            let back = read(&path);
            assert_times_near(&back, &frames, tolerance_secs, &what);
            for (a, b) in frames.iter().zip(&back) {
                assert!(quality::psnr(&a.picture, &b.picture).unwrap() > 28.0, "{what}");
            }
        }
    }
    assert_eq!(written, 7 + 8 + 2);
}

#[test]
fn lossless_keeps_every_sample() {
    let folder = tempfile::tempdir().unwrap();
    let frames = moving_clip(64, 48, 5, 30.0);
    for extension in ["mp4", "mkv", "webm"] {
        let path = folder.path().join(format!("a.{extension}"));
        write(&path, &frames, 30.0, EncodeOptions::lossless_for(&path).unwrap()).unwrap();
        let back = read(&path);
        assert!(frames.iter().zip(&back).all(|(a, b)| a.picture == b.picture), "{extension}");
    }
}

#[test]
fn a_bitrate_is_met_within_a_quarter() {
    let folder = tempfile::tempdir().unwrap();
    // Noise costs bits: without it the clip would be too easy for the target.
    let noise: Chain = "gaussian-noise:2".parse().unwrap();
    let frames = noise.apply_all(&moving_clip(320, 192, 120, 30.0), 3).unwrap();
    for (codec, kbps) in
        [(Codec::H264, 500), (Codec::Hevc, 500), (Codec::Vp9, 500), (Codec::Av1, 500), (Codec::Mpeg4, 1500)]
    {
        let path = folder.path().join(format!("{codec:?}.mp4"));
        write(&path, &frames, 30.0, EncodeOptions::new(codec, Rate::BitrateKbps(kbps))).unwrap();
        let found = std::fs::metadata(&path).unwrap().len() as f64 * 8.0 / 4.0 / 1000.0;
        assert!((found / f64::from(kbps) - 1.0).abs() < 0.25, "{codec:?}: {found} kbit/s for {kbps}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let frames = moving_clip(160, 90, 24, 25.0);
    for (codec, extension) in [
        (Codec::H264, "mp4"),
        (Codec::Hevc, "mkv"),
        (Codec::Vp9, "webm"),
        (Codec::Av1, "mkv"),
        (Codec::Mpeg4, "mp4"),
    ] {
        let crf = if codec == Codec::Mpeg4 { 8.0 } else { 30.0 };
        let options = EncodeOptions { threads: 3, ..EncodeOptions::new(codec, Rate::Crf(crf)) };
        let bytes = [0, 1, 2].map(|i| {
            let path = folder.path().join(format!("{i}.{extension}"));
            write(&path, &frames, 25.0, options.clone()).unwrap();
            std::fs::read(&path).unwrap()
        });
        assert!(bytes[0] == bytes[1] && bytes[1] == bytes[2], "{codec:?}");
    }
}

#[test]
fn every_kind_of_preset_is_understood() {
    let frames = moving_clip(64, 64, 3, 30.0);
    for (codec, presets) in [
        (Codec::H264, ["ultrafast", "medium"]),
        (Codec::Hevc, ["ultrafast", "faster"]),
        (Codec::Vp9, ["realtime", "6"]),
        (Codec::Av1, ["8", "12"]),
    ] {
        for preset in presets.map(|preset| Some(preset.to_owned())) {
            let options = EncodeOptions { preset, ..EncodeOptions::new(codec, Rate::Crf(30.0)) };
            assert_eq!(recode(&frames, options).unwrap().len(), 3);
        }
    }
}

#[test]
fn an_encoder_that_is_dropped_or_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    let options = EncodeOptions::new(Codec::H264, Rate::Crf(30.0));
    let frames = moving_clip(64, 48, 3, 30.0);
    let mut encoder = Encoder::create(&path, 30.0, options.clone()).unwrap();
    encoder.push(&frames[0]).unwrap();
    assert_eq!(listing(folder.path()).len(), 1, "written under a temporary name");
    drop(encoder);
    assert_eq!(listing(folder.path()), Vec::<String>::new());

    // What stands there already stays when a later encode fails.
    std::fs::write(&path, b"old").unwrap();
    let mut encoder = Encoder::create(&path, 30.0, options.clone()).unwrap();
    encoder.push(&frames[1]).unwrap();
    let error = encoder.push(&frames[1]).unwrap_err().to_string();
    assert!(error.contains("must grow"), "{error}");
    let other_size = Frame { picture: Picture::filled(32, 32, [16, 128, 128]).unwrap(), pts_secs: 9.0 };
    let error = encoder.push(&other_size).unwrap_err().to_string();
    assert!(error.contains("must be alike") && error.contains("32x32"), "{error}");
    drop(encoder);
    assert_eq!(std::fs::read(&path).unwrap(), b"old");

    let empty = Encoder::create(&path, 30.0, options).unwrap();
    assert!(matches!(empty.finish(), Err(MediaError::TooShort { .. })));
    assert_eq!(listing(folder.path()), ["a.mp4"]);
}

#[test]
fn wrong_options_are_refused_with_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let frames = moving_clip(64, 48, 1, 30.0);
    let message = |name: &str, options: EncodeOptions| {
        let error = write(&folder.path().join(name), &frames, 30.0, options).unwrap_err();
        assert_eq!(listing(folder.path()), Vec::<String>::new());
        error.to_string()
    };
    let crf = |codec, crf| EncodeOptions::new(codec, Rate::Crf(crf));
    assert!(message("a.avi", crf(Codec::H264, 30.0)).contains(".mp4, .mov, .mkv or .webm"));
    assert!(message("a.webm", crf(Codec::H264, 30.0)).contains("cannot carry H264"));
    assert!(message("a.mp4", crf(Codec::H264, 52.0)).contains("0 to 51"));
    assert!(message("a.mp4", crf(Codec::H264, f64::NAN)).contains("0 to 51"));
    assert!(message("a.mkv", crf(Codec::Ffv1, 1.0)).contains("lossless"));
    let preset = Some("14".to_owned());
    assert!(message("a.mkv", EncodeOptions { preset, ..crf(Codec::Av1, 30.0) }).contains("0 to 13"));
    assert!(message("a.mp4", EncodeOptions::new(Codec::Mpeg4, Rate::Lossless)).contains("no lossless"));
    assert!(message("a.mp4", EncodeOptions::new(Codec::H264, Rate::BitrateKbps(0))).contains("at least 1"));
    assert!(message("a.mp4", crf(Codec::Hevc, 30.0)).contains("Hevc at 64x48; 64 pixels"));
    let preset = Some("quick".to_owned());
    assert!(
        message("a.mkv", EncodeOptions { preset: preset.clone(), ..crf(Codec::Vp9, 30.0) })
            .contains("0 to 8")
    );
    assert!(message("a.mkv", EncodeOptions { preset, ..crf(Codec::H264, 30.0) }).contains("`veryfast`"));
    assert!(message("none/a.mp4", crf(Codec::H264, 30.0)).contains("cannot write"));
}

#[test]
fn distort_file_is_its_chain_and_writes_the_last_codec_itself() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let frames = moving_clip(98, 66, 12, 30.0);
    write(&source, &frames, 30.0, EncodeOptions::lossless_for(&source).unwrap()).unwrap();
    let frames = read(&source);

    // Not a codec at the end: the file holds exactly what the chain gives in memory.
    let chain: Chain = "h264:3,gaussian-noise:2,stutter:2".parse().unwrap();
    let out = folder.path().join("noise.mp4");
    let report = distort_file(&source, &out, &chain, 5, TimeWindow::ALL).unwrap();
    let in_memory = chain.apply_all(&frames, 5).unwrap();
    let back = read(&out);
    assert!(back.iter().zip(&in_memory).all(|(a, b)| a.picture == b.picture));
    assert_eq!((report.frame_count, report.width, report.height), (12, 98, 66));
    assert_times_near(&back, &frames, 1e-3, "noise.mp4");

    // A codec at the end: the file is that encode; into WebM, which cannot carry HEVC, it goes decoded.
    let chain: Chain = "darken:2,hevc:4".parse().unwrap();
    for (name, codec) in [("hevc.mp4", "hevc"), ("hevc.webm", "vp9")] {
        let out = folder.path().join(name);
        distort_file(&source, &out, &chain, 5, TimeWindow::ALL).unwrap();
        assert_eq!(Video::open(&out).unwrap().info().codec, codec);
        let in_memory = chain.apply_all(&frames, 5).unwrap();
        assert!(in_memory.iter().zip(read(&out)).all(|(a, b)| a.picture == b.picture), "{name}");
    }
}

#[test]
fn distort_file_respects_the_window_and_counts_times_from_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let frames = moving_clip(64, 48, 30, 10.0);
    write(&source, &frames, 10.0, EncodeOptions::lossless_for(&source).unwrap()).unwrap();
    let out = folder.path().join("part.mp4");
    let window = TimeWindow::new(Some(1.0), Some(2.0)).unwrap();
    let report = distort_file(&source, &out, &Chain::default(), 0, window).unwrap();
    assert_eq!(report.frame_count, 10);
    let back = read(&out);
    assert!(back.iter().zip(&frames[10..20]).all(|(a, b)| a.picture == b.picture));
    assert!((back[0].pts_secs, back[9].pts_secs) == (0.0, 0.9), "{:?}", times(&back));
}

#[test]
fn distort_file_leaves_nothing_behind_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let frames = moving_clip(65, 49, 4, 10.0); // odd: H.264 keeps 64x48
    write(&source, &frames, 10.0, EncodeOptions::lossless_for(&source).unwrap()).unwrap();
    assert_eq!((read(&source)[0].picture.width(), read(&source)[0].picture.height()), (64, 48));
    let chain: Chain = "blur:3".parse().unwrap();
    let error = distort_file(&source, &source, &chain, 0, TimeWindow::ALL).unwrap_err().to_string();
    assert!(error.contains("same file"), "{error}");
    let out = folder.path().join("out.mp4");
    let beyond = TimeWindow::new(Some(50.0), None).unwrap();
    assert!(distort_file(&source, &out, &chain, 0, beyond).is_err());
    assert!(distort_file(&folder.path().join("none.mp4"), &out, &chain, 0, TimeWindow::ALL).is_err());
    assert!(distort_file(&source, &folder.path().join("out.txt"), &chain, 0, TimeWindow::ALL).is_err());
    assert_eq!(listing(folder.path()), ["source.mp4"]);
}

/// 8 bit R'G'B' within `width` x `height`: slopes of all three colours.
fn slopes(width: usize, height: usize) -> juror_media::Rgb {
    let pixel = |i: usize| [i % width * 255 / width, i / width * 255 / height, (i % width + i / width) % 256];
    let data = (0..width * height).flat_map(|i| pixel(i).map(|value| value as u8)).collect();
    juror_media::Rgb::new(width, height, data).unwrap()
}

#[test]
fn a_picture_as_jpeg_reads_back_almost_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    for (width, height) in [(96, 72), (33, 17), (1, 1)] {
        let picture = slopes(width, height);
        let path = folder.path().join(format!("{width}.jpg"));
        std::fs::write(&path, juror_media::encode::jpeg(&picture).unwrap()).unwrap();
        // Decoded as any program would: pictures of ours have halved chroma.
        let raw = std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-i", path.to_str().unwrap(), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
            .output()
            .unwrap();
        assert_eq!(raw.stdout.len(), picture.data().len(), "{}", String::from_utf8_lossy(&raw.stderr));
        let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
        let mse = raw.stdout.iter().zip(picture.data()).map(square).sum::<f64>() / raw.stdout.len() as f64;
        let psnr = 10.0 * (255.0f64.powi(2) / mse.max(1e-9)).log10();
        eprintln!("{width}x{height}: {psnr:.1} dB");
        assert!(psnr > 42.0, "{width}x{height}: {psnr:.1} dB");
    }
}
