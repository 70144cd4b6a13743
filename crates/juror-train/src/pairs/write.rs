//! The finished set on disk: `pairs.jsonl`, `pairs.parquet` (the same rows and columns), `manifest.json`, and the pairs in the state.
//!
//! Files appear only when complete. They hold nothing of when or how fast they were made: equal sources, configuration and judges give
//! equal bytes. Clips are named relative to the folder of the set, videos as they came by their own paths (a name that is not
//! UTF-8 through a link in `originals/`).

use super::build::{SourcePlan, version_of};
use super::choose::{Labelled, Pair};
use super::clips;
use super::config::PairsConfig;
use super::plan::Role;
use super::select::Measured;
use super::sources::{self, Origin, Reject};
use super::store::Store;
use super::summary::Summary;
use crate::language::{self, Known};
use crate::panel::scale::Seat;
use anyhow::{Context, Result};
use juror::verdict::Preference;
use juror_media::measure::Measurements;
use juror_nn::rng;
use juror_stats::levels::Level;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The form of rows and manifest.
pub const SCHEMA: &str = "juror-pairs/1";
/// Rows of a group of a Parquet file.
const ROW_GROUP: usize = 65_536;

/// A row of the set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The first video.
    pub a: String,
    /// The second video.
    pub b: String,
    /// Quality of A minus quality of B, points of the five-point scale.
    pub margin: f64,
    /// Of A against B.
    pub level: String,
    /// `a`, `b` or `tie`.
    pub prefer: String,
    /// Where the label comes from: `severity`, `distortion`, `content`, `real`, `gmad`.
    pub source: String,
    /// Standard deviation behind the levels, points.
    pub sd: f64,
    /// The panel's margin, whatever severity knows.
    pub panel_margin: f64,
    /// Standard deviation of the judges' own margins.
    pub disagreement: Option<f64>,
    /// The student's margin.
    pub student_margin: Option<f64>,
    /// For hard pairs: who was held against whom; `severity against student` where the student has a known order wrong.
    pub mined: Option<String>,
    /// What was done to A: `original`, `pristine` or a chain.
    pub a_recipe: String,
    /// What was done to B.
    pub b_recipe: String,
    /// The panel's label of A, points.
    pub a_score: f64,
    /// The panel's label of B, points.
    pub b_score: f64,
    /// Its variance over the judges.
    pub a_variance: Option<f64>,
    /// Its variance over the judges.
    pub b_variance: Option<f64>,
    /// Which source A was made of: splits of a set must keep a source on one side.
    pub a_source: String,
    /// Which source B was made of.
    pub b_source: String,
    /// Of the file of A.
    pub a_sha256: String,
    /// Of the file of B.
    pub b_sha256: String,
    /// A comparison as a careful viewer would write it, where the simulators know what there is to say.
    pub text: Option<String>,
}

#[derive(Serialize)]
struct Manifest<'a> {
    schema: &'static str,
    juror: &'static str,
    config: &'a PairsConfig,
    sources: Vec<SourceEntry<'a>>,
    rejects: Vec<RejectEntry<'a>>,
    videos: Vec<VideoEntry<'a>>,
    failed: &'a [(String, String)],
    judges: &'a [Seat],
    files: Vec<FileEntry>,
}

#[derive(Serialize)]
struct SourceEntry<'a> {
    id: &'a str,
    name: &'a str,
    path: Option<String>,
    sha256: Option<&'a str>,
    scene_seed: Option<u64>,
    group: Option<&'a str>,
    licence: Option<&'a str>,
}

#[derive(Serialize)]
struct RejectEntry<'a> {
    path: String,
    kind: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct VideoEntry<'a> {
    id: &'a str,
    source: &'a str,
    recipe: String,
    seed: u64,
    path: String,
    sha256: &'a str,
    bytes: u64,
    score: f64,
    variance: Option<f64>,
    raw: &'a [Option<f64>],
}

#[derive(Serialize)]
struct FileEntry {
    path: &'static str,
    sha256: String,
}

