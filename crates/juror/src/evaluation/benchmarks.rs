//! Public benchmarks: what their label files are called and hold, so that a published table runs from a folder of videos.
//!
//! Nothing of the sets is shipped, neither videos nor ratings. A label file is read in whichever of these forms it is:
//! - *annotations*: `{"annotations": [{"image_id": "A0023_01.mp4", "score": "43.9"}, ...]}`, as the published evaluation of
//!   VQAThinker and W2S-VQA has them for every set;
//! - *list*: no header, the video first and its rating last, with commas (`Video/A001.mp4, 10.0, 30.0, 80.232`) or blanks
//!   between, as those of FAST-VQA and DOVER, and VDPVE's own `train.txt`; Waterloo's own `encoder, video, resolution, level,
//!   rating` is one too;
//! - *table*: CSV with a header, as KoNViD-1k (`flickr_id,mos`), LSVQ (`name`, `mos`, `is_test`), KVQ (`filename,score`), the
//!   sheet `MOS` of YouTube-UGC saved as CSV (`vid`, `MOS full`), and tables that others made of LIVE-YT-HFR
//!   (`filename,MOS,std`) and Waterloo-IVC-4K (`..., MOS, path`).
//!
//! MATLAB files are not read. Ids are taken for file names with or without folder and extension; one that fits several videos is
//! refused, not guessed. Counts and ranges of the ratings are those of the label files behind the published tables; other ones
//! are told, not refused.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{Rating, RatingColumns, Ratings};
use super::table::Place;
use super::{Error, table};

/// A public set of rated videos.
#[derive(Debug, PartialEq)]
pub struct Benchmark {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its published name.
    pub title: &'static str,
    /// What its label files are called.
    pub label_files: &'static [&'static str],
    /// How many videos the published tables count.
    pub videos: usize,
    /// Lowest and highest rating of these.
    pub ratings: [f64; 2],
    /// What may follow an id in the names of its videos, beside the extension.
    endings: &'static [&'static str],
    /// The only rows of a table that count: column and value.
    only: Option<(&'static str, &'static str)>,
}

const fn benchmark(
    name: &'static str,
    title: &'static str,
    label_files: &'static [&'static str],
    videos: usize,
    ratings: [f64; 2],
) -> Benchmark {
    Benchmark { name, title, label_files, videos, ratings, endings: &[], only: None }
}

/// The sets that are known.
pub const BENCHMARKS: [Benchmark; 11] = [
    Benchmark {
        only: Some(("is_test", "true")),
        ..benchmark(
            "lsvq-test",
            "LSVQ-test",
            &[
                "LSVQ_whole_test_ds_score.json",
                "labels_train_test.csv",
                "LSVQ_whole_test.csv",
                "labels_test.txt",
            ],
            7182,
            [8.47, 91.03],
        )
    },
    benchmark(
        "lsvq-1080p",
        "LSVQ-1080p",
        &[
            "LSVQ_whole_test_1080p_ds_score.json",
            "labels_test_1080p.csv",
            "LSVQ_whole_test_1080p.csv",
            "labels_1080p.txt",
        ],
        3573,
        [17.72, 91.42],
    ),
    benchmark(
        "konvid-1k",
        "KoNViD-1k",
        &["Konvid-1k_total_ds_score.json", "KoNViD_1k_mos.csv", "KONVID_1K_metadata.csv"],
        1200,
        [24.4, 92.8],
    ),
    benchmark(
        "live-vqc",
        "LIVE-VQC",
        &["LIVE-VQC_total_ds_score.json", "LIVE_VQC_metadata.csv"],
        585,
        [6.22, 94.29],
    ),
    Benchmark {
        endings: &["_crf_10_ss_00_t_20.0"],
        ..benchmark(
            "youtube-ugc",
            "YouTube-UGC",
            &[
                "youtube_ugc_total.json",
                "original_videos_MOS_for_YouTube_UGC_dataset.csv",
                "YOUTUBE_UGC_metadata.csv",
            ],
            1020,
            [1.24, 4.68],
        )
    },
    benchmark(
        "live-yt-gaming",
        "LIVE-YT-Gaming",
        &["LIVE-YT-Gaming_total_score.json", "LIVE_YT_GAMING_metadata.csv"],
        600,
        [4.53, 95.95],
    ),
    benchmark("cgvds", "CGVDS", &["CGVDS_total_score.json"], 357, [1.71, 6.06]),
    benchmark(
        "live-yt-hfr",
        "LIVE-YT-HFR",
        &["live_hfr_total_score.json", "LIVEHFR_MOS.csv", "LIVE_HFR_metadata.csv"],
        480,
        [10.36, 73.94],
    ),
    benchmark(
        "waterloo-ivc-4k",
        "Waterloo-IVC-4K",
        &[
            "Waterloo_IVC_4K_total_score.json",
            "Waterloo_IVC_4K_total_score2.json",
            "scores.txt",
            "waterloo_data.csv",
        ],
        1200,
        [0.74, 97.59],
    ),
    benchmark("vdpve", "VDPVE", &["VDPVE_train_score.json", "train.txt"], 839, [19.89, 84.42]),
    benchmark("kvq", "KVQ", &["kvq_train_score.json", "train_data.csv"], 2926, [1.0, 5.0]),
];

