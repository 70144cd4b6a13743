//! What a video is said to be, and when its frames are shown.

use juror_media::{Matrix, Primaries, Range, TimeWindow, Transfer, Video};

use crate::media::{open, path, pictures, probed_times, times};

#[test]
fn presentation_times_are_those_of_ffprobe() {
    let names = [
        "plain.mp4",
        "plain.mkv",
        "plain.ts",
        "offset.mkv",
        "edit-list.mp4",
        "vfr.mp4",
        "vfr.mkv",
        "odd.webm",
        "one-frame.mp4",
        "no-duration.mkv",
        "longer-audio.mkv",
        "truncated.mkv",
        "truncated.mp4",
        "video-in-disguise.txt",
        "still.jpg",
    ];
    for name in names {
        let ours = times(&open(name), TimeWindow::ALL);
        assert_eq!(ours, probed_times(name), "{name}");
    }
}

#[test]
fn frames_without_timestamps_go_at_the_nominal_rate() {
    // A raw stream has no times at all; AVI tells when frames are decoded, two frames ahead of their presentation.
    for (name, start) in [("raw.h264", 0.0), ("bframes.avi", 0.08)] {
        let ours = times(&open(name), TimeWindow::ALL);
        assert_eq!(ours.len(), 50, "{name}");
        for (i, time) in ours.iter().enumerate() {
            assert!((time - start - i as f64 / 25.0).abs() < 1e-6, "{name}: {ours:?}");
        }
    }
}

#[test]
fn durations_and_rates_come_from_the_packets() {
    for (name, duration, fps) in [
        ("plain.mp4", 2.0, 25.0),
        ("plain.mkv", 2.0, 25.0),
        ("plain.ts", 2.0, 25.0),
        ("raw.h264", 2.0, 25.0),
        ("offset.mkv", 2.0, 25.0),
        ("no-duration.mkv", 2.0, 25.0),
        ("longer-audio.mkv", 2.0, 25.0),
        ("two-hours.mkv", 7200.0, 1.0),
        ("vfr.mp4", 3.0, 54.0 / 2.96),
        ("one-frame.mp4", 0.04, 25.0),
        ("still.png", 0.0, 0.0),
    ] {
        let info = open(name).info().clone();
        assert!((info.duration_secs - duration).abs() < 2e-3, "{name}: {} s", info.duration_secs);
        assert!((info.fps - fps).abs() < 1e-3, "{name}: {} frames per second", info.fps);
        assert!(!info.truncated, "{name}: {:?}", info.warnings);
    }
    assert_eq!(open("offset.mkv").info().start_secs, 5.0);
}

#[test]
fn colour_size_and_turn_are_told() {
    let info = |name: &str| open(name).info().clone();
    let colour = |name: &str| {
        let info = info(name);
        (info.matrix, info.primaries, info.transfer, info.range)
    };
    use {Primaries as P, Transfer as T};
    assert_eq!(colour("bt601.mkv"), (Matrix::Bt601, P::Bt601, T::Sdr, Range::Limited));
    assert_eq!(colour("bt709.mkv"), (Matrix::Bt709, P::Bt709, T::Sdr, Range::Limited));
    assert_eq!(colour("bt2020.mkv"), (Matrix::Bt2020, P::Bt2020, T::Sdr, Range::Limited));
    assert_eq!(colour("full-range.mkv").3, Range::Full);
    assert_eq!(colour("pq.mkv").2, T::Pq);
    assert_eq!(colour("hlg.mkv").2, T::Hlg);
    assert_eq!(colour("plain.mp4"), (Matrix::Bt709, P::Unspecified, T::Unspecified, Range::Limited));
    for name in ["pq.mkv", "hlg.mkv"] {
        assert!(info(name).warnings.iter().any(|w| w.contains("tone-mapped")), "{name}");
    }
    assert_eq!(info("ten-bit.mp4").bit_depth, 10);
    assert_eq!((info("odd.webm").width, info("odd.webm").height), (321, 241));
    let turned = ["rotated-90.mp4", "rotated-180.mp4", "rotated-270.mp4", "still-turned.jpg"];
    let sizes: Vec<_> = turned.map(|n| (info(n).rotation, info(n).width, info(n).height)).into();
    assert_eq!(sizes, [(270, 240, 320), (180, 320, 240), (90, 240, 320), (90, 121, 161)]);
    let wide = info("wide-samples.mp4");
    assert_eq!((wide.sample_aspect_ratio, wide.width, wide.height), ((4, 3), 427, 240));
    let tall = info("tall-samples.mp4");
    assert_eq!((tall.sample_aspect_ratio, tall.width, tall.height), ((8, 9), 320, 270));
    let interlaced = info("interlaced.mp4");
    assert!(interlaced.interlaced && interlaced.warnings.iter().any(|w| w.starts_with("interlaced")));
    assert!(info("yuva420p.mkv").has_alpha);
}