/// Everything that a set is made of.
pub struct Set<'a> {
    /// As it was asked for.
    pub config: &'a PairsConfig,
    /// The state.
    pub store: &'a Store,
    /// Sources and their videos.
    pub plans: &'a [SourcePlan],
    /// What the panel says.
    pub labelled: &'a Labelled,
    /// The pairs.
    pub pairs: &'a [Pair],
    /// Files of no use.
    pub rejects: &'a [Reject],
    /// What files measure.
    pub measured: &'a [Measured],
    /// All of it summed up.
    pub summary: &'a Summary,
}

impl Set<'_> {
    /// Writes the set; gives its files.
    ///
    /// # Errors
    /// When the disk cannot take them; nothing half written stays.
    pub fn write(&self) -> Result<Vec<PathBuf>> {
        let Self { config, store, plans, labelled, pairs, rejects, measured, summary } = *self;
        let folder = &config.run_dir;
        let rows: Vec<Row> =
            pairs.iter().map(|pair| row(config, plans, labelled, pair)).collect::<Result<_>>()?;
        let lines: Vec<String> =
            rows.iter().map(|row| Ok(serde_json::to_string(row)?)).collect::<Result<_>>()?;
        let id = |video: usize| labelled.videos[video].id.as_str();
        store.replace_pairs(
            pairs.iter().zip(&lines).map(|(pair, line)| (id(pair.a), id(pair.b), line.clone())),
        )?;
        let jsonl = folder.join("pairs.jsonl");
        whole(&jsonl, |file| {
            for line in &lines {
                writeln!(file, "{line}")?;
            }
            Ok(())
        })?;
        let table = folder.join("pairs.parquet");
        whole(&table, |file| write_parquet(file, &rows))?;
        let sources_path = folder.join("sources.csv");
        whole(&sources_path, |file| write_measured(file, measured))?;
        let entry = |path: &'static str| -> Result<FileEntry> {
            Ok(FileEntry { path, sha256: sources::sha256_of(&folder.join(path))? })
        };
        let files = vec![entry("pairs.jsonl")?, entry("pairs.parquet")?, entry("sources.csv")?];
        let manifest = manifest(config, plans, labelled, rejects, files)?;
        let manifest_path = folder.join("manifest.json");
        whole(&manifest_path, |file| {
            serde_json::to_writer_pretty(&mut *file, &manifest)?;
            Ok(writeln!(file)?)
        })?;
        let summary_path = folder.join("summary.json");
        whole(&summary_path, |file| {
            serde_json::to_writer(&mut *file, summary)?;
            Ok(writeln!(file)?)
        })?;
        Ok(vec![jsonl, table, sources_path, manifest_path, summary_path])
    }
}

/// What every file measures, a row each; the columns of measurements are what `sources.like` reads.
fn write_measured(file: &mut BufWriter<File>, measured: &[Measured]) -> Result<()> {
    let mut table = csv::Writer::from_writer(file);
    let columns = ["file", "sha256", "used", "left_out", "pictures", "cuts", "active_share"];
    table.write_record(columns.iter().chain(&Measurements::NAMES))?;
    for entry in measured {
        let Measured { source, report, left_out } = entry;
        let path = source.input().map_or_else(String::new, |input| input.path.to_string_lossy().into_owned());
        let used = if entry.is_used() { "yes" } else { "no" };
        let mut row = vec![
            path,
            source.content_sha256().unwrap_or_default().to_owned(),
            used.to_owned(),
            left_out.clone().unwrap_or_default(),
            report.pictures.to_string(),
            report.cuts_secs.len().to_string(),
            report.active_share.to_string(),
        ];
        row.extend(report.measurements.values().map(|value| value.to_string()));
        table.write_record(&row)?;
    }
    Ok(table.flush()?)
}

