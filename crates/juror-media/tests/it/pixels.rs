//! Pixels, against an independent decode by the `ffmpeg` program: equal where this crate converts nothing or only rounds,
//! within a stated tolerance where FFmpeg's own conversion differs in its filters.

use juror_media::{Matrix, Picture, TimeWindow};

use crate::media::{difference, open, pictures, raw, raw_yuv420};

fn planes(picture: &Picture) -> [&[u8]; 3] {
    [picture.y(), picture.u(), picture.v()]
}

/// Every picture of `name` equals FFmpeg's in all planes up to `tolerance` (largest difference of luma, of chroma).
fn assert_like_ffmpeg(name: &str, options: &[&str], tolerance: (u8, u8)) {
    let video = open(name);
    let size = (video.info().width, video.info().height);
    let ours = pictures(&video);
    let theirs = raw_yuv420(name, size, options);
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (i, ((_, ours), theirs)) in ours.iter().zip(&theirs).enumerate() {
        for (plane, (ours, theirs)) in planes(ours).into_iter().zip(theirs).enumerate() {
            let (largest, mean) = difference(ours, theirs);
            let allowed = if plane == 0 { tolerance.0 } else { tolerance.1 };
            assert!(
                largest <= allowed,
                "{name}, frame {i}, plane {plane}: differs by {largest}, mean {mean}"
            );
        }
    }
}

#[test]
fn plain_pictures_are_the_decoders_own_samples() {
    let names = [
        "plain.mp4",
        "plain.mkv",
        "plain.ts",
        "raw.h264",
        "edit-list.mp4",
        "bframes.avi",
        "vfr.mp4",
        "odd.mkv",
        "odd.webm",
        "one-frame.mp4",
        "bt601.mkv",
        "bt709.mkv",
        "truncated.mkv",
        "cover-and-video.mp4",
        "still.webp",
        "nv12.nut",
    ];
    for name in names {
        assert_like_ffmpeg(name, &[], (0, 0));
    }
}

#[test]
fn turned_pictures_are_upright() {
    for name in ["rotated-90.mp4", "rotated-180.mp4", "rotated-270.mp4"] {
        assert_like_ffmpeg(name, &[], (0, 0));
    }
    // FFmpeg 5.1's program ignores Exif: turn its picture by hand.
    let upright = &pictures(&open("still.jpg"))[0].1;
    let turned = &pictures(&open("still-turned.jpg"))[0].1;
    let (width, height) = (upright.width(), upright.height());
    let expected: Vec<u8> =
        (0..width).flat_map(|x| (0..height).rev().map(move |y| upright.y()[y * width + x])).collect();
    assert_eq!(turned.y(), expected);
}

#[test]
fn ten_bits_are_rounded_to_eight() {
    for name in ["ten-bit.mp4", "yuv420p10le.mkv", "bt2020.mkv"] {
        let video = open(name);
        let expected: Vec<u8> = raw(name, "yuv420p10le", &[])
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .map(|x| ((x + 2) / 4).min(255) as u8)
            .collect();
        let ours: Vec<u8> = pictures(&video).iter().flat_map(|(_, p)| planes(p).concat()).collect();
        assert!(ours == expected, "{name}");
    }
}

#[test]
fn luma_on_loan_is_the_decoders_plane() {
    for (name, format, bytes) in [("odd.webm", "yuv420p", 1), ("yuv422p10le.mkv", "yuv422p10le", 2)] {
        let video = open(name);
        let (width, height) = (video.info().width, video.info().height);
        let theirs = raw(name, format, &[]);
        let mut frames = video.frames(TimeWindow::ALL).expect("frames");
        let mut count = 0;
        let stride = theirs.len() / video.info().frame_count;
        while let Some(frame) = frames.next_frame().expect("a frame") {
            let luma = frame.luma();
            assert_eq!((luma.width, luma.height, luma.bits), (width, height, video.info().bit_depth));
            let rows: Vec<u8> =
                luma.data.chunks(luma.stride).flat_map(|row| &row[..width * bytes]).copied().collect();
            assert!(rows == theirs[count * stride..][..width * height * bytes], "{name}, frame {count}");
            count += 1;
        }
        assert_eq!(count, video.info().frame_count);
    }
}

