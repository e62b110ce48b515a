//! The one binary: its command line, and how the roles stand together in a process.
//!
//! In: arguments, environment, a configuration file. Out: running roles, or what a command prints.
//! Always: data on standard output, logs and errors on standard error; exit 0, 1 (failed) or 2 (usage). No
//! business rule lives here.

mod cli;
mod client;
mod commands;
mod job;
mod moment;
mod output;
mod settings;
mod stack;

use std::process::ExitCode;

use clap::Parser;

/// Version and commit of this build.
pub(crate) const BUILD: carillon_chassis::build_info::BuildInfo = carillon_chassis::build_info::BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    commit: env!("BUILD_COMMIT"),
};

fn main() -> ExitCode {
    let begun = std::time::Instant::now();
    let command = cli::Cli::parse().command;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("carillon")
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(Box::pin(command.run(begun))));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failed(&error),
    }
}
