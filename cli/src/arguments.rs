//! The command line as a whole.

use crate::commands::{
    backup, cancel, collect, completions, drain, export, get, logs, pin, predict, reinstate, report, restore, run,
    schema, share, unpin, up, validate,
};
use anyhow::Result;
use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
A first session, in two terminals:
  tutti up                                         start a coordinator and two workers here
  tutti run deploy/jobs/fashion-mnist.yaml         train, average, combine; print the report
  tutti predict fashion-mnist-1 --images FILE      ask the ensemble

Exit codes: 0 done, 1 the job or the command failed, 2 wrong usage or an invalid job file, 130 interrupted.";

/// Train, average and serve ensembles of neural networks.
#[derive(Debug, Parser)]
#[command(name = "tutti", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Run(run::Args),
    Validate(validate::Args),
    Schema(schema::Args),
    Get(get::Args),
    Logs(logs::Args),
    Cancel(cancel::Args),
    Report(report::Args),
    Export(export::Args),
    Predict(predict::Args),
    Drain(drain::Args),
    Reinstate(reinstate::Args),
    Share(share::Args),
    Pin(pin::Args),
    Unpin(unpin::Args),
    Collect(collect::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Completions(completions::Args),
}

impl Arguments {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What went wrong, in words for the user; [`crate::exit`] knows the exit code.
    pub async fn execute(self) -> Result<()> {
        match self.command {
            Command::Up(args) => up::execute(args).await,
            Command::Run(args) => run::execute(args).await,
            Command::Validate(args) => validate::execute(&args),
            Command::Schema(args) => schema::execute(&args),
            Command::Get(args) => get::execute(args).await,
            Command::Logs(args) => logs::execute(args).await,
            Command::Cancel(args) => cancel::execute(args).await,
            Command::Report(args) => report::execute(args).await,
            Command::Export(args) => export::execute(args).await,
            Command::Predict(args) => predict::execute(args).await,
            Command::Drain(args) => drain::execute(args).await,
            Command::Reinstate(args) => reinstate::execute(args).await,
            Command::Share(args) => share::execute(args).await,
            Command::Pin(args) => pin::execute(args).await,
            Command::Unpin(args) => unpin::execute(args).await,
            Command::Collect(args) => collect::execute(args).await,
            Command::Backup(args) => backup::execute(args).await,
            Command::Restore(args) => restore::execute(&args),
            Command::Completions(args) => completions::execute(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_argument_has_a_help_text() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{}: {} has no help", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        check(&command);
    }
}
