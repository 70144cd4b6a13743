//! Files of ratings and of scores, checked once: after they are read nothing about a single file can be wrong.
//!
//! Ratings: `video`, `mos`, and where known `std`, `votes`, `group`, `ladder`, `bitrate`; with `observer` each row is the opinion of
//! one (module `opinions`). Scores: `video`, `score`, or the
//! records of `juror score`, of which failures count as absent. Other columns are passed over.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::opinions::Opinions;
use super::table::{self, Place, Row};

/// What people said of one video.
#[derive(Debug, Clone, PartialEq)]
pub struct Rating {
    /// Which video.
    pub video: String,
    /// Mean opinion score, on any scale where more is better.
    pub mos: f64,
    /// Standard deviation of the opinions, 0 or more.
    pub std: Option<f64>,
    /// Number of opinions, 1 or more.
    pub votes: Option<f64>,
    /// The set the video belongs to.
    pub group: Option<String>,
    /// The bitrate ladder the video is a rung of.
    pub ladder: Option<String>,
    /// Its bitrate, above 0; in any unit, the same throughout a ladder.
    pub bitrate: Option<f64>,
}

impl Rating {
    /// A rating of which no more is known.
    pub(super) fn of(video: String, mos: f64) -> Self {
        Self { video, mos, std: None, votes: None, group: None, ladder: None, bitrate: None }
    }
}

/// One who rated, as ITU-T P.910 models observers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observer {
    /// Name.
    pub observer: String,
    /// Number of ratings.
    pub ratings: usize,
    /// By how much the ratings lie above those of all, points.
    pub bias: f64,
    /// Standard deviation of the ratings around quality plus bias, points.
    pub inconsistency: f64,
}

/// What the columns of a file of ratings are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatingColumns {
    /// The names, in the order of [`RatingColumns::KEYS`].
    names: [String; 8],
    /// What follows an id to make it the name of a video.
    suffix: String,
    /// The only rows that count: a column, and its value whatever the case of its letters.
    only: Option<(String, String)>,
}

impl Default for RatingColumns {
    fn default() -> Self {
        Self::with_suffix(String::new())
    }
}

impl RatingColumns {
    /// What is read, and the names unless they are changed.
    pub const KEYS: [&'static str; 8] =
        ["video", "mos", "std", "votes", "group", "ladder", "bitrate", "observer"];

    /// The usual names; `suffix` (`.mp4`) makes an id the name of a video.
    pub fn with_suffix(suffix: String) -> Self {
        Self { names: Self::KEYS.map(str::to_owned), suffix, only: None }
    }

    /// Passes over rows whose `column` is not `value`.
    pub(super) fn only_where(self, column: &str, value: &str) -> Self {
        Self { only: Some((column.to_owned(), value.to_owned())), ..self }
    }

    /// Reads `key` from the column `name`; `false` for a key that is none of [`RatingColumns::KEYS`].
    pub fn rename(&mut self, key: &str, name: &str) -> bool {
        let place = Self::KEYS.iter().position(|known| *known == key);
        if let Some(place) = place {
            self.names[place] = name.to_owned();
        }
        place.is_some()
    }
}

/// A file of ratings: at least one, no video twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratings {
    /// The file.
    pub path: PathBuf,
    /// One for each video, in the order of the file.
    pub rows: Vec<Rating>,
    /// Those who rated, where the file tells them apart.
    pub observers: Vec<Observer>,
}

impl Ratings {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`Error`]: every message has the place and the path.
    pub fn read(path: &Path, columns: &RatingColumns) -> Result<Self, Error> {
        let [video, mos, std, votes, group, ladder, bitrate, observer] = &columns.names;
        let (mut rows, mut observers) = (Vec::new(), Vec::new());
        let mut opinions = Opinions::default();
        let mut ids = Ids::default();
        table::read(path, &[&[video], &[mos]], &mut |row| {
            if let Some((column, value)) = &columns.only
                && row.text(column).is_none_or(|cell| !cell.eq_ignore_ascii_case(value))
            {
                return Ok(());
            }
            let by = row.text(observer);
            let id = match by {
                Some(_) => row.text(video).ok_or_else(|| row.wrong(format!("`{video}` is missing")))?,
                None => ids.take(row, video, row.text(video))?,
            };
            let at_least = |column: &str, least: f64| match row.number(column)? {
                Some(number) if number < least => {
                    Err(row.wrong(format!("`{column}` is {number}; allowed is {least} or more")))
                }
                number => Ok(number),
            };
            let rate = row.number(bitrate)?;
            if let Some(rate) = rate.filter(|&rate| rate <= 0.0) {
                return Err(row.wrong(format!("`{bitrate}` is {rate}; allowed is above 0")));
            }
            let rating = Rating {
                video: id + &columns.suffix,
                mos: row.needed_number(mos)?,
                std: at_least(std, 0.0)?,
                votes: at_least(votes, 1.0)?,
                group: row.text(group),
                ladder: row.text(ladder),
                bitrate: rate,
            };
            match by {
                Some(_) if !rows.is_empty() => {
                    Err(row.wrong(format!("`{observer}` stands here, but not above")))
                }
                Some(by) => opinions.add(row, by, rating),
                None if !opinions.is_empty() => Err(row.wrong(format!("`{observer}` is missing"))),
                None => {
                    rows.push(rating);
                    Ok(())
                }
            }
        })?;
        if !opinions.is_empty() {
            (rows, observers) = opinions.recovered(path)?;
        }
        if rows.is_empty() {
            return Err(Error::Unreadable { reason: "it rates no video".to_owned(), path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), rows, observers })
    }
}

