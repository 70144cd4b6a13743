//! `juror pull`: gets a published checkpoint from a hub into the cache; the protocol is `juror-net`'s.

use std::path::Path;

use juror_lmm::published::family;
use juror_net::hub::{Hub, MAIN, Progress, RepoId};

use crate::args::PullArgs;
use crate::commands::Outcome;
use crate::output::{Destination, complain, write_whole};
use crate::progress::Bytes;

/// Pulls, and prints the folder of the checkpoint.
///
/// # Errors
/// When the name can be none, the hub refuses or fails, or the disk is full; what came is used by the next pull.
pub fn run(args: &PullArgs) -> anyhow::Result<Outcome> {
    let repo = RepoId::parse(&args.repo)?;
    let hub = Hub::of_environment()?.verifying(args.verify);
    let bar = Bytes::new(args.quiet);
    let tell = |progress: Progress<'_>| bar.at(progress.done, progress.total, progress.file);
    let pulled = hub.pull(&repo, &args.revision, &opens_as_judge, &tell)?;
    drop(bar);
    if pulled.damaged > 0 {
        complain(&format!("{} files in the cache were damaged and have been got anew", pulled.damaged));
    }
    if !args.quiet {
        let main = args.revision == MAIN;
        let name = repo.short().unwrap_or(repo.as_str());
        let name = if main { name.to_owned() } else { format!("{name}@{}", args.revision) };
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let (fetched, all) = (megabytes(pulled.fetched), megabytes(pulled.bytes));
        complain(&format!("{fetched:.1} of {all:.1} MB fetched; use it with --model {name}"));
    }
    write_whole(Destination::open(None)?, format!("{}\n", pulled.folder.display()).as_bytes())?;
    Ok(Outcome::All)
}

/// Whether juror opens such a model, by its `config.json`; an adapter alone has none.
fn opens_as_judge(folder: &Path) -> Result<(), String> {
    if !folder.join("config.json").exists() {
        return Ok(());
    }
    family(folder).map(|_| ()).map_err(|error| error.to_string())
}
