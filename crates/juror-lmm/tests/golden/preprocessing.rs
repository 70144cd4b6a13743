//! Resizes, normalisation, patch rows, sizes and frame selection.

use candle_core::{DType, Device, Tensor};
use juror_lmm::preprocess::frames::{
    Count, internvl, qwen_vl_utils, transformers_qwen2_5, transformers_qwen3,
};
use juror_lmm::preprocess::patches::{PixelLimits, patch_rows, smart_resize, smart_resize_video};
use juror_lmm::preprocess::resize::{Arithmetic, resize};
use juror_lmm::preprocess::tiles::tiles;
use juror_lmm::preprocess::{Statistics, normalise};
use juror_media::Rgb;
use serde::Deserialize;

use crate::support::Fixture;

const FAMILY: &str = "preprocessing";

#[derive(Deserialize)]
struct Config {
    internvl: Square,
    siglip: Square,
    qwen2_5: Qwen25,
    qwen3: Qwen3,
}

#[derive(Deserialize)]
struct Square {
    size: [usize; 2],
    #[serde(flatten)]
    statistics: Statistics,
}

#[derive(Deserialize)]
struct Qwen25 {
    patch_size: usize,
    merge_size: usize,
    min_pixels: usize,
    max_pixels: usize,
    #[serde(flatten)]
    statistics: Statistics,
}

#[derive(Deserialize)]
struct Qwen3 {
    patch_size: usize,
    merge_size: usize,
    size: Edges,
    #[serde(flatten)]
    statistics: Statistics,
}

#[derive(Deserialize)]
struct Edges {
    shortest_edge: usize,
    longest_edge: usize,
}

fn frames(fixture: &Fixture) -> Vec<Rgb> {
    let stack = fixture.input("frames");
    let (_, height, width, _) = stack.dims4().unwrap();
    let picture = |frame: Tensor| {
        Rgb::new(width, height, frame.flatten_all().unwrap().to_vec1::<u8>().unwrap()).unwrap()
    };
    (0..stack.dim(0).unwrap()).map(|i| picture(stack.get(i).unwrap())).collect()
}

/// Pictures as stored: `[frames, height, width, 3]`, or channels first.
fn stack(pictures: &[Rgb], channels_first: bool) -> Tensor {
    let (width, height) = (pictures[0].width(), pictures[0].height());
    let all: Vec<u8> = pictures.iter().flat_map(|p| p.data().iter().copied()).collect();
    let stack = Tensor::from_vec(all, (pictures.len(), height, width, 3), &Device::Cpu).unwrap();
    if channels_first { stack.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap() } else { stack }
}

fn all(source: &[Rgb], (height, width): (usize, usize), arithmetic: Arithmetic) -> Vec<Rgb> {
    source.iter().map(|f| resize(f, width, height, arithmetic).unwrap()).collect()
}

#[test]
fn golden_preprocessing_internvl() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let source = frames(&fixture);
    let square = (config.internvl.size[0], config.internvl.size[1]);
    let resized = all(&source, square, Arithmetic::Pil);
    fixture.compare("internvl.resized_u8", &stack(&resized, false), 0.0, false);
    let pixels = normalise(&resized, &config.internvl.statistics, &Device::Cpu).unwrap();
    fixture.compare("internvl.pixel_values", &pixels, 1e-6, false);
    let enlarged = fixture.output("internvl.enlarged_u8").dims().to_vec();
    let enlarged = all(&source[..1], (enlarged[0], enlarged[1]), Arithmetic::Pil);
    fixture.compare("internvl.enlarged_u8", &stack(&enlarged, false).squeeze(0).unwrap(), 0.0, false);
    let side = fixture.output("internvl.tiles_u8").dim(1).unwrap();
    let cut = tiles(&source[0], side, 6).unwrap();
    fixture.compare("internvl.tiles_u8", &stack(&cut, false), 0.0, false);
    let pixels = normalise(&cut, &config.internvl.statistics, &Device::Cpu).unwrap();
    fixture.compare("internvl.tiles_pixel_values", &pixels, 1e-6, false);
}