/// Where scores come from, and what they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The file; the folder of the videos where the model scored them.
    pub path: PathBuf,
    /// The videos, none twice.
    pub videos: Vec<String>,
    /// Their scores, finite.
    pub values: Vec<f64>,
}

/// A column of a file of scores, and its weight in a sum.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreColumn {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub weight: f64,
}

impl Scores {
    /// Reads a file. A single column is taken as it is; several are standardised over the file (mean 0, deviation 1) and
    /// summed by their weights, as the branches of DOVER are (arXiv 2211.04894).
    ///
    /// # Errors
    /// See [`Error`]: every message has the place and the path.
    pub fn read(path: &Path, columns: &[ScoreColumn]) -> Result<Self, Error> {
        let mut videos = Vec::new();
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); columns.len()];
        let mut ids = Ids::default();
        let mut needed: Vec<Vec<&str>> = vec![vec!["video", "video.path"]];
        needed.extend(columns.iter().map(|column| vec![column.name.as_str()]));
        let needed: Vec<&[&str]> = needed.iter().map(Vec::as_slice).collect();
        table::read(path, &needed, &mut |row| {
            if row.text("type").as_deref() == Some("error") {
                return Ok(());
            }
            videos.push(ids.take(row, "video", row.text("video").or_else(|| row.text("video.path")))?);
            for (values, column) in values.iter_mut().zip(columns) {
                values.push(row.needed_number(&column.name)?);
            }
            Ok(())
        })?;
        if videos.is_empty() {
            return Err(Error::Unreadable { reason: "it scores no video".to_owned(), path: path.to_owned() });
        }
        let values = match &mut values[..] {
            [single] => std::mem::take(single),
            several => weighted_sum(several, columns, path)?,
        };
        Ok(Self { path: path.to_owned(), videos, values })
    }

    /// The same scores with the paths of videos below `folder` taken relative to it.
    pub fn relative_to(mut self, folder: &Path) -> Self {
        for video in &mut self.videos {
            if let Ok(relative) = Path::new(video.as_str()).strip_prefix(folder) {
                *video = relative.to_string_lossy().into_owned();
            }
        }
        self
    }
}

fn weighted_sum(values: &[Vec<f64>], columns: &[ScoreColumn], path: &Path) -> Result<Vec<f64>, Error> {
    let mut sum = vec![0.0; values.first().map_or(0, Vec::len)];
    for (values, column) in values.iter().zip(columns) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
        if deviation == 0.0 {
            let (what, value) = (format!("values of `{}`", column.name), values[0]);
            return Err(Error::Constant { what, count: values.len(), value, path: path.to_owned() });
        }
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum += column.weight * (value - mean) / deviation;
        }
    }
    Ok(sum)
}

/// The ids met so far, and where.
#[derive(Default)]
struct Ids(HashMap<String, Place>);