/// Columns of tables that name the video, and that hold its rating: the first that is there counts.
const VIDEO_COLUMNS: [&str; 9] =
    ["video", "flickr_id", "vid", "name", "filename", "file_name", "video_name", "File", "path"];
const RATING_COLUMNS: [&str; 5] = ["mos", "MOS", "MOS full", "MOSFull", "score"];
/// Extensions of videos.
const EXTENSIONS: [&str; 7] = ["mp4", "mkv", "webm", "avi", "mov", "y4m", "yuv"];
/// Deeper folders are not looked into.
const DEPTH: usize = 6;
/// Ranges may differ by this share of their width before it is told: label files are rounded.
const RANGE_TOLERANCE: f64 = 0.02;

impl Benchmark {
    /// The set of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BENCHMARKS.iter().find(|known| known.name == name)
    }

    /// The label file below `folder`.
    ///
    /// # Errors
    /// [`Error::Unreadable`] where there is none, with the names that were looked for.
    pub fn find_labels(&self, folder: &Path) -> Result<PathBuf, Error> {
        let files = files_below(folder);
        let found = self.label_files.iter().find_map(|wanted| {
            files.iter().find(|file| file.file_name().is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
        });
        found.map(|file| folder.join(file)).ok_or_else(|| Error::Unreadable {
            reason: format!("it holds no label file of {} ({})", self.title, self.label_files.join(", ")),
            path: folder.to_owned(),
        })
    }

    /// Reads the label file at `path`; ids become the paths of the videos below `folder`, where one is given and has them.
    /// Also gives what a careful reader should know.
    ///
    /// # Errors
    /// See [`Error`]: every message has the place and the path.
    pub fn read(&self, path: &Path, folder: Option<&Path>) -> Result<(Ratings, Vec<String>), Error> {
        let mut ratings = self.read_labels(path)?;
        if let Some(folder) = folder {
            let known = Index::of(folder);
            for row in &mut ratings.rows {
                if let Some(found) = known.find(&row.video, self.endings, folder)? {
                    row.video = found;
                }
            }
        }
        for row in &mut ratings.rows {
            row.video = with_extension(&row.video);
        }
        let mut warnings = Vec::new();
        let count = ratings.rows.len();
        if count != self.videos {
            warnings.push(format!(
                "{count} videos are rated; the published tables of {} count {}",
                self.title, self.videos
            ));
        }
        let (lo, hi) = (ratings.rows.iter().map(|row| row.mos))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), mos| (lo.min(mos), hi.max(mos)));
        let [least, most] = self.ratings;
        let tolerance = RANGE_TOLERANCE * (most - least);
        if count == self.videos && ((lo - least).abs() > tolerance || (hi - most).abs() > tolerance) {
            warnings.push(format!(
                "ratings lie between {lo} and {hi}; those of {} are known between {least} and {most}",
                self.title
            ));
        }
        Ok((ratings, warnings))
    }

    fn read_labels(&self, path: &Path) -> Result<Ratings, Error> {
        let unreadable = |reason: String| Error::Unreadable { reason, path: path.to_owned() };
        let text = std::fs::read_to_string(path).map_err(|reason| unreadable(reason.to_string()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let first = text.lines().next().unwrap_or_default();
        let last_cell = cells(first).pop().unwrap_or_default();
        let pairs = if text.trim_start().starts_with('{') && text.contains("\"annotations\"") {
            annotations(text, path)?
        } else if cells(first).len() > 1 && last_cell.parse::<f64>().is_ok() {
            list(text, path)?
        } else {
            return self.table(first, path);
        };
        let mut rows = Vec::with_capacity(pairs.len());
        let mut places: HashMap<String, Place> = HashMap::new();
        for (place, rating) in pairs {
            let video = &rating.video;
            if let Some(earlier) = places.insert(video.clone(), place) {
                let what = format!("`{video}` stands at {earlier} already");
                return Err(Error::Row { place, what, path: path.to_owned() });
            }
            rows.push(rating);
        }
        if rows.is_empty() {
            return Err(unreadable("it rates no video".to_owned()));
        }
        Ok(Ratings { path: path.to_owned(), rows, observers: Vec::new() })
    }

    /// A table with the header line `header`.
    fn table(&self, header: &str, path: &Path) -> Result<Ratings, Error> {
        let has: Vec<&str> = header.split(',').map(|name| name.trim().trim_matches('"')).collect();
        let mut columns = RatingColumns::default();
        for (key, names) in [("video", &VIDEO_COLUMNS[..]), ("mos", &RATING_COLUMNS)] {
            if let Some(name) = names.iter().find(|name| has.contains(name)) {
                columns.rename(key, name);
            }
        }
        if let Some((column, value)) = self.only.filter(|(column, _)| has.contains(column)) {
            columns = columns.only_where(column, value);
        }
        Ratings::read(path, &columns)
    }
}

/// Every score among the annotations.
fn annotations(text: &str, path: &Path) -> Result<Vec<(Place, Rating)>, Error> {
    let whole: Value = serde_json::from_str(text).map_err(|error| table::broken_json(path, &error))?;
    let mut pairs = Vec::new();
    for (index, entry) in whole["annotations"].as_array().into_iter().flatten().enumerate() {
        let place = Place::Entry(index as u64 + 1);
        let wrong = |what: String| Error::Row { place, what, path: path.to_owned() };
        if entry["ann_type"].as_str().is_some_and(|kind| kind != "score") {
            continue;
        }
        let video = entry["image_id"].as_str().ok_or_else(|| wrong("`image_id` is missing".to_owned()))?;
        let score = match &entry["score"] {
            Value::String(text) => text.trim().to_owned(),
            Value::Null => return Err(wrong("`score` is missing".to_owned())),
            other => other.to_string(),
        };
        pairs.push((place, Rating::of(video.to_owned(), rating(&score).map_err(wrong)?)));
    }
    Ok(pairs)
}

/// The cells of a line of a list: with commas between, or, where there is none, blanks.
fn cells(line: &str) -> Vec<&str> {
    match line.contains(',') {
        true => line.split(',').map(str::trim).collect(),
        false => line.split_whitespace().collect(),
    }
}

/// Lines without a header: the video first, its rating last; what comes between is passed over, but for Waterloo's, where it
/// tells the file: `HEVC, 1, 540p, 2` is `HEVC/01/960x540_2.mp4`, and the levels of one encode are the rungs of a ladder.
fn list(text: &str, path: &Path) -> Result<Vec<(Place, Rating)>, Error> {
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = Place::Line(index as u64 + 1);
        let wrong = |what: String| Error::Row { place, what, path: path.to_owned() };
        let cells = cells(line);
        let [video, .., score] = &cells[..] else {
            return Err(wrong(
                "a video and its rating are needed, with a comma or blanks between".to_owned(),
            ));
        };
        if video.is_empty() {
            return Err(wrong("the video is missing".to_owned()));
        }
        let mos = rating(score).map_err(wrong)?;
        pairs.push((
            place,
            match &cells[..] {
                [encoder, number, lines, level, _] => Rating {
                    ladder: Some(format!("{encoder}_{number}_{lines}")),
                    bitrate: level.parse().ok().filter(|level: &f64| *level > 0.0),
                    ..Rating::of(format!("{encoder}/{number:0>2}/{}_{level}", size(lines)), mos)
                },
                _ => Rating::of((*video).to_owned(), mos),
            },
        ));
    }
    Ok(pairs)
}

