//! How results leave the program: the only way to standard output or the `--output` file.

pub mod chart;
pub mod csv;
pub mod file;
pub mod page;
pub mod pairs_page;
pub mod plot;
pub mod table;
pub mod training_page;

use std::io::{self, Write};

use juror::Record;
use serde::Serialize;

pub use csv::Columns;
pub use file::{Destination, FileInMaking};
pub use plot::PlotPath;

use crate::args::Format;

/// Writes records one by one, each as soon as it is known.
#[derive(Debug)]
pub struct Reporter {
    destination: Destination,
    format: Format,
    many: bool,
    columns: Columns,
    written: usize,
    width: usize,
}

impl Reporter {
    /// A reporter for `many` records or one. `columns` are those of `csv`.
    pub fn new(destination: Destination, format: Format, many: bool, columns: Columns) -> Self {
        Self { destination, format, many, columns, written: 0, width: table::width() }
    }

    /// Writes one record. Failures do not show in tables, which are for results; they are told on
    /// standard error in any case.
    ///
    /// # Errors
    /// When the destination cannot take it.
    pub fn emit(&mut self, record: &Record) -> io::Result<()> {
        let text = match self.format {
            Format::Table => table::render(record, self.many, self.written == 0, self.width),
            Format::Json if self.many => {
                let opening = if self.written == 0 { "[\n" } else { ",\n" };
                opening.to_owned() + &json(record, true)?
            }
            Format::Json => json(record, true)? + "\n",
            Format::Jsonl => json(record, false)? + "\n",
            Format::Csv => csv::rows(record, self.columns, self.written == 0)?,
        };
        self.written += 1;
        self.destination.write_all(text.as_bytes())?;
        self.destination.flush()
    }

    /// Completes the output; a file appears in its place.
    ///
    /// # Errors
    /// When the destination cannot take the rest.
    pub fn finish(mut self) -> anyhow::Result<()> {
        if self.format == Format::Json && self.many {
            let end = if self.written == 0 { "[]\n" } else { "\n]\n" };
            self.destination.write_all(end.as_bytes())?;
        }
        self.destination.finish()
    }
}

/// Writes a finished `text` to `destination`.
///
/// # Errors
/// When the destination cannot take it.
pub fn write_whole(mut destination: Destination, text: &[u8]) -> anyhow::Result<()> {
    destination.write_all(text)?;
    destination.finish()
}

/// `value` as JSON text, over several lines when `pretty`.
///
/// # Errors
/// When `value` has no JSON form.
pub fn json(value: &impl Serialize, pretty: bool) -> io::Result<String> {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    text.map_err(io::Error::from)
}

/// Tells people something on standard error. A closed standard error stops nobody.
pub fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}
