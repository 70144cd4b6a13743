//! `juror models`: the models that are on this machine, and what each would take; nothing is loaded but `nano`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use juror::Juror;
use juror::judge::{EMBEDDED, pulled};
use juror_lmm::checkpoint::Checkpoint;
use juror_lmm::published::memory::Need;
use juror_lmm::published::{self, Family};
use juror_net::hub::{Cache, Cached, MAIN};
use juror_nn::memory::MachineMemory;
use juror_nn::packed::WeightPrecision;
use serde::Serialize;

use crate::args::{Format, ModelsArgs};
use crate::commands::Outcome;
use crate::output::{Destination, complain, json, write_whole};
use crate::settings::Report as ReportSettings;

/// What `--model` can be on this machine.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    r#type: &'static str,
    version: &'static str,
    models: Vec<Model>,
    /// With `--need`: what is free on this machine, bytes; `null` where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    available_bytes: Option<Option<u64>>,
}

#[derive(Debug, Serialize)]
struct Model {
    /// For `--model`.
    name: String,
    /// In the words of `config.json`; `nano` for our own; `null` where juror opens no such model.
    family: Option<&'static str>,
    /// Whether all of its weights are here; a pull that broke off leaves some out.
    complete: bool,
    /// Size of its files, or of the weights inside the program.
    bytes: u64,
    /// Of the weights, where that is known without reading gigabytes.
    sha256: Option<String>,
    /// The commit of its repository.
    revision: Option<String>,
    /// Its folder.
    path: Option<PathBuf>,
    /// With `--need`; `null` where the files do not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    need: Option<Option<Memory>>,
}

/// Bytes of memory on a CPU, and why.
#[derive(Debug, Serialize)]
struct Memory {
    parameters: u64,
    /// In f32, the default.
    weights_bytes: u64,
    work_bytes: u64,
    total_bytes: u64,
    /// With `--precision`, from the finest to the coarsest.
    precisions: Vec<InPrecision>,
}

#[derive(Debug, Serialize)]
struct InPrecision {
    precision: WeightPrecision,
    weights_bytes: u64,
    total_bytes: u64,
}

/// Prints the list.
///
/// # Errors
/// When a model that was asked for is not here, or the list cannot be written.
pub fn run(args: &ModelsArgs) -> anyhow::Result<Outcome> {
    let models = if args.models.is_empty() { all()? } else { named(&args.models)? };
    let mut report = Report {
        schema: "juror/1",
        r#type: "models",
        version: juror::VERSION,
        models,
        available_bytes: args.need.then(|| MachineMemory::now().map(|memory| memory.available)),
    };
    let mut outcome = Outcome::All;
    if args.need {
        for model in &mut report.models {
            // The cache is shared: what is none of ours is an error only where it was asked for.
            if args.models.is_empty() && (model.family.is_none() || !model.complete) {
                model.need = Some(None);
                continue;
            }
            model.need = Some(need(model).unwrap_or_else(|error| {
                outcome = Outcome::Some;
                complain(&format!("error: {error:#}"));
                None
            }));
        }
    }
    let text = match ReportSettings::new(&args.report, false).format {
        Format::Table => table(&report),
        Format::Json => json(&report, true)? + "\n",
        Format::Jsonl => json(&report, false)? + "\n",
        Format::Csv => anyhow::bail!("`models` has no csv form; allowed are table, json and jsonl"),
    };
    write_whole(Destination::open(args.report.output.as_deref())?, text.as_bytes())?;
    Ok(outcome)
}

fn all() -> anyhow::Result<Vec<Model>> {
    let mut models: Vec<Model> = EMBEDDED.iter().map(|name| embedded(name)).collect::<Result<_, _>>()?;
    models.extend(Cache::of_environment().list()?.iter().map(of_cache));
    Ok(models)
}

fn named(names: &[PathBuf]) -> anyhow::Result<Vec<Model>> {
    let one = |name: &PathBuf| {
        if let Some(name) = EMBEDDED.iter().find(|embedded| name.as_os_str() == **embedded) {
            return embedded(name);
        }
        if name.is_dir() {
            return of_folder(name);
        }
        let folder = pulled(name.as_os_str());
        let cached = Cache::of_environment().list()?;
        let found = cached.iter().find(|cached| Some(&cached.folder) == folder.as_ref());
        let gone = || {
            anyhow!("no such model: neither inside the program, nor a folder, nor pulled: {}", name.display())
        };
        found.map(of_cache).ok_or_else(gone)
    };
    names.iter().map(one).collect()
}