/// Width and height behind a number of lines in Waterloo's names of files.
fn size(lines: &str) -> &str {
    match lines {
        "540p" => "960x540",
        "1080p" => "1920x1080",
        "2160p" => "3840x2160",
        other => other,
    }
}

fn rating(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("the rating is `{text}`; a finite number is needed")),
    }
}

/// The videos below a folder, by all that an id may be: the end of a path, with or without the extension.
struct Index {
    paths: Vec<String>,
    /// Of each end of a path, the videos that have it.
    ends: HashMap<String, Vec<usize>>,
}

impl Index {
    fn of(folder: &Path) -> Self {
        let mut index = Self { paths: Vec::new(), ends: HashMap::new() };
        for file in files_below(folder) {
            let path = file.to_string_lossy().into_owned();
            if extension_of(&path).is_none() {
                continue;
            }
            let place = index.paths.len();
            for end in ends(&path) {
                index.ends.entry(end.to_owned()).or_default().push(place);
                index.ends.entry(stem(end).to_owned()).or_default().push(place);
            }
            index.paths.push(path);
        }
        index
    }

    /// The video that fits `id` best: the one that shares the longest end of the path with it.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when several fit it equally well.
    fn find(&self, id: &str, endings: &[&str], folder: &Path) -> Result<Option<String>, Error> {
        let name = id.rsplit('/').next().unwrap_or(id);
        let plain = ends(id).flat_map(|end| [end.to_owned(), stem(end).to_owned()]);
        let ended = endings.iter().map(|ending| stem(name).to_owned() + ending);
        let Some(found) = plain.chain(ended).find_map(|key| self.ends.get(&key)) else { return Ok(None) };
        let paths = || found.iter().map(|&place| &self.paths[place]);
        match (&found[..], paths().find(|path| *path == id || stem(path) == id)) {
            ([one], _) => Ok(Some(self.paths[*one].clone())),
            (_, Some(whole)) => Ok(Some(whole.clone())),
            _ => {
                let several: Vec<String> = paths().take(3).map(|path| format!("`{path}`")).collect();
                Err(Error::Unreadable {
                    reason: format!(
                        "`{id}` may be any of {} videos: {} ...",
                        found.len(),
                        several.join(", ")
                    ),
                    path: folder.to_owned(),
                })
            }
        }
    }
}

