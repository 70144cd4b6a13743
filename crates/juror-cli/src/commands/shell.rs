//! `juror completions` and `juror man`, made from the definition of the arguments.

use anyhow::Context;
use clap::CommandFactory;

use crate::args::Cli;
use crate::commands::Outcome;
use crate::output::{Destination, write_whole};

/// Prints the completions for `shell`.
///
/// # Errors
/// When standard output cannot take them.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "juror", &mut text);
    write_whole(Destination::open(None)?, &text)?;
    Ok(Outcome::All)
}

/// Prints the man page of the program, or of one `command`, in roff.
///
/// # Errors
/// When there is no such command or standard output cannot take the page.
pub fn man(command: Option<&str>) -> anyhow::Result<Outcome> {
    let mut program = Cli::command();
    program.build();
    let (page, title) = match command {
        None => (program, "JUROR".to_owned()),
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            let known: Vec<_> = program.get_subcommands().map(clap::Command::get_name).collect();
            let page = found
                .with_context(|| format!("no command `{name}`; the commands are {}", known.join(", ")))?;
            (page, format!("JUROR-{}", name.to_uppercase()))
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).title(title).manual("juror").render(&mut text)?;
    write_whole(Destination::open(None)?, &text)?;
    Ok(Outcome::All)
}