/// Writes a file under another name and gives it its own when it is complete.
fn whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let part = path.with_extension("part");
    let attempt = || -> Result<()> {
        let mut file = BufWriter::new(File::create(&part)?);
        write(&mut file)?;
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(std::fs::rename(&part, path)?)
    };
    attempt().inspect_err(|_| drop(std::fs::remove_file(&part))).with_context(context)
}

fn row(config: &PairsConfig, plans: &[SourcePlan], labelled: &Labelled, pair: &Pair) -> Result<Row> {
    let (a, b) = (&labelled.videos[pair.a], &labelled.videos[pair.b]);
    let prefer = match Preference::of_margin(pair.margin) {
        Preference::A => "a",
        Preference::B => "b",
        Preference::Tie => "tie",
    };
    let mined = pair.mined.clone().or_else(|| pair.is_hard().then(|| "severity against student".to_owned()));
    Ok(Row {
        a: path_of(config, plans, labelled, pair.a)?,
        b: path_of(config, plans, labelled, pair.b)?,
        margin: pair.margin,
        level: pair.level.word().into(),
        prefer: prefer.into(),
        source: pair.source.name().into(),
        sd: pair.panel.sd,
        panel_margin: pair.panel.margin,
        disagreement: pair.panel.disagreement,
        student_margin: pair.student_margin,
        mined,
        a_recipe: a.planned(plans).recipe(),
        b_recipe: b.planned(plans).recipe(),
        a_score: a.label.mean,
        b_score: b.label.mean,
        a_variance: a.label.variance,
        b_variance: b.label.variance,
        a_source: plans[a.source].source.id.clone(),
        b_source: plans[b.source].source.id.clone(),
        a_sha256: a.facts.sha256.clone(),
        b_sha256: b.facts.sha256.clone(),
        text: config.choice.texts.then(|| text(config, plans, labelled, pair)).flatten(),
    })
}

/// Where a reader of the set finds a video.
fn path_of(config: &PairsConfig, plans: &[SourcePlan], labelled: &Labelled, video: usize) -> Result<String> {
    let video = &labelled.videos[video];
    let planned = video.planned(plans);
    let (Role::Original, Some(input)) = (&planned.role, plans[video.source].source.input()) else {
        return Ok(clips::relative(&planned.id));
    };
    if let Some(path) = input.path.to_str() {
        return Ok(path.to_owned());
    }
    let extension = input.path.extension().and_then(|e| e.to_str()).unwrap_or("video");
    let relative = format!("originals/{}.{extension}", video.facts.sha256);
    link(&input.path, &config.run_dir.join(&relative))?;
    Ok(relative)
}

#[cfg(unix)]
fn link(target: &Path, place: &Path) -> Result<()> {
    let context = || format!("cannot link {}", place.display());
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder).with_context(context)?;
    }
    if place.symlink_metadata().is_ok() {
        std::fs::remove_file(place).with_context(context)?;
    }
    std::os::unix::fs::symlink(std::path::absolute(target)?, place).with_context(context)
}

#[cfg(not(unix))]
fn link(target: &Path, place: &Path) -> Result<()> {
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::copy(target, place).map(|_| ()).with_context(|| format!("cannot copy to {}", place.display()))
}

/// The written comparison, where every step of both videos has a phrase.
fn text(config: &PairsConfig, plans: &[SourcePlan], labelled: &Labelled, pair: &Pair) -> Option<String> {
    let version = |video: usize| match &labelled.videos[video].planned(plans).role {
        Role::Original => None,
        Role::Pristine => Some(version_of(&juror_media::distort::Chain::default())),
        Role::Distorted { chain, .. } => {
            let has_phrase = |d: &juror_media::distort::Distortion| {
                d.kind().is_codec() || juror_lmm::nano::kind_index(d.kind().name()).is_some()
            };
            chain.distortions().iter().all(has_phrase).then(|| version_of(chain))
        }
    };
    let (version_a, version_b) = (version(pair.a)?, version(pair.b)?);
    let (a, b) = (&labelled.videos[pair.a], &labelled.videos[pair.b]);
    let known = |version, video: &super::choose::Video| {
        let (visual, temporal) = (video.facts.visual?, video.facts.temporal?);
        Some(Known { version, hold_centre: video.facts.hold_centre, visual, temporal })
    };
    // The answer is the row's level, which is not always that of juror's fixed distances.
    let margin = match pair.level {
        Level::Inferior => -2.0,
        Level::Worse => -0.5,
        Level::Similar => 0.0,
        Level::Better => 0.5,
        Level::Superior => 2.0,
    };
    let mut rng = rng::stream(rng::derive_named(config.seed, &format!("{} {}", a.id, b.id)), &[6]);
    Some(language::comparison(&known(&version_a, a)?, &known(&version_b, b)?, margin, &mut rng))
}