impl Ids {
    fn take(&mut self, row: &Row<'_>, column: &str, id: Option<String>) -> Result<String, Error> {
        let id = id.ok_or_else(|| row.wrong(format!("`{column}` is missing")))?;
        match self.0.insert(id.clone(), row.place) {
            None => Ok(id),
            Some(first) => Err(row.wrong(format!("`{id}` stands at {first} already"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    fn scores(text: &str, columns: &[(&str, f64)]) -> Result<(Vec<String>, Vec<f64>), String> {
        let columns: Vec<_> =
            columns.iter().map(|&(name, weight)| ScoreColumn { name: name.to_owned(), weight }).collect();
        let file = file(text);
        let told = |error: Error| error.to_string().replace(file.path().to_str().unwrap(), "FILE");
        Scores::read(file.path(), &columns).map(|read| (read.videos, read.values)).map_err(told)
    }

    const SCORE: &[(&str, f64)] = &[("score", 1.0)];

    #[test]
    fn all_forms_hold_the_same_scores() {
        let expected = Ok((vec!["a.mp4".to_owned(), "b, c.mp4".to_owned()], vec![3.5, -2.0]));
        for text in [
            "video,score\na.mp4,3.5\n\"b, c.mp4\",-2\n",
            "\u{feff}score, video ,note\r\n3.5, a.mp4 ,x\r\n-2,\"b, c.mp4\",\r\n",
            "{\"video\":\"a.mp4\",\"score\":3.5}\n{\"video\":\"b, c.mp4\",\"score\":-2}\n",
            "[{\"video\":\"a.mp4\",\"score\":3.5},{\"score\":-2,\"video\":\"b, c.mp4\"}]",
            "{\"type\":\"error\",\"path\":\"x\"}{\"video\":{\"path\":\"a.mp4\"},\"score\":3.5}\n\n{\n\"video\":{\"path\":\"b, c.mp4\"},\"score\":-2}",
            "type,video.path,score\nscore,a.mp4,3.5\nerror,x.mp4,\nscore,\"b, c.mp4\",-2",
        ] {
            assert_eq!(scores(text, SCORE), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, message) in [
            ("", "cannot be read: it is empty: FILE"),
            ("video,score\n", "cannot be read: it scores no video: FILE"),
            ("video,mos\na,1\n", "line 1: the header has no column `score`; it has video, mos: FILE"),
            ("video,score,score\na,1,1\n", "line 1: the header has the column `score` twice: FILE"),
            ("video,score\na,1\nb,high\n", "line 3: `score` is `high`; a finite number is needed: FILE"),
            ("video,score\na,1\nb,inf\n", "line 3: `score` is `inf`; a finite number is needed: FILE"),
            ("video,score\na,1\n\nb,\n", "line 4: `score` is missing; a finite number is needed: FILE"),
            (
                "video,score\r\n\"a\n\",1\r\n\r\nb,x\r\n",
                "line 5: `score` is `x`; a finite number is needed: FILE",
            ),
            ("video,score\na,1\n,2\n", "line 3: `video` is missing: FILE"),
            ("video,score\na,1\nb,2\na,3\n", "line 4: `a` stands at line 2 already: FILE"),
            ("video,score\na,1,2\n", "line 2: 3 cells where the header has 2: FILE"),
            ("{\"video\":\"a\"}\n", "line 1: `score` is missing; a finite number is needed: FILE"),
            (
                "[{\"video\":\"a\",\"score\":1},{\"video\":\"a\",\"score\":2}]",
                "entry 2: `a` stands at entry 1 already: FILE",
            ),
        ] {
            assert_eq!(scores(text, SCORE).unwrap_err(), message);
        }
        let broken = scores("{\"video\":\"a\",\"score\":1}\n{\"video\":\n", SCORE).unwrap_err();
        assert!(broken.starts_with("line 3: not a JSON object: EOF"), "{broken}");
    }

    #[test]
    fn several_columns_are_standardised_and_summed() {
        let (_, sum) = scores("video,p,q\na,0,10\nb,2,30\n", &[("p", 0.25), ("q", 0.5)]).unwrap();
        assert_eq!(sum, [-0.75, 0.75]);
        let constant = scores("video,p,q\na,0,10\nb,2,10\n", &[("p", 0.25), ("q", 0.5)]).unwrap_err();
        assert!(constant.starts_with("all 2 values of `q` are 10"), "{constant}");
    }

    #[test]
    fn optional_columns_of_ratings_are_checked() {
        let read = |text: &str| Ratings::read(file(text).path(), &RatingColumns::default());
        let ratings = read("video,mos,std,votes,group\na,3,0.5,20,x\nb,4,,,\n").unwrap();
        assert_eq!((ratings.rows[0].std, ratings.rows[0].votes), (Some(0.5), Some(20.0)));
        assert_eq!((ratings.rows[1].std, &ratings.rows[1].group), (None, &None));
        // Two observers half a point to either side of the quality, and so of one another by one.
        let single = read("mos,observer,video\n2.5,x,a\n3.5,y,a\n3.5,x,b\n4.5,y,b\n").unwrap();
        let qualities: Vec<f64> = single.rows.iter().map(|row| row.mos).collect();
        assert!((qualities[0] - 3.0).abs() < 1e-9 && (qualities[1] - 4.0).abs() < 1e-9, "{qualities:?}");
        assert!((single.observers[0].bias + 0.5).abs() < 1e-9 && single.observers[1].ratings == 2);
        assert_eq!(single.rows[0].votes, Some(2.0));
        let mut columns = RatingColumns::with_suffix(".mp4".to_owned());
        assert!(columns.rename("video", "flickr_id") && columns.rename("mos", "MOS"));
        assert!(!columns.rename("score", "MOS"));
        let named = Ratings::read(file("flickr_id,x,MOS\n17,0,3.5\n").path(), &columns).unwrap();
        assert_eq!((named.rows[0].video.as_str(), named.rows[0].mos), ("17.mp4", 3.5));
        for (text, problem) in [
            ("video,mos,std\na,3,-1\n", "`std` is -1; allowed is 0 or more"),
            ("video,mos,votes\na,3,0\n", "`votes` is 0; allowed is 1 or more"),
            ("video,mos,bitrate\na,3,0\n", "`bitrate` is 0; allowed is above 0"),
            ("video,mos\na,nan\n", "`mos` is `nan`; a finite number is needed"),
            ("video,mos,observer\na,3,x\na,4,x\n", "line 3: `x` rated `a` at line 2 already"),
            ("video,mos,observer\na,3,x\nb,4,\n", "line 3: `observer` is missing"),
            ("video,mos,observer\na,3,\nb,4,x\n", "line 3: `observer` stands here, but not above"),
            ("video,mos,observer\na,3,x\nb,4,y\n", "fall into 2 groups that rated no video in common"),
        ] {
            assert!(read(text).unwrap_err().to_string().contains(problem), "{text}");
        }
    }
}