/// A path, and what is left of it without the first folder, without the first two, and so on.
fn ends(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.split_once('/').map(|(_, rest)| rest))
}

/// Paths below `folder`, relative to it, in order of name.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((within, depth)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder.join(&within)) else { continue };
        for entry in entries.flatten() {
            let path = within.join(entry.file_name());
            if entry.path().is_dir() {
                if depth < DEPTH {
                    folders.push((path, depth + 1));
                }
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn extension_of(name: &str) -> Option<&str> {
    let (_, extension) = name.rsplit_once('.')?;
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)).then_some(extension)
}

/// A name without the extension of a video, and without the `.0` of an id that was taken for a number.
fn stem(name: &str) -> &str {
    let stem = extension_of(name).map_or(name, |extension| &name[..name.len() - extension.len() - 1]);
    stem.strip_suffix(".0").filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or(stem)
}

fn with_extension(id: &str) -> String {
    if extension_of(id).is_some() { id.to_owned() } else { format!("{}.mp4", stem(id)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<(String, f64)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels");
        std::fs::write(&path, text).unwrap();
        let read = Benchmark::named(name).unwrap().read(&path, None);
        let told = |error: Error| error.to_string().replace(path.to_str().unwrap(), "FILE");
        read.map(|(ratings, _)| ratings.rows.into_iter().map(|row| (row.video, row.mos)).collect())
            .map_err(told)
    }

    #[test]
    fn every_form_of_labels_is_read() {
        let expected = |rows: &[(&str, f64)]| Ok(rows.iter().map(|(v, m)| ((*v).to_owned(), *m)).collect());
        for (name, text, rows) in [
            (
                "vdpve",
                r#"{"annotations":[{"image_id":"A_1.mp4","ann_type":"score","score":"43.5"},
                {"image_id":"A_1.mp4","ann_type":"class","class":"fair"},{"image_id":"A_2","score":51}]}"#,
                &[("A_1.mp4", 43.5), ("A_2.mp4", 51.0)][..],
            ),
            (
                "live-vqc",
                "Video/A001.mp4, 10.002367, 30.0, 80.232\nVideo/A002.mp4, 10.04, 29.97, 57.3\n",
                &[("Video/A001.mp4", 80.232), ("Video/A002.mp4", 57.3)],
            ),
            (
                "waterloo-ivc-4k",
                "HEVC, 1, 540p, 1, 18.21\nHEVC, 1, 540p, 2, 39.46\n",
                &[("HEVC/01/960x540_1.mp4", 18.21), ("HEVC/01/960x540_2.mp4", 39.46)],
            ),
            (
                "vdpve",
                "A0023_01.mp4 43.9\nA0023_02.mp4\t20.9\n",
                &[("A0023_01.mp4", 43.9), ("A0023_02.mp4", 20.9)],
            ),
            (
                "live-yt-hfr",
                "filename,MOS,std\n1Runner_crf_0_24fps,43.02,12.57\n",
                &[("1Runner_crf_0_24fps.mp4", 43.02)],
            ),
            (
                "konvid-1k",
                "\"flickr_id\",\"mos\"\n3339962845,4.1\n55.0,2\n",
                &[("3339962845.mp4", 4.1), ("55.mp4", 2.0)],
            ),
            (
                "lsvq-test",
                "name,p1,height,mos_p1,mos,is_test\na/1,x,540,9,50.5,True\na/2,x,540,9,60,False\na/3,x,540,9,70,true\n",
                &[("a/1.mp4", 50.5), ("a/3.mp4", 70.0)],
            ),
            (
                "kvq",
                "filename,score\ntrain/0001.mp4,2.5\ntrain/0002.mp4,3\n",
                &[("train/0001.mp4", 2.5), ("train/0002.mp4", 3.0)],
            ),
            (
                "youtube-ugc",
                "vid,category,MOS full\nGaming_1080P-0ce6,Gaming,3.25\n",
                &[("Gaming_1080P-0ce6.mp4", 3.25)],
            ),
        ] {
            assert_eq!(read(name, text), expected(rows), "{name}");
        }
    }

    #[test]
    fn broken_labels_are_told_with_their_place() {
        for (name, text, message) in [
            (
                "cgvds",
                "{\"annotations\":[{\"image_id\":\"a\",\"score\":\"good\"}]}",
                "entry 1: the rating is `good`; a finite number is needed: FILE",
            ),
            ("cgvds", "{\"annotations\":[{\"score\":\"2\"}]}", "entry 1: `image_id` is missing: FILE"),
            ("cgvds", "{\"annotations\":[]}", "cannot be read: it rates no video: FILE"),
            (
                "live-vqc",
                "a.mp4, 1, 1, 2\na.mp4, 1, 1, 3\n",
                "line 2: `a.mp4` stands at line 1 already: FILE",
            ),
            (
                "live-vqc",
                "a.mp4, 1, 1, 2\nb.mp4, 1, 1, nan\n",
                "line 2: the rating is `nan`; a finite number is needed: FILE",
            ),
            (
                "kvq",
                "clip,quality\na,1\n",
                "line 1: the header has no column `video`; it has clip, quality: FILE",
            ),
        ] {
            assert_eq!(read(name, text).unwrap_err(), message, "{text}");
        }
    }

    #[test]
    fn videos_are_found_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("deep/er")).unwrap();
        for name in ["deep/A001.mp4", "deep/er/x_crf_10_ss_00_t_20.0.mkv", "7.webm", "notes.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        for name in
            ["HEVC/01/960x540_1.mp4", "HEVC/02/960x540_1.mp4", "960x540_2.mp4", "VP9/01/960x540_2.mp4"]
        {
            let path = folder.path().join("set").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let index = Index::of(folder.path());
        let endings = Benchmark::named("youtube-ugc").unwrap().endings;
        let find = |id: &str| index.find(id, endings, Path::new("sets")).map_err(|error| error.to_string());
        for (id, found) in [
            ("Video/A001.mp4", Some("deep/A001.mp4")),
            ("A001", Some("deep/A001.mp4")),
            ("x", Some("deep/er/x_crf_10_ss_00_t_20.0.mkv")),
            ("7.0", Some("7.webm")),
            ("HEVC/02/960x540_1", Some("set/HEVC/02/960x540_1.mp4")),
            ("/elsewhere/HEVC/01/960x540_1.mp4", Some("set/HEVC/01/960x540_1.mp4")),
            ("set/960x540_2", Some("set/960x540_2.mp4")),
            ("notes", None),
        ] {
            assert_eq!(find(id).unwrap().as_deref(), found, "{id}");
        }
        let told = find("960x540_1").unwrap_err();
        assert!(told.contains("`960x540_1` may be any of 2 videos: `set/HEVC/01/960x540_1.mp4`"), "{told}");
    }

    #[test]
    fn levels_of_an_encode_are_rungs_of_a_ladder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.txt");
        std::fs::write(&path, "HEVC, 1, 540p, 1, 18.21\nHEVC, 1, 540p, 2, 39.46\n").unwrap();
        let (ratings, _) = Benchmark::named("waterloo-ivc-4k").unwrap().read(&path, None).unwrap();
        let rungs: Vec<_> = ratings.rows.iter().map(|row| (row.ladder.as_deref(), row.bitrate)).collect();
        assert_eq!(rungs, [(Some("HEVC_1_540p"), Some(1.0)), (Some("HEVC_1_540p"), Some(2.0))]);
    }
}