#[test]
fn full_range_becomes_limited() {
    // FFmpeg's scaler works with 14 fraction bits and truncates: one code of difference.
    assert_like_ffmpeg(
        "full-range.mkv",
        &["-vf", "scale=in_range=full:out_range=limited:flags=accurate_rnd"],
        (1, 1),
    );
    assert_like_ffmpeg(
        "gray.mkv",
        &["-vf", "scale=in_range=full:out_range=limited:flags=accurate_rnd"],
        (1, 0),
    );
    assert_like_ffmpeg(
        "still.jpg",
        &["-vf", "scale=in_range=full:out_range=limited:flags=accurate_rnd"],
        (1, 1),
    );
}

/// A chroma plane filtered 1-2-1 around even columns and averaged over two rows, rounded once.
fn filtered_chroma(width: usize, height: usize, at: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut out = Vec::new();
    for y in (0..height).step_by(2) {
        for x in (0..width).step_by(2) {
            let row = |y: usize| {
                (at(x.saturating_sub(1), y) + 2.0 * at(x, y) + at((x + 1).min(width - 1), y)) / 4.0
            };
            out.push((row(y) + row((y + 1).min(height - 1))) / 2.0);
        }
    }
    out
}

fn assert_near(name: &str, ours: &[u8], expected: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), expected.len(), "{name}");
    for (i, (&ours, &expected)) in ours.iter().zip(expected).enumerate() {
        let difference = (f64::from(ours) - expected).abs();
        assert!(difference <= tolerance, "{name}, sample {i}: {ours} for {expected}");
    }
}

#[test]
fn other_chroma_subsamplings_keep_luma_and_filter_chroma_as_stated() {
    for (name, format, across) in
        [("yuv444p.mkv", "yuv444p", 1), ("yuv422p.mkv", "yuv422p", 2), ("yuyv422.nut", "yuv422p", 2)]
    {
        let video = open(name);
        let (width, height) = (video.info().width, video.info().height);
        let theirs = raw(name, format, &[]);
        let chroma_width = width / across;
        let frame_len = (width + 2 * chroma_width) * height;
        for ((_, ours), theirs) in pictures(&video).iter().zip(theirs.chunks_exact(frame_len)) {
            let (luma, chroma) = theirs.split_at(width * height);
            assert_eq!(ours.y(), luma, "{name}");
            for (ours, plane) in planes(ours)[1..].iter().zip(chroma.chunks_exact(chroma_width * height)) {
                let at = |x: usize, y: usize| f64::from(plane[y * chroma_width + x]);
                let expected = match across {
                    1 => filtered_chroma(width, height, at),
                    _ => (0..height / 2)
                        .flat_map(|y| (0..chroma_width).map(move |x| (x, 2 * y)))
                        .map(|(x, y)| (at(x, y) + at(x, y + 1)) / 2.0)
                        .collect(),
                };
                assert_near(name, ours, &expected, 0.5);
            }
        }
    }
    // 4:1:1 is enlarged across and averaged down, where FFmpeg's bicubic filter is sharper: they agree but at edges.
    let video = open("yuv411p.mkv");
    let size = (video.info().width, video.info().height);
    let theirs = raw_yuv420("yuv411p.mkv", size, &["-sws_flags", "bicubic+accurate_rnd"]);
    for ((_, ours), theirs) in pictures(&video).iter().zip(&theirs) {
        assert_eq!(ours.y(), theirs[0]);
        let (_, mean) = difference(ours.u(), &theirs[1]);
        assert!(mean < 4.0, "chroma differs by {mean} on average");
    }
}

#[test]
fn deep_samples_round_like_shallow_ones() {
    for (name, format, shift) in
        [("yuv444p12le.mkv", "yuv444p12le", 4), ("yuv444p16le.mkv", "yuv444p16le", 8)]
    {
        let video = open(name);
        let theirs = raw(name, format, &[]);
        let frame_bytes = theirs.len() / video.info().frame_count;
        let luma = video.info().width * video.info().height;
        for ((_, ours), theirs) in pictures(&video).iter().zip(theirs.chunks_exact(frame_bytes)) {
            let expected: Vec<u8> = theirs[..2 * luma]
                .chunks_exact(2)
                .map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]])))
                .map(|x| ((x + (1 << (shift - 1))) >> shift).min(255) as u8)
                .collect();
            assert!(ours.y() == expected, "{name}");
        }
    }
}

