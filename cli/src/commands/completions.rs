//! `tutti completions`: scripts that let shells complete commands.

use crate::arguments::Arguments;
use crate::output::print_line;
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

/// Print a script that lets a shell complete tutti's commands and options.
///
/// For bash: tutti completions bash > ~/.local/share/bash-completion/completions/tutti
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn execute(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "tutti", &mut script);
    print_line(String::from_utf8(script)?.trim_end())
}