#[test]
fn stills_are_videos_of_one_frame() {
    let names = [
        "still.png",
        "still.jpg",
        "still.webp",
        "still-16-bit.png",
        "still-%03d.jpg",
        "picture-in-disguise.mp4",
    ];
    for name in names {
        let video = open(name);
        assert!(video.info().is_image, "{name}");
        assert_eq!((video.info().duration_secs, video.info().frame_count), (0.0, 1), "{name}");
        assert_eq!(pictures(&video).len(), 1, "{name}");
    }
}

#[test]
fn a_cover_picture_is_not_taken_for_the_video() {
    let info = open("cover-and-video.mp4").info().clone();
    assert_eq!((info.codec.as_str(), info.frame_count, info.audio_streams), ("h264", 50, 1));
    assert!(info.warnings.is_empty(), "{:?}", info.warnings);
}

#[test]
fn a_cut_off_file_is_read_as_far_as_it_goes_and_says_where_it_ends() {
    for name in ["truncated.mp4", "truncated.mkv", "header-only.mp4"] {
        let video = open(name);
        let shown = times(&video, TimeWindow::ALL);
        let end = video.info().duration_secs;
        assert!(!shown.is_empty() && end < 1.9, "{name}");
        assert!(video.info().truncated, "{name}");
        let told = format!("it ends at {end:.3} s, its header says 2.000 s");
        assert!(
            video.info().warnings.iter().any(|w| w.contains(&told)),
            "{name}: {:?}",
            video.info().warnings
        );
    }
}

#[test]
fn damage_is_counted_not_printed() {
    let video = open("damaged.mp4");
    let mut frames = video.frames(TimeWindow::ALL).expect("frames");
    let mut last = f64::NEG_INFINITY;
    while let Some(frame) = frames.next_frame().expect("damage is no error") {
        assert!(frame.pts_secs() > last);
        last = frame.pts_secs();
    }
    assert!(!frames.warnings().is_empty());
}

#[test]
fn a_window_holds_the_frames_shown_within_it() {
    for name in [
        "plain.mp4",
        "plain.mkv",
        "plain.ts",
        "offset.mkv",
        "raw.h264",
        "vfr.mp4",
        "bframes.avi",
        "edit-list.mp4",
    ] {
        let video = open(name);
        let all = times(&video, TimeWindow::ALL);
        let start = all[0];
        for (from, to) in [(0.0, 0.3), (0.5, 0.9), (0.61, 0.62), (1.0, 1.4), (1.37, 9.0)] {
            let window = TimeWindow::new(Some(from), Some(to)).expect("a window");
            let expected: Vec<f64> = all
                .iter()
                .enumerate()
                .filter(|&(i, &t)| {
                    let until = all.get(i + 1).copied().unwrap_or(f64::INFINITY);
                    t < start + to - 1e-9 && until > start + from + 1e-9
                })
                .map(|(_, &t)| t)
                .collect();
            let ours = times(&video, window);
            assert_eq!(ours, expected, "{name}, {from} to {to} s");
        }
    }
}

#[test]
fn a_window_deep_in_a_long_file_is_reached() {
    let window = TimeWindow::new(Some(5000.5), Some(5003.0)).expect("a window");
    assert_eq!(times(&open("two-hours.mkv"), window), [5000.0, 5001.0, 5002.0]);
}

#[test]
fn threads_do_not_change_frames() {
    let video = open("plain.mp4");
    let one = pictures(&video.clone().with_threads(1));
    assert_eq!(one, pictures(&video.clone().with_threads(4)));
    assert_eq!(one, pictures(&video));
}

#[cfg(unix)]
#[test]
fn paths_need_not_be_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9 \xff:%d.mp4");
    let odd = folder.path().join(name);
    if let Err(error) = std::fs::copy(path("plain.mp4"), &odd) {
        eprintln!("SKIPPED: this file system takes UTF-8 names only ({error})");
        return;
    }
    assert_eq!(times(&Video::open(&odd).expect("a video"), TimeWindow::ALL).len(), 50);
}