#[test]
fn golden_preprocessing_siglip() {
    let fixture = Fixture::open(FAMILY);
    let config: Config = fixture.config();
    let square = (config.siglip.size[0], config.siglip.size[1]);
    for (name, arithmetic) in [
        ("siglip.pil_pixel_values", Arithmetic::Pil),
        ("llava_onevision.pixel_values_videos", Arithmetic::TorchFixed),
    ] {
        let resized = all(&frames(&fixture), square, arithmetic);
        fixture.compare(
            name,
            &normalise(&resized, &config.siglip.statistics, &Device::Cpu).unwrap(),
            1e-6,
            false,
        );
    }
}

#[test]
fn golden_preprocessing_qwen() {
    let fixture = Fixture::open(FAMILY);
    let Config { qwen2_5, qwen3, .. } = fixture.config();
    let source = frames(&fixture);
    let (height, width) = (source[0].height(), source[0].width());
    let factor = qwen2_5.patch_size * qwen2_5.merge_size;
    let limits = PixelLimits { min_pixels: qwen2_5.min_pixels, max_pixels: qwen2_5.max_pixels };
    let size = smart_resize(height, width, factor, limits).unwrap();
    let fixed = all(&source, size, Arithmetic::TorchFixed);
    fixture.compare("qwen2_5.resized_u8", &stack(&fixed, true), 0.0, false);
    let pil = all(&source, size, Arithmetic::Pil);
    fixture.compare("qwen2_5.resized_u8_pil", &stack(&pil, true), 0.0, false);
    let float = all(&source, size, Arithmetic::TorchFloat);
    // Halves: the order of a float sum decides some of them.
    fixture.compare("qwen2_5.resized_u8_torchvision_v1", &stack(&float, true), 1.0, false);

    let grid_of = |name: &str| Fixture::rows(fixture.output(name)).remove(0);
    let check = |name: &str, pixels: &[Rgb], side: usize, statistics: &Statistics, grid_name: &str| {
        let (rows, grid) = patch_rows(pixels, side, statistics, &Device::Cpu).unwrap();
        fixture.compare(name, &rows, 1e-6, false);
        assert_eq!(vec![grid.slices as u32, grid.rows as u32, grid.columns as u32], grid_of(grid_name));
    };
    let statistics = &qwen2_5.statistics;
    check("qwen2_5.pixel_values_videos", &fixed, qwen2_5.patch_size, statistics, "qwen2_5.video_grid_thw");
    check(
        "qwen2_5.image0_pixel_values",
        &pil[..1],
        qwen2_5.patch_size,
        statistics,
        "qwen2_5.image0_grid_thw",
    );
    let limits = PixelLimits { min_pixels: qwen3.size.shortest_edge, max_pixels: qwen3.size.longest_edge };
    let size =
        smart_resize_video(source.len(), height, width, qwen3.patch_size * qwen3.merge_size, limits).unwrap();
    let fixed = all(&source, size, Arithmetic::TorchFixed);
    check("qwen3.pixel_values_videos", &fixed, qwen3.patch_size, &qwen3.statistics, "qwen3.video_grid_thw");

    // A list of pictures through qwen_vl_utils 0.0.14: multiples of 56 by PIL, the odd last frame repeated.
    let limits = PixelLimits { min_pixels: qwen2_5.min_pixels, max_pixels: qwen2_5.max_pixels };
    let size = smart_resize(height, width, 2 * factor, limits).unwrap();
    let mut list = all(&source, size, Arithmetic::Pil);
    list.push(list[list.len() - 1].clone());
    fixture.compare("qwen_vl_utils.frame_list_u8", &stack(&list, true), 0.0, false);
}

#[derive(Deserialize)]
struct Sizes {
    qwen2_5: Vec<SizeRow>,
    qwen3: Vec<SizeRow>,
}

#[derive(Deserialize)]
struct SizeRow {
    #[serde(default)]
    frames: usize,
    height: usize,
    width: usize,
    factor: usize,
    min_pixels: usize,
    max_pixels: usize,
    resized: OrError<(usize, usize)>,
}

/// A value, or the reference's error text.
#[derive(Deserialize)]
#[serde(untagged)]
enum OrError<T> {
    Value(T),
    Error(String),
}

