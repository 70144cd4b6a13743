//! The rendered test media, and what the `ffmpeg` and `ffprobe` programs say of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use juror_media::{Picture, TimeWindow, Video};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/render-test-media.sh");

/// The folder of test media. Rendered once per version of the script, and kept between runs.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let script = std::fs::read_to_string(SCRIPT).expect("the script which renders test media");
        let mut hasher = DefaultHasher::new();
        script.hash(&mut hasher);
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = base.join(format!("media-{:016x}", hasher.finish()));
        if !folder.is_dir() {
            std::fs::create_dir_all(base).expect("the folder for temporary files");
            let fresh = tempfile::tempdir_in(base).expect("a temporary folder");
            let status = Command::new("bash").arg(SCRIPT).arg(fresh.path()).status().expect("bash");
            assert!(status.success(), "{SCRIPT} failed: it needs the ffmpeg program");
            // Another test process may have been faster: its media are the same.
            if std::fs::rename(fresh.path(), &folder).is_ok() {
                let _ = fresh.keep();
            }
        }
        folder
    })
}

pub fn path(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.exists(), "{} was not rendered", path.display());
    path
}

pub fn open(name: &str) -> Video {
    Video::open(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All pictures of a video with their times.
pub fn pictures(video: &Video) -> Vec<(f64, Picture)> {
    let mut frames = video.frames(TimeWindow::ALL).expect("frames");
    let mut out = Vec::new();
    while let Some(frame) = frames.next_frame().expect("a frame") {
        out.push((frame.pts_secs(), frame.to_picture().expect("a picture")));
    }
    out
}

/// The times of all frames.
pub fn times(video: &Video, window: TimeWindow) -> Vec<f64> {
    let mut frames = video.frames(window).expect("frames");
    let mut out = Vec::new();
    while let Some(frame) = frames.next_frame().expect("a frame") {
        out.push(frame.pts_secs());
    }
    out
}

/// What `ffmpeg -i NAME <options> -f rawvideo -pix_fmt FORMAT -` writes.
pub fn raw(name: &str, format: &str, options: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(format!("file:{}", path(name).display()))
        .args(["-map", "0:V:0", "-fps_mode", "passthrough"])
        .args(options)
        .args(["-f", "rawvideo", "-pix_fmt", format, "-"])
        .stderr(Stdio::inherit())
        .output()
        .expect("the ffmpeg program");
    assert!(!output.stdout.is_empty(), "ffmpeg gave no frames of {name}");
    output.stdout
}

/// The pictures of `ffmpeg ... -pix_fmt yuv420p`, cut into planes.
pub fn raw_yuv420(name: &str, size: (usize, usize), options: &[&str]) -> Vec<[Vec<u8>; 3]> {
    let (width, height) = size;
    let (luma, chroma) = (width * height, width.div_ceil(2) * height.div_ceil(2));
    let data = raw(name, "yuv420p", options);
    assert_eq!(data.len() % (luma + 2 * chroma), 0, "{name} is not {width}x{height}");
    data.chunks_exact(luma + 2 * chroma)
        .map(|frame| {
            let (y, rest) = frame.split_at(luma);
            let (u, v) = rest.split_at(chroma);
            [y.to_vec(), u.to_vec(), v.to_vec()]
        })
        .collect()
}

/// The presentation times of all frames as `ffprobe` tells them: ticks times the time base.
pub fn probed_times(name: &str) -> Vec<f64> {
    let output = Command::new("ffprobe")
        .args(["-v", "quiet", "-select_streams", "V:0", "-of", "json"])
        .args(["-show_entries", "frame=best_effort_timestamp:stream=time_base"])
        .arg(format!("file:{}", path(name).display()))
        .output()
        .expect("the ffprobe program");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON of ffprobe");
    let base = json["streams"][0]["time_base"].as_str().expect("a time base");
    let (num, den) = base.split_once('/').expect("a fraction");
    let tick = num.parse::<f64>().expect("a number") / den.parse::<f64>().expect("a number");
    let frames = json["frames"].as_array().expect("frames");
    let time = |frame: &serde_json::Value| {
        frame["best_effort_timestamp"].as_i64().unwrap_or_else(|| panic!("{name}: a frame without a time"))
    };
    frames.iter().map(|frame| time(frame) as f64 * tick).collect()
}

/// Largest and mean absolute difference.
pub fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    (largest, sum as f64 / a.len() as f64)
}
