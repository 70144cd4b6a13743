//! Pictures in memory: lengths, resizing, conversion.

use juror_media::{Matrix, Picture, Rgb};
use proptest::prelude::*;

#[test]
fn wrong_lengths_and_sizes_are_refused() {
    assert!(Picture::new(3, 3, vec![0; 9], vec![0; 4], vec![0; 4]).is_ok());
    assert!(Picture::new(3, 3, vec![0; 9], vec![0; 3], vec![0; 4]).is_err());
    assert!(Picture::new(3, 3, vec![0; 8], vec![0; 4], vec![0; 4]).is_err());
    assert!(Picture::new(0, 3, vec![], vec![], vec![]).is_err());
    assert!(Picture::filled(usize::MAX, 2, [16, 128, 128]).is_err());
    assert!(Rgb::new(2, 2, vec![0; 11]).is_err());
    let error = Picture::new(3, 3, vec![0; 8], vec![0; 4], vec![0; 4]).expect_err("an error").to_string();
    assert!(error.contains("3x3") && error.contains('9') && error.contains('8'), "{error}");
}

#[test]
fn shrinking_by_two_averages() {
    let y: Vec<u8> = (0..64).map(|i| (i * 3) as u8).collect();
    let picture = Picture::new(8, 8, y.clone(), vec![100; 16], vec![150; 16]).expect("a picture");
    let small = picture.resized(4, 4).expect("a picture");
    for (i, &got) in small.y().iter().enumerate() {
        let (x, row) = (2 * (i % 4), 2 * (i / 4));
        let at = |x: usize, row: usize| u32::from(y[row * 8 + x]);
        let mean = (at(x, row) + at(x + 1, row) + at(x, row + 1) + at(x + 1, row + 1)) as f64 / 4.0;
        assert!((f64::from(got) - mean).abs() <= 0.51);
    }
    assert!(small.u().iter().all(|&u| u == 100) && small.v().iter().all(|&v| v == 150));
}

#[test]
fn known_colours_convert_exactly() {
    // Limited-range codes of BT.709 red, green, blue and of black, white.
    for (rgb, yuv) in [
        ([255, 0, 0], [63, 102, 240]),
        ([0, 255, 0], [173, 42, 26]),
        ([0, 0, 255], [32, 240, 118]),
        ([0, 0, 0], [16, 128, 128]),
        ([255, 255, 255], [235, 128, 128]),
    ] {
        let picture = Picture::from_rgb(&Rgb::new(2, 2, rgb.repeat(4)).expect("pixels"), Matrix::Bt709);
        assert_eq!([picture.y()[0], picture.u()[0], picture.v()[0]], yuv);
        for (got, want) in picture.to_rgb().data().iter().zip(rgb.repeat(4)) {
            assert!(got.abs_diff(want) <= 2, "{got} for {want}");
        }
    }
}

fn matrix() -> impl Strategy<Value = Matrix> {
    prop_oneof![Just(Matrix::Bt601), Just(Matrix::Bt709), Just(Matrix::Bt2020)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn flat_pictures_stay_flat_at_any_size(
        (w, h) in (1usize..40, 1usize..40), (tw, th) in (1usize..60, 1usize..60), yuv in any::<[u8; 3]>(),
    ) {
        let picture = Picture::filled(w, h, yuv).expect("a picture");
        prop_assert_eq!(picture.resized(tw, th).expect("a picture"), Picture::filled(tw, th, yuv).expect("a picture"));
        let rgb = picture.to_rgb();
        let sized = picture.to_rgb_sized(tw, th).expect("pixels");
        prop_assert!(sized.data().chunks_exact(3).all(|pixel| pixel == &rgb.data()[..3]));
    }

    #[test]
    fn resizing_never_leaves_the_range_of_its_source_when_it_shrinks(
        (w, h) in (8usize..40, 8usize..40), seed in any::<u64>(),
    ) {
        let noise = |n: usize, k: u64| -> Vec<u8> {
            (0..n as u64).map(|i| ((i + k).wrapping_mul(seed | 1) >> 17) as u8 / 2 + 60).collect()
        };
        let chroma = w.div_ceil(2) * h.div_ceil(2);
        let picture = Picture::new(w, h, noise(w * h, 1), noise(chroma, 2), noise(chroma, 3)).expect("a picture");
        let small = picture.resized(w / 2, h / 3).expect("a picture");
        let (low, high) = (*picture.y().iter().min().expect("luma"), *picture.y().iter().max().expect("luma"));
        prop_assert!(small.y().iter().all(|y| (low..=high).contains(y)));
    }

    #[test]
    fn one_colour_survives_the_way_to_yuv_and_back(rgb in any::<[u8; 3]>(), matrix in matrix(), w in 1usize..6, h in 1usize..6) {
        let pixels = Rgb::new(w, h, rgb.repeat(w * h)).expect("pixels");
        let back = Picture::from_rgb(&pixels, matrix).to_rgb();
        for (got, want) in back.data().iter().zip(pixels.data()) {
            prop_assert!(got.abs_diff(*want) <= 3, "{} for {}", got, want);
        }
    }

    #[test]
    fn greys_have_neutral_chroma(grey in any::<u8>(), matrix in matrix()) {
        let picture = Picture::from_rgb(&Rgb::new(2, 2, vec![grey; 12]).expect("pixels"), matrix);
        prop_assert_eq!((picture.u(), picture.v()), (&[128u8][..], &[128u8][..]));
    }
}
