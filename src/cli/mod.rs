//! The command line. Every command ends with one of the exit codes of
//! [`Exit`]; answers go to standard output, everything else to standard error.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod answer;

mod admin;
mod args;
mod audit;
mod backup;
mod check;
mod definitions;
mod deliveries;
mod erase;
mod events;
mod exit;
mod explain;
mod health;
mod import;
mod keys;
mod lanes;
#[cfg(test)]
mod offline_tests;
mod open;
mod quarantine;
mod replays;
mod retention;
mod run;
mod terminal;
mod token;
mod topology;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
pub use exit::Exit;
use exit::Failure;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // clap itself ends the process with 2 for wrong usage, and 0 for help.
    let arguments = Arguments::parse();
    match act(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            say_line!("{failure}");
            failure.exit().into()
        }
    }
}

fn act(arguments: Arguments) -> Result<Exit, Failure> {
    let common = arguments.common;
    match arguments.command {
        Command::Run(run) => run::run(&common, &run),
        Command::Check => check::check(&common),
        Command::Explain(explain) => explain::explain(&common, &explain),
        Command::Topology(topology) => topology::topology(&common, &topology),
        Command::Events(events) => events::events(&common, &events),
        Command::Import(import) => import::import(&common, &import),
        Command::Quarantine(quarantine) => quarantine::quarantine(&common, &quarantine),
        Command::Deliveries(arguments) => deliveries::deliveries(&common, &arguments),
        Command::Recipients(arguments) => lanes::recipients(&common, &arguments),
        Command::Lanes(arguments) => lanes::lanes(&common, &arguments),
        Command::Retention(arguments) => retention::retention(&common, &arguments),
        Command::Trace(arguments) => trace::trace(&common, &arguments),
        Command::Replays(arguments) => replays::replays(&common, &arguments),
        Command::Erase(arguments) => erase::erase(&common, &arguments),
        Command::Backup(arguments) => backup::backup(&common, &arguments),
        Command::Restore(arguments) => backup::restore(&common, &arguments),
        Command::Verify => backup::verify(&common),
        Command::Audit(arguments) => audit::audit(&common, &arguments),
        Command::Token(arguments) => token::token(&arguments),
        Command::Health(arguments) => health::health(&common, &arguments),
        Command::InitKey => keys::init_key(&common),
        Command::RotateKey(arguments) => keys::rotate_key(&common, &arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    /// Those that have nothing to answer but how they ended, or write files of a kind.
    const WITHOUT: [&str; 11] = [
        "run",
        "check",
        "events publish",
        "topology export",
        "token check",
        "audit verify",
        "health",
        "restore",
        "verify",
        "init-key",
        "rotate-key",
    ];

    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, bool)>) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name()).trim().to_owned();
            if below.get_subcommands().next().is_none() {
                found.push((path.clone(), below.get_arguments().any(|argument| argument.get_id() == "format")));
            }
            leaves(below, &path, found);
        }
    }

    #[test]
    fn what_is_answered_to_an_operator_can_be_had_as_json() {
        let mut found = Vec::new();
        leaves(&Arguments::command(), "", &mut found);
        let without: Vec<&str> = found.iter().filter(|(_, json)| !json).map(|(path, _)| path.as_str()).collect();
        let unexpected: Vec<_> = without.iter().filter(|path| !WITHOUT.contains(path)).collect();
        assert!(unexpected.is_empty() && found.len() > 30, "without --format: {unexpected:?}");
    }
}