#[test]
fn rgb_sources_become_bt709() {
    for (name, format, pixel_bytes) in [
        ("gbrp.mkv", "rgb24", 3),
        ("still.png", "rgb24", 3),
        ("still-16-bit.png", "rgb48le", 6),
        ("bgra.avi", "rgb24", 3),
    ] {
        let video = open(name);
        let (width, height) = (video.info().width, video.info().height);
        let data = raw(name, format, &[]);
        for ((_, ours), rgb) in pictures(&video).iter().zip(data.chunks_exact(width * height * pixel_bytes)) {
            assert_eq!(ours.matrix(), Matrix::Bt709);
            // R'G'B' in 0..1, then the definitions of BT.709 and of limited range.
            let pixel = |x: usize, y: usize| -> [f64; 3] {
                let at = &rgb[(y * width + x) * pixel_bytes..][..pixel_bytes];
                [0, 1, 2].map(|i| match pixel_bytes {
                    3 => f64::from(at[i]) / 255.0,
                    // Rounded to 8 bits first, as stated.
                    _ => (f64::from(u16::from_le_bytes([at[2 * i], at[2 * i + 1]])) / 257.0).round() / 255.0,
                })
            };
            let luma = |[r, g, b]: [f64; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
            let y: Vec<f64> = (0..height)
                .flat_map(|y| (0..width).map(move |x| (x, y)))
                .map(|(x, y)| 16.0 + 219.0 * luma(pixel(x, y)))
                .collect();
            let u = |x: usize, y: usize| 128.0 + 224.0 * (pixel(x, y)[2] - luma(pixel(x, y))) / 1.8556;
            let v = |x: usize, y: usize| 128.0 + 224.0 * (pixel(x, y)[0] - luma(pixel(x, y))) / 1.5748;
            assert_near(name, ours.y(), &y, 0.52);
            assert_near(name, ours.u(), &filtered_chroma(width, height, u), 0.52);
            assert_near(name, ours.v(), &filtered_chroma(width, height, v), 0.52);
        }
    }
}

#[test]
fn to_rgb_uses_the_matrix_of_the_source() {
    for (name, matrix) in [("bt601.mkv", "bt601"), ("bt709.mkv", "bt709"), ("bt2020.mkv", "bt2020")] {
        let video = open(name);
        let filter = format!("scale=in_color_matrix={matrix}:flags=bilinear+accurate_rnd+full_chroma_int");
        let theirs = raw(name, "rgb24", &["-vf", &filter]);
        let frame_bytes = theirs.len() / video.info().frame_count;
        let close = |ours: &[u8]| {
            ours.iter().zip(&theirs[..frame_bytes]).filter(|(a, b)| a.abs_diff(**b) <= 3).count() as f64
                / frame_bytes as f64
        };
        let picture = &pictures(&video)[0].1;
        let right = close(picture.to_rgb().data());
        let other = if picture.matrix() == Matrix::Bt601 { Matrix::Bt709 } else { Matrix::Bt601 };
        let wrong = close(picture.clone().with_matrix(other).to_rgb().data());
        assert!(right > 0.85, "{name}: {right} of all samples are close");
        assert!(
            wrong < right - 0.2,
            "{name}: {wrong} are close with a wrong matrix, {right} with the right one"
        );
    }
}

#[test]
fn transparent_parts_are_black() {
    // Red at half opacity on black: R' = 128 (of 255), BT.709.
    let picture = &pictures(&open("still-alpha.png"))[0].1;
    let rgb = picture.to_rgb();
    for pixel in rgb.data().chunks_exact(3) {
        assert!(pixel[0].abs_diff(128) <= 3 && pixel[1] <= 3 && pixel[2] <= 3, "{pixel:?}");
    }
    assert!(open("still-alpha.png").info().warnings.iter().any(|w| w.contains("black")));
    // The alpha of this one is opaque everywhere.
    assert_like_ffmpeg("yuva420p.mkv", &[], (0, 0));
}

#[test]
fn samples_become_square() {
    for (name, size) in [("wide-samples.mp4", (427, 240)), ("tall-samples.mp4", (320, 270))] {
        let filter = format!("scale={}:{}:flags=bicubic+accurate_rnd", size.0, size.1);
        let theirs = raw_yuv420(name, size, &["-vf", &filter]);
        for ((_, ours), theirs) in pictures(&open(name)).iter().zip(&theirs) {
            // FFmpeg's bicubic has another parameter (0.6) than Catmull-Rom (0.5).
            let (_, mean) = difference(ours.y(), &theirs[0]);
            assert!(mean < 1.5, "{name}: luma differs by {mean} on average");
        }
    }
}

#[test]
fn the_first_field_of_interlaced_pictures_is_kept_and_combing_goes() {
    let video = open("interlaced.mp4");
    let (width, height) = (video.info().width, video.info().height);
    let theirs = raw_yuv420("interlaced.mp4", (width, height), &[]);
    let combing = |luma: &[u8]| -> u64 {
        (1..height - 1)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| {
                let at = |y: usize| i64::from(luma[y * width + x]);
                let (up, down) = (at(y) - at(y - 1), at(y) - at(y + 1));
                (up * down).max(0) as u64
            })
            .sum()
    };
    let mut rows_differ = false;
    for ((_, ours), theirs) in pictures(&video).iter().zip(&theirs) {
        for row in (0..height).step_by(2) {
            assert_eq!(ours.y()[row * width..][..width], theirs[0][row * width..][..width]);
        }
        assert!(combing(ours.y()) < combing(&theirs[0]));
        rows_differ |= ours.y() != theirs[0];
    }
    assert!(rows_differ);
}

