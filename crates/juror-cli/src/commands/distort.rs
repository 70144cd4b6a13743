//! `juror distort`: worsens a video by simulated distortions, or lists what there is.

use std::path::Path;

use anyhow::anyhow;
use juror_media::TimeWindow;
use juror_media::distort::{Chain, Kind, distort_file};

use crate::args::DistortArgs;
use crate::commands::Outcome;
use crate::output::{Destination, FileInMaking, complain, write_whole};
use crate::progress::Waiting;
use crate::settings::Distorting;

/// Distorts a file or lists the kinds.
///
/// # Errors
/// On wrong usage, when the input cannot be read or the output not be written.
pub fn run(args: DistortArgs) -> anyhow::Result<Outcome> {
    match Distorting::new(args)? {
        Distorting::ListKinds => list(|kind| format!("{}\n", kind.name()))?,
        Distorting::ListLevels => list(levels)?,
        Distorting::File { input, output, chain, window, seed, quiet } => {
            distort(&input, &output, &chain, window, seed, quiet)?;
        }
    }
    Ok(Outcome::All)
}

fn list(line: impl Fn(Kind) -> String) -> anyhow::Result<()> {
    let lines: String = Kind::ALL.into_iter().map(line).collect();
    write_whole(Destination::open(None)?, lines.as_bytes())
}

/// A kind, its parameter at levels 1 to 5, and what the parameter is.
fn levels(kind: Kind) -> String {
    let [one, two, three, four, five] = kind.parameters_text();
    let name = kind.name();
    format!("{name:<18}{one:>8}{two:>8}{three:>8}{four:>8}{five:>8}  {}\n", kind.parameter_meaning())
}

fn distort(
    input: &Path,
    output: &Path,
    chain: &Chain,
    window: TimeWindow,
    seed: u64,
    quiet: bool,
) -> anyhow::Result<()> {
    let (making, file) = FileInMaking::create(output)?;
    // The encoder opens it by its name.
    drop(file);
    let waiting = Waiting::new(format!("writing {}", output.display()), quiet);
    let written = distort_file(input, making.path(), chain, seed, window).map_err(|error| {
        // A name that a user never typed helps nobody.
        anyhow!(error.to_string().replace(&*making.path().to_string_lossy(), &output.to_string_lossy()))
    })?;
    making.finish()?;
    drop(waiting);
    if !quiet {
        for warning in &written.warnings {
            complain(&format!("warning: {warning}: {}", input.display()));
        }
        complain(&format!(
            "{} frames of {}x{} written: {}",
            written.frame_count,
            written.width,
            written.height,
            output.display()
        ));
    }
    Ok(())
}