fn agree<T: PartialEq + std::fmt::Debug, E: std::fmt::Display>(
    got: Result<T, E>,
    want: &OrError<T>,
    row: &str,
) {
    match (got, want) {
        (Ok(got), OrError::Value(want)) => assert_eq!(got, *want, "{row}"),
        (Err(_), OrError::Error(_)) => (),
        (Ok(got), OrError::Error(want)) => panic!("{row}: {got:?} instead of {want}"),
        (Err(got), OrError::Value(want)) => panic!("{row}: {got} instead of {want:?}"),
    }
}

#[test]
fn golden_preprocessing_smart_resize() {
    let sizes: Sizes = Fixture::open(FAMILY).json("smart_resize.json");
    for row in sizes.qwen2_5 {
        let limits = PixelLimits { min_pixels: row.min_pixels, max_pixels: row.max_pixels };
        let got = smart_resize(row.height, row.width, row.factor, limits);
        agree(got, &row.resized, &format!("{} x {} {limits:?}", row.width, row.height));
    }
    for row in sizes.qwen3 {
        let limits = PixelLimits { min_pixels: row.min_pixels, max_pixels: row.max_pixels };
        let got = smart_resize_video(row.frames, row.height, row.width, row.factor, limits);
        agree(got, &row.resized, &format!("{} frames {} x {} {limits:?}", row.frames, row.width, row.height));
    }
}

#[derive(Deserialize)]
struct Selection {
    internvl: Vec<InternVlRow>,
    internvl_bounds: Vec<InternVlRow>,
    qwen: Vec<QwenRow>,
}

#[derive(Deserialize)]
struct InternVlRow {
    fps: f64,
    max_frame: usize,
    num_segments: usize,
    bound_seconds: Option<(f64, f64)>,
    indices: Vec<usize>,
}

#[derive(Deserialize)]
struct QwenRow {
    total_frames: usize,
    video_fps: f64,
    fps: Option<f64>,
    num_frames: Option<usize>,
    qwen_vl_utils: OrError<Vec<usize>>,
    transformers_qwen2_vl: OrError<Vec<usize>>,
    transformers_qwen3_vl: OrError<Vec<usize>>,
}

#[test]
fn golden_preprocessing_frame_selection() {
    let selection: Selection = Fixture::open(FAMILY).json("frame_selection.json");
    for row in selection.internvl.into_iter().chain(selection.internvl_bounds) {
        let got = internvl(row.max_frame, row.num_segments, row.fps, row.bound_seconds).unwrap();
        assert_eq!(got, row.indices, "{} segments of {} at {}", row.num_segments, row.max_frame, row.fps);
    }
    for row in selection.qwen {
        let count = row.fps.map_or_else(|| Count::Frames(row.num_frames.unwrap()), Count::Rate);
        let (total, fps) = (row.total_frames, row.video_fps);
        let name = format!("{count:?} of {total} at {fps}");
        agree(qwen_vl_utils(total, fps, count), &row.qwen_vl_utils, &name);
        agree(transformers_qwen2_5(total, fps, count), &row.transformers_qwen2_vl, &name);
        agree(transformers_qwen3(total, fps, count), &row.transformers_qwen3_vl, &name);
    }
}

#[test]
fn frames_that_do_not_fit_are_refused() {
    let small = Rgb::new(4, 4, vec![0; 48]).unwrap();
    assert!(resize(&small, 0, 4, Arithmetic::Pil).is_err());
    assert!(patch_rows(std::slice::from_ref(&small), 14, &Statistics::CLIP, &Device::Cpu).is_err());
    assert!(normalise(&[], &Statistics::HALF, &Device::Cpu).is_err());
    assert!(
        normalise(&[small, Rgb::new(2, 2, vec![0; 12]).unwrap()], &Statistics::HALF, &Device::Cpu).is_err()
    );
    assert_eq!(
        DType::F32,
        normalise(&[Rgb::new(2, 2, vec![0; 12]).unwrap()], &Statistics::HALF, &Device::Cpu).unwrap().dtype()
    );
}