#[test]
fn pq_greys_follow_the_stated_rule() {
    // Below the knee (90 cd/m2, code 0.495) the rule is plain: light / 203, to the power 1 / 2.4.
    let (m1, m2) = (2610.0 / 16384.0, 2523.0 / 32.0);
    let (c1, c2, c3) = (3424.0 / 4096.0, 2413.0 / 128.0, 2392.0 / 128.0);
    let light = |code: f64| {
        let x = code.powf(1.0 / m2);
        10000.0 * ((x - c1).max(0.0) / (c2 - c3 * x)).powf(1.0 / m1)
    };
    let video = open("pq.mkv");
    let (width, height) = (video.info().width, video.info().height);
    let data: Vec<u16> =
        raw("pq.mkv", "yuv420p10le", &[]).chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]])).collect();
    let picture = &pictures(&video)[0].1;
    assert_eq!(picture.matrix(), Matrix::Bt709);
    let (cw, luma) = (width / 2, width * height);
    let neutral = |plane: usize, x: usize, y: usize| {
        let at = |dx: usize, dy: usize| {
            let (x, y) = ((x / 2 + dx).saturating_sub(1), (y / 2 + dy).saturating_sub(1));
            data[luma + plane * luma / 4 + y.min(height / 2 - 1) * cw + x.min(cw - 1)]
        };
        (0..3).all(|dx| (0..3).all(|dy| at(dx, dy).abs_diff(512) <= 1))
    };
    let mut checked = 0;
    for y in 0..height {
        for x in 0..width {
            let code = (f64::from(data[y * width + x]) - 64.0) / 876.0;
            if !(0.05..0.49).contains(&code) || !neutral(0, x, y) || !neutral(1, x, y) {
                continue;
            }
            let expected = 16.0 + 219.0 * (light(code) / 203.0).powf(1.0 / 2.4);
            let ours = f64::from(picture.y()[y * width + x]);
            assert!((ours - expected).abs() <= 2.0, "at {x},{y}: {ours}, expected {expected}");
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} grey pixels were found");
}

#[test]
fn hdr_pictures_span_the_range_and_stay_in_it() {
    for name in ["pq.mkv", "hlg.mkv"] {
        let picture = &pictures(&open(name))[0].1;
        let (low, high) = (picture.y().iter().min(), picture.y().iter().max());
        assert!(low <= Some(&18) && high >= Some(&225), "{name}: luma from {low:?} to {high:?}");
        assert!(picture.y().iter().all(|y| (16..=235).contains(y)), "{name}");
    }
}