fn manifest<'a>(
    config: &'a PairsConfig,
    plans: &'a [SourcePlan],
    labelled: &'a Labelled,
    rejects: &'a [Reject],
    files: Vec<FileEntry>,
) -> Result<Manifest<'a>> {
    let sources = plans
        .iter()
        .map(|plan| {
            let input = plan.source.input();
            SourceEntry {
                id: &plan.source.id,
                name: &plan.source.name,
                path: input.map(|input| input.path.to_string_lossy().into_owned()),
                sha256: plan.source.content_sha256(),
                scene_seed: match plan.source.origin {
                    Origin::Scene(seed) => Some(seed),
                    Origin::File { .. } => None,
                },
                group: input.and_then(|input| input.group.as_deref()),
                licence: match &plan.source.origin {
                    Origin::Scene(_) => Some("rendered by juror, free of rights"),
                    Origin::File { input, .. } => input.licence.as_deref(),
                },
            }
        })
        .collect();
    let videos = labelled
        .videos
        .iter()
        .enumerate()
        .map(|(index, video)| {
            let planned = video.planned(plans);
            Ok(VideoEntry {
                id: &video.id,
                source: &plans[video.source].source.id,
                recipe: planned.recipe(),
                seed: planned.seed,
                path: path_of(config, plans, labelled, index)?,
                sha256: &video.facts.sha256,
                bytes: video.facts.bytes,
                score: video.label.mean,
                variance: video.label.variance,
                raw: &video.raw,
            })
        })
        .collect::<Result<_>>()?;
    let rejects = rejects
        .iter()
        .map(|reject| RejectEntry {
            path: reject.path.to_string_lossy().into_owned(),
            kind: reject.kind,
            reason: &reject.reason,
        })
        .collect();
    Ok(Manifest {
        schema: SCHEMA,
        juror: juror::VERSION,
        config,
        sources,
        rejects,
        videos,
        failed: &labelled.failed,
        judges: &labelled.seats,
        files,
    })
}

