//! What was typed, checked and resolved: the only form of the arguments that commands work with.

mod data;
mod evaluation;
mod judging;

pub use data::{Building, Distorting, Labelling};
pub use evaluation::{Calibrating, Evaluating, ScoreSource};
pub use judging::{AnchorSource, Job, Scaling, Tournament};

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use juror::{Juror, OpenOptions, Options, Processor};
use juror_lmm::remote::Media;
use juror_media::TimeWindow;
use juror_net::chat::{KEY_VARIABLE, Service};
use juror_net::http::{Patience, Secret};

use crate::args::{Format, ModelArgs, RemoteArgs, ReportArgs, Sending, ViewArgs, WindowArgs};

/// Which model judges, and how it runs.
#[derive(Debug)]
pub struct Model {
    /// An embedded name or a folder.
    pub name_or_path: PathBuf,
    /// 0: one per core.
    pub threads: usize,
    /// Of everything random.
    pub seed: u64,
    /// Device, precision and adapter.
    pub open: OpenOptions,
    /// Set for a model that is served elsewhere.
    pub remote: Option<(Service, Media)>,
}

/// Where and how results are written.
#[derive(Debug)]
pub struct Report {
    /// Their form.
    pub format: Format,
    /// Their file; standard output where there is none.
    pub output: Option<PathBuf>,
    /// No progress, no warnings.
    pub quiet: bool,
}

impl WindowArgs {
    fn checked(&self) -> anyhow::Result<TimeWindow> {
        Ok(TimeWindow::new(self.start, self.end)?)
    }
}

fn options(view: &ViewArgs, rationale: bool) -> anyhow::Result<Options> {
    Ok(Options {
        window: view.window.checked()?,
        frames: view.frames.map(|frames| frames as usize),
        rationale,
        ..Options::default()
    })
}

impl Model {
    fn new(args: ModelArgs) -> anyhow::Result<Self> {
        let processor: Processor = args.device.parse()?;
        processor.check_build()?;
        let open = OpenOptions {
            processor,
            precision: args.precision,
            adapter: args.adapter,
            answers: args.answers,
        };
        open.precision()?;
        let threads = args.threads.map_or(0, usize::from);
        let remote = remote(&args.model, &args.remote)?;
        if remote.is_some() {
            open.check_remote()?;
        }
        Ok(Self { name_or_path: args.model, threads, seed: args.seed, open, remote })
    }

    /// Opens the model, and bounds the threads of its arithmetic.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn open(&self) -> Result<Juror, juror::Error> {
        bound_threads(self.threads);
        let name_or_path: &OsStr = self.name_or_path.as_ref();
        let juror = match &self.remote {
            Some((service, media)) => Juror::remote(service.clone(), *media)?,
            None => Juror::open_with(name_or_path, &self.open)?,
        };
        Ok(juror.with_threads(self.threads).with_seed(self.seed))
    }
}

/// What begins the name of a model that is served elsewhere.
const REMOTE: &str = "openai:";

/// The service behind `openai:NAME`; `None` for models of this machine.
fn remote(model: &Path, args: &RemoteArgs) -> anyhow::Result<Option<(Service, Media)>> {
    let name = model.to_str().and_then(|model| model.strip_prefix(REMOTE));
    let (name, base_url) = match (name, &args.base_url) {
        (None, None) => return Ok(None),
        (None, Some(_)) => bail!("--base-url is for a model served elsewhere: --model {REMOTE}NAME"),
        (Some(_), None) => {
            bail!("{} needs --base-url URL, such as http://localhost:8000/v1", model.display())
        }
        (Some(name), Some(base_url)) => (name, base_url),
    };
    let patience = Patience {
        timeout: Duration::try_from_secs_f64(args.timeout)?,
        retries: args.retries,
        ..Patience::default()
    };
    let service = Service {
        base_url: base_url.clone(),
        model: name.to_owned(),
        key: Secret::from_env(KEY_VARIABLE)?,
        patience,
        concurrency: usize::from(args.requests),
    };
    let media = match args.send {
        Sending::Frames => Media::Frames,
        Sending::File => Media::File,
    };
    Ok(Some((service, media)))
}

/// Bounds the threads of all arithmetic; 0: one per core.
pub fn bound_threads(threads: usize) {
    // The pool exists already only when this is called twice; it then has this size already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}

impl Report {
    /// For `many` records or one. The form is the one asked for, else a table for a person at a terminal,
    /// else JSON (as lines for many records).
    pub fn new(args: &ReportArgs, many: bool) -> Self {
        let at_terminal = args.output.is_none() && std::io::stdout().is_terminal();
        let format = args.format.unwrap_or(match (at_terminal, many) {
            (true, _) => Format::Table,
            (false, true) => Format::Jsonl,
            (false, false) => Format::Json,
        });
        Self { format, output: args.output.clone(), quiet: args.quiet }
    }
}
