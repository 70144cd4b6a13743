//! Public benchmarks: what their label files are called and hold, so that a published table runs from a folder of videos.
//!
//! Nothing of the sets is shipped, neither videos nor ratings. A label file is read in whichever of these forms it is:
//! - *annotations*: `{"annotations": [{"image_id": "A0023_01.mp4", "score": "43.9"}, ...]}`, as the published evaluation of
//!   VQAThinker and W2S-VQA has them for every set;
//! - *list*: no header, the video first and its rating last (`Video/A001.mp4, 10.0, 30.0, 80.232`), as that of FAST-VQA and
//!   DOVER; Waterloo's own `encoder, video, resolution, level, rating` is one too;
//! - *table*: CSV with a header, as KoNViD-1k (`flickr_id,mos`), LSVQ (`name`, `mos`, `is_test`), KVQ (`filename,score`) and
//!   the sheet `MOS` of YouTube-UGC saved as CSV (`vid`, `MOS full`).
//!
//! MATLAB files are not read. Ids are taken for file names with or without folder and extension. Counts and ranges of the
//! ratings are those of the label files behind the published tables; other ones are told, not refused.

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
            &["LSVQ_whole_test_ds_score.json", "labels_train_test.csv", "labels_test.txt"],
            7182,
            [8.47, 91.03],
        )
    },
    benchmark(
        "lsvq-1080p",
        "LSVQ-1080p",
        &["LSVQ_whole_test_1080p_ds_score.json", "labels_test_1080p.csv", "labels_1080p.txt"],
        3573,
        [17.72, 91.42],
    ),
    benchmark(
        "konvid-1k",
        "KoNViD-1k",
        &["Konvid-1k_total_ds_score.json", "KoNViD_1k_mos.csv"],
        1200,
        [24.4, 92.8],
    ),
    benchmark("live-vqc", "LIVE-VQC", &["LIVE-VQC_total_ds_score.json"], 585, [6.22, 94.29]),
    Benchmark {
        endings: &["_crf_10_ss_00_t_20.0"],
        ..benchmark(
            "youtube-ugc",
            "YouTube-UGC",
            &["youtube_ugc_total.json", "original_videos_MOS_for_YouTube_UGC_dataset.csv"],
            1020,
            [1.24, 4.68],
        )
    },
    benchmark("live-yt-gaming", "LIVE-YT-Gaming", &["LIVE-YT-Gaming_total_score.json"], 600, [4.53, 95.95]),
    benchmark("cgvds", "CGVDS", &["CGVDS_total_score.json"], 357, [1.71, 6.06]),
    benchmark("live-yt-hfr", "LIVE-YT-HFR", &["live_hfr_total_score.json"], 480, [10.36, 73.94]),
    benchmark(
        "waterloo-ivc-4k",
        "Waterloo-IVC-4K",
        &["Waterloo_IVC_4K_total_score.json", "Waterloo_IVC_4K_total_score2.json", "scores.txt"],
        1200,
        [0.74, 97.59],
    ),
    benchmark("vdpve", "VDPVE", &["VDPVE_train_score.json"], 839, [19.89, 84.42]),
    benchmark("kvq", "KVQ", &["kvq_train_score.json", "train_data.csv"], 2926, [1.0, 5.0]),
];

/// Columns of tables that name the video, and that hold its rating: the first that is there counts.
const VIDEO_COLUMNS: [&str; 7] = ["video", "flickr_id", "vid", "name", "filename", "file_name", "video_name"];
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
        let known = folder.map(Index::of).unwrap_or_default();
        for row in &mut ratings.rows {
            row.video = known.find(&row.video, self.endings).unwrap_or_else(|| with_extension(&row.video));
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
        let last_cell = first.rsplit(',').next().unwrap_or_default().trim();
        let pairs = if text.trim_start().starts_with('{') && text.contains("\"annotations\"") {
            annotations(text, path)?
        } else if first.contains(',') && last_cell.parse::<f64>().is_ok() {
            list(text, path)?
        } else {
            return self.table(first, path);
        };
        let mut rows = Vec::with_capacity(pairs.len());
        let mut places: HashMap<String, Place> = HashMap::new();
        for (place, video, mos) in pairs {
            if let Some(earlier) = places.insert(video.clone(), place) {
                let what = format!("`{video}` stands at {earlier} already");
                return Err(Error::Row { place, what, path: path.to_owned() });
            }
            rows.push(Rating::of(video, mos));
        }
        if rows.is_empty() {
            return Err(unreadable("it rates no video".to_owned()));
        }
        Ok(Ratings { path: path.to_owned(), rows })
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
fn annotations(text: &str, path: &Path) -> Result<Vec<(Place, String, f64)>, Error> {
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
        pairs.push((place, video.to_owned(), rating(&score).map_err(wrong)?));
    }
    Ok(pairs)
}

/// Lines without a header: the video first, its rating last; what comes between is passed over, but for Waterloo's, where it is
/// part of the name.
fn list(text: &str, path: &Path) -> Result<Vec<(Place, String, f64)>, Error> {
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = Place::Line(index as u64 + 1);
        let wrong = |what: String| Error::Row { place, what, path: path.to_owned() };
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let [video, .., score] = &cells[..] else {
            return Err(wrong("a video and its rating are needed, with commas between".to_owned()));
        };
        if video.is_empty() {
            return Err(wrong("the video is missing".to_owned()));
        }
        let video = match &cells[..] {
            [encoder, number, size, level, _] => format!("{encoder}_{number}_{size}_{level}"),
            _ => (*video).to_owned(),
        };
        pairs.push((place, video, rating(score).map_err(wrong)?));
    }
    Ok(pairs)
}

fn rating(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("the rating is `{text}`; a finite number is needed")),
    }
}

/// The videos below a folder, by all that an id may be.
#[derive(Default)]
struct Index(HashMap<String, String>);

impl Index {
    fn of(folder: &Path) -> Self {
        let mut index = HashMap::new();
        let files = files_below(folder);
        for file in files.iter().filter(|file| extension_of(&file.to_string_lossy()).is_some()) {
            let path = file.to_string_lossy().into_owned();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for key in [path.clone(), name] {
                let stem = stem(&key).to_owned();
                // The first by name counts: whole paths tell equal names in several folders apart.
                index.entry(key).or_insert_with(|| path.clone());
                index.entry(stem).or_insert_with(|| path.clone());
            }
        }
        Self(index)
    }

    fn find(&self, id: &str, endings: &[&str]) -> Option<String> {
        let name = id.rsplit('/').next().unwrap_or(id);
        let plain = [id, stem(id), name, stem(name)].map(str::to_owned);
        let ended = endings.iter().map(|ending| stem(name).to_owned() + ending);
        plain.into_iter().chain(ended).find_map(|key| self.0.get(&key)).cloned()
    }
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
                &[("HEVC_1_540p_1.mp4", 18.21), ("HEVC_1_540p_2.mp4", 39.46)],
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
        let index = Index::of(folder.path());
        let endings = Benchmark::named("youtube-ugc").unwrap().endings;
        for (id, found) in [
            ("Video/A001.mp4", Some("deep/A001.mp4")),
            ("A001", Some("deep/A001.mp4")),
            ("x", Some("deep/er/x_crf_10_ss_00_t_20.0.mkv")),
            ("7.0", Some("7.webm")),
            ("notes", None),
        ] {
            assert_eq!(index.find(id, endings).as_deref(), found, "{id}");
        }
    }
}