/// A column of the Parquet file.
enum Column {
    Text(&'static str, fn(&Row) -> Option<&str>),
    Number(&'static str, fn(&Row) -> Option<f64>),
}

/// The columns, named and ordered as in the JSON lines.
const COLUMNS: [Column; 22] = [
    Column::Text("a", |row| Some(&row.a)),
    Column::Text("b", |row| Some(&row.b)),
    Column::Number("margin", |row| Some(row.margin)),
    Column::Text("level", |row| Some(&row.level)),
    Column::Text("prefer", |row| Some(&row.prefer)),
    Column::Text("source", |row| Some(&row.source)),
    Column::Number("sd", |row| Some(row.sd)),
    Column::Number("panel_margin", |row| Some(row.panel_margin)),
    Column::Number("disagreement", |row| row.disagreement),
    Column::Number("student_margin", |row| row.student_margin),
    Column::Text("mined", |row| row.mined.as_deref()),
    Column::Text("a_recipe", |row| Some(&row.a_recipe)),
    Column::Text("b_recipe", |row| Some(&row.b_recipe)),
    Column::Number("a_score", |row| Some(row.a_score)),
    Column::Number("b_score", |row| Some(row.b_score)),
    Column::Number("a_variance", |row| row.a_variance),
    Column::Number("b_variance", |row| row.b_variance),
    Column::Text("a_source", |row| Some(&row.a_source)),
    Column::Text("b_source", |row| Some(&row.b_source)),
    Column::Text("a_sha256", |row| Some(&row.a_sha256)),
    Column::Text("b_sha256", |row| Some(&row.b_sha256)),
    Column::Text("text", |row| row.text.as_deref()),
];

fn write_parquet(file: &mut BufWriter<File>, rows: &[Row]) -> Result<()> {
    let mut fields = Vec::new();
    for column in &COLUMNS {
        let field = match column {
            Column::Text(name, _) => Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
                .with_logical_type(Some(LogicalType::String)),
            Column::Number(name, _) => Type::primitive_type_builder(name, Physical::DOUBLE),
        };
        fields.push(Arc::new(field.with_repetition(Repetition::OPTIONAL).build()?));
    }
    let schema = Arc::new(Type::group_type_builder("pairs").with_fields(fields).build()?);
    let properties = WriterProperties::builder().set_created_by(format!("juror {}", juror::VERSION)).build();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
    for rows in rows.chunks(ROW_GROUP) {
        let mut group = writer.next_row_group()?;
        for column in &COLUMNS {
            let mut out = group.next_column()?.context("the schema has fewer columns than the rows")?;
            match column {
                Column::Text(_, of) => {
                    let present: Vec<i16> = rows.iter().map(|row| i16::from(of(row).is_some())).collect();
                    let values: Vec<ByteArray> = rows.iter().filter_map(of).map(ByteArray::from).collect();
                    out.typed::<ByteArrayType>().write_batch(&values, Some(&present), None)?;
                }
                Column::Number(_, of) => {
                    let present: Vec<i16> = rows.iter().map(|row| i16::from(of(row).is_some())).collect();
                    let values: Vec<f64> = rows.iter().filter_map(of).collect();
                    out.typed::<DoubleType>().write_batch(&values, Some(&present), None)?;
                }
            }
            out.close()?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    fn example(margin: f64, text: Option<&str>) -> Row {
        serde_json::from_value(serde_json::json!({
            "a": "clips/aa/a.mp4", "b": "b \"quoted\"\n.mp4", "margin": margin, "level": "better", "prefer": "a",
            "source": "severity", "sd": 0.3, "panel_margin": 0.1, "a_recipe": "pristine", "b_recipe": "h264:2",
            "a_score": 4.0, "b_score": 3.5, "a_source": "s", "b_source": "s", "a_sha256": "1", "b_sha256": "2",
            "text": text,
        }))
        .expect("a row")
    }

    #[test]
    fn parquet_holds_what_the_lines_hold() {
        let rows = [example(0.1 + 0.2, None), example(-1.5, Some("<think>…</think>"))];
        let file = tempfile::NamedTempFile::new().expect("a file");
        whole(file.path(), |file| write_parquet(file, &rows)).expect("written");
        let reader = SerializedFileReader::new(File::open(file.path()).expect("there")).expect("Parquet");
        let names: Vec<String> = (reader.metadata().file_metadata().schema().get_fields().iter())
            .map(|field| field.name().to_owned())
            .collect();
        let keys: Vec<String> = serde_json::to_value(&rows[0])
            .expect("JSON")
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        assert_eq!(names, keys, "the columns of the JSON lines");
        let read: Vec<_> = reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row")).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].get_double(2).expect("margin"), 0.1 + 0.2);
        assert_eq!(read[1].get_string(1).expect("b"), "b \"quoted\"\n.mp4");
        assert!(read[0].get_string(21).is_err(), "null");
        assert_eq!(read[1].get_string(21).expect("text"), "<think>…</think>");
    }

    #[test]
    fn a_write_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("pairs.jsonl");
        whole(&place, |file| Ok(writeln!(file, "old")?)).expect("written");
        assert!(whole(&place, |_| anyhow::bail!("the disk is full")).is_err());
        assert_eq!(std::fs::read_to_string(&place).expect("there"), "old\n");
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1);
    }
}
