//! Rows of named cells, from CSV with a header, JSON lines, or a JSON array.
//!
//! Which of them a file is shows at its first character. Dotted names (`video.path`) reach into nested JSON objects,
//! and are column names of CSV as they stand. An empty cell and `null` count as absent.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use csv::StringRecord;
use serde_json::{Map, Value};

use super::Error;

/// Where a row stands, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Line of the file, from 1.
    Line(u64),
    /// Entry of a JSON array, from 1.
    Entry(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Entry(number) => write!(f, "entry {number}"),
        }
    }
}

/// One row.
pub(crate) struct Row<'a> {
    pub place: Place,
    path: &'a Path,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Csv { columns: &'a HashMap<String, usize>, record: &'a StringRecord },
    Json(&'a Map<String, Value>),
}

impl Row<'_> {
    /// A cell as text; `None` where it is absent or no scalar.
    pub fn text(&self, column: &str) -> Option<String> {
        match &self.cells {
            Cells::Csv { columns, record } => {
                let cell = record.get(*columns.get(column)?)?;
                (!cell.is_empty()).then(|| cell.to_owned())
            }
            Cells::Json(object) => {
                let mut value = object.get(column);
                if let (None, Some((outer, inner))) = (value, column.split_once('.')) {
                    value = object.get(outer).and_then(|nested| nested.get(inner));
                }
                match value? {
                    Value::String(text) if text.is_empty() => None,
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    Value::Bool(yes) => Some(yes.to_string()),
                    Value::Null | Value::Array(_) | Value::Object(_) => None,
                }
            }
        }
    }

    /// A cell as a number; `None` where it is absent.
    ///
    /// # Errors
    /// A cell that is no finite number.
    pub fn number(&self, column: &str) -> Result<Option<f64>, Error> {
        let Some(text) = self.text(column) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.wrong(format!("`{column}` is `{text}`; a finite number is needed"))),
        }
    }

    /// A number that must be there.
    ///
    /// # Errors
    /// A cell that is absent or no finite number.
    pub fn needed_number(&self, column: &str) -> Result<f64, Error> {
        self.number(column)?
            .ok_or_else(|| self.wrong(format!("`{column}` is missing; a finite number is needed")))
    }

    /// An error about this row.
    pub fn wrong(&self, what: String) -> Error {
        Error::Row { place: self.place, what, path: self.path.to_owned() }
    }
}

/// Shows `visit` every row of the file at `path`. A CSV header must have one of each of the `needed` sets of columns.
///
/// # Errors
/// A file that cannot be read, is empty or is neither CSV nor JSON; a header without a needed column; what `visit`
/// finds wrong.
pub(crate) fn read(
    path: &Path,
    needed: &[&[&str]],
    visit: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let bytes = std::fs::read(path)
        .map_err(|reason| Error::Unreadable { reason: reason.to_string(), path: path.to_owned() })?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(Error::Unreadable { reason: "it is empty".to_owned(), path: path.to_owned() }),
        Some(b'{') => json_lines(path, bytes, visit),
        Some(b'[') => json_array(path, bytes, visit),
        Some(_) => comma_separated(path, bytes, needed, visit),
    }
}

fn comma_separated(
    path: &Path,
    bytes: &[u8],
    needed: &[&[&str]],
    visit: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let broken = |error: csv::Error| {
        let place = Lines::default().of(bytes, error.position().map_or(0, csv::Position::byte));
        Error::Row { place, what: csv_problem(&error), path: path.to_owned() }
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(broken)?.clone();
    let wrong_header = |what: String| Error::Row { place: Place::Line(1), what, path: path.to_owned() };
    let mut columns = HashMap::new();
    for (index, name) in header.iter().enumerate() {
        if columns.insert(name.to_owned(), index).is_some() {
            return Err(wrong_header(format!("the header has the column `{name}` twice")));
        }
    }
    for names in needed {
        if !names.iter().any(|name| columns.contains_key(*name)) {
            let has = header.iter().collect::<Vec<_>>().join(", ");
            return Err(wrong_header(format!("the header has no column `{}`; it has {has}", names[0])));
        }
    }
    let (mut record, mut lines) = (StringRecord::new(), Lines::default());
    while reader.read_record(&mut record).map_err(broken)? {
        let place = lines.of(bytes, record.position().map_or(0, csv::Position::byte));
        visit(&Row { place, path, cells: Cells::Csv { columns: &columns, record: &record } })?;
    }
    Ok(())
}

/// What is wrong, without the place, which the message has already.
fn csv_problem(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cells where the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "text that is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// Counts lines as a file is read on.
#[derive(Default)]
struct Lines {
    breaks: u64,
    counted: usize,
}

impl Lines {
    /// The line of what follows the blanks at `byte`, which lies no earlier than the last one asked for.
    fn of(&mut self, bytes: &[u8], byte: u64) -> Place {
        let from = (byte as usize).clamp(self.counted, bytes.len());
        let blanks = bytes[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let begin = from + blanks;
        self.breaks += bytes[self.counted..begin].iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.counted = begin;
        Place::Line(self.breaks + 1)
    }
}

fn json_lines(
    path: &Path,
    bytes: &[u8],
    visit: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<Map<String, Value>>();
    let mut lines = Lines::default();
    loop {
        let place = lines.of(bytes, stream.byte_offset() as u64);
        let Some(object) = stream.next() else { return Ok(()) };
        let object = object.map_err(|error| broken_json(path, &error))?;
        visit(&Row { place, path, cells: Cells::Json(&object) })?;
    }
}

fn json_array(
    path: &Path,
    bytes: &[u8],
    visit: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let objects: Vec<Map<String, Value>> =
        serde_json::from_slice(bytes).map_err(|error| broken_json(path, &error))?;
    for (index, object) in objects.iter().enumerate() {
        visit(&Row { place: Place::Entry(index as u64 + 1), path, cells: Cells::Json(object) })?;
    }
    Ok(())
}

pub(super) fn broken_json(path: &Path, error: &serde_json::Error) -> Error {
    let what = error.to_string();
    // The message has its own "at line .. column .." at its end.
    let what = what.split(" at line ").next().unwrap_or_default();
    let what = format!("not a JSON object: {what} (column {})", error.column());
    Error::Row { place: Place::Line(error.line() as u64), what, path: path.to_owned() }
}
