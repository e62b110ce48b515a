//! `carillon schemas`: the JSON Schemas of every contract, written from the types.
//!
//! In: a folder. Out: files, or what is stale. Always: `check` changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use carillon_schemas::json_schema;
use serde_json::json;

use crate::output::{self, Format, OutputArgs};

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Write every schema.
    #[command(after_help = "Example:\n  carillon schemas write --dir schemas/json")]
    Write(Args),
    /// Say which files are missing, stale or not ours.
    #[command(after_help = "Example:\n  carillon schemas check --dir schemas/json")]
    Check(Args),
}

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder.
    #[arg(long, value_name = "DIR", default_value = "schemas/json")]
    dir: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Write(args) => write(&args),
            Self::Check(args) => check(&args),
        }
    }
}

fn write(args: &Args) -> Result<()> {
    let write = |(name, text): &(&str, String)| {
        let path = args.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let all = json_schema::all();
    all.iter().try_for_each(write)?;
    match args.output.output {
        Format::Json => output::json(&json!({"written": all.len()})),
        Format::Text => output::line(format_args!(
            "{} schemas written to {}",
            all.len(),
            args.dir.display()
        )),
    }
}

fn check(args: &Args) -> Result<()> {
    let wrong = differences(&args.dir)?;
    match args.output.output {
        Format::Json => output::json(&json!({"differences": wrong}))?,
        Format::Text => wrong.iter().try_for_each(output::line)?,
    }
    if !wrong.is_empty() {
        bail!(
            "{} is stale: run `carillon schemas write --dir {}`",
            args.dir.display(),
            args.dir.display()
        );
    }
    match args.output.output {
        Format::Json => Ok(()),
        Format::Text => output::line("every schema is up to date"),
    }
}

fn differences(dir: &Path) -> Result<Vec<String>> {
    let all = json_schema::all();
    let mut wrong = Vec::new();
    for (name, text) in &all {
        match fs::read_to_string(dir.join(name)) {
            Ok(found) if found == *text => {}
            Ok(_) => wrong.push(format!("{name} is stale")),
            Err(_) => wrong.push(format!("{name} is missing")),
        }
    }
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !all.iter().any(|(known, _)| *known == name) {
            wrong.push(format!("{name} is none of ours"));
        }
    }
    Ok(wrong)
}