fn embedded(name: &str) -> anyhow::Result<Model> {
    let id = Juror::open(name).with_context(|| format!("the embedded model {name}"))?.model();
    Ok(Model {
        family: Some("nano"),
        name: id.name,
        complete: true,
        bytes: juror_lmm::nano::embedded_bytes(),
        sha256: Some(id.sha256),
        revision: None,
        path: None,
        need: None,
    })
}

fn of_cache(cached: &Cached) -> Model {
    let name = cached.repo.short().unwrap_or(cached.repo.as_str());
    let name = match cached.revisions.iter().find(|revision| *revision == MAIN).or(cached.revisions.first()) {
        Some(revision) if revision == MAIN => name.to_owned(),
        Some(revision) => format!("{name}@{revision}"),
        None => format!("{name}@{}", cached.commit),
    };
    Model {
        name,
        family: family(&cached.folder),
        complete: is_complete(&cached.folder),
        bytes: cached.bytes,
        sha256: None,
        revision: Some(cached.commit.clone()),
        path: Some(cached.folder.clone()),
        need: None,
    }
}

fn of_folder(folder: &Path) -> anyhow::Result<Model> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let metadata = std::fs::metadata(entry?.path());
        bytes += metadata.ok().filter(std::fs::Metadata::is_file).map_or(0, |file| file.len());
    }
    let name = folder.display().to_string();
    let (family, path) = (family(folder), Some(folder.to_owned()));
    Ok(Model {
        name,
        family,
        complete: is_complete(folder),
        bytes,
        sha256: None,
        revision: None,
        path,
        need: None,
    })
}

/// By the headers of its files; an adapter alone is no model.
fn is_complete(folder: &Path) -> bool {
    Checkpoint::open(folder).is_ok()
}

/// By `config.json`.
fn family(folder: &Path) -> Option<&'static str> {
    Some(published::family(folder).ok()?.map_or("nano", Family::name))
}

fn need(model: &Model) -> anyhow::Result<Option<Memory>> {
    // `nano` takes less than decoding does.
    let Some(folder) = model.path.as_ref().filter(|_| model.family != Some("nano")) else {
        return Ok(None);
    };
    let needs = Need::of_each(folder, &WeightPrecision::ALL)?;
    let need = needs[0];
    let precisions = WeightPrecision::ALL.iter().zip(&needs).map(|(&precision, need)| InPrecision {
        precision,
        weights_bytes: need.weights,
        total_bytes: need.total(),
    });
    Ok(Some(Memory {
        parameters: need.parameters,
        weights_bytes: need.weights,
        work_bytes: need.work,
        total_bytes: need.total(),
        precisions: precisions.collect(),
    }))
}

fn table(report: &Report) -> String {
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let size = |bytes: u64| {
        if bytes < 1 << 30 { format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)) } else { gib(bytes) }
    };
    let longest = report.models.iter().map(|model| model.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for model in &report.models {
        let family = model.family.unwrap_or("unknown family");
        let origin = match (&model.revision, &model.sha256) {
            (Some(commit), _) => format!("revision {commit}"),
            (None, Some(sha256)) => format!("inside the program, sha256 {sha256}"),
            (None, None) => "a folder".to_owned(),
        };
        let lack = if model.complete { "" } else { ", incomplete: pull it again" };
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "{:<longest$}  {family:<15}  {:>9}  {origin}{lack}",
            model.name,
            size(model.bytes)
        );
        if let Some(Some(need)) = &model.need {
            let billions = need.parameters as f64 / 1e9;
            let totals: Vec<String> = need
                .precisions
                .iter()
                .map(|each| format!("{} {}", each.precision, gib(each.total_bytes)))
                .collect();
            let _ = writeln!(text, "    {billions:.2} billion weights; memory: {}", totals.join(", "));
        }
    }
    if let Some(Some(available)) = report.available_bytes {
        let _ = writeln!(text, "available on this machine: {}", gib(available));
    }
    text
}
