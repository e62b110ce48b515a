//! What commands print: lines for people or JSON for programs.
//!
//! In: values. Out: bytes on standard output; errors on standard error.
//! Always: colours only on a terminal and not with `NO_COLOR`; a reader that went away is no error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::Result;
use carillon_chassis::config::ConfigError;
use clap::ValueEnum;
use serde::Serialize;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON value a line, for programs.
    Json,
}

/// `--output`, for commands that print data.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct OutputArgs {
    /// The form of what is printed.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Format,
}

/// How something is emphasised on a terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ink {
    Bold,
    Dim,
    Green,
    Red,
    Cyan,
}

/// The user asked for something that cannot be: exit 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Writes a line to standard output.
pub(crate) fn line(text: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value)?)
}

/// Writes a line to standard error: what is said beside the data.
pub(crate) fn note(text: impl Display) {
    // Nobody can be told that standard error is gone.
    writeln!(io::stderr().lock(), "{text}").unwrap_or_default();
}

/// The text without what could move a terminal's cursor or change its colours: it came from somebody else.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// Writes rows under their headings, in columns as wide as their widest cell; the last column ends as it ends.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Result<()> {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| plain(cell)))
        .collect();
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let joined = |cells: [&str; N]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    line(ink(Ink::Dim, joined(headings)))?;
    rows.iter()
        .try_for_each(|row| line(joined(row.each_ref().map(String::as_str))))
}

/// The text in this ink where standard output is a terminal.
pub(crate) fn ink(ink: Ink, text: impl Display) -> String {
    if !io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_string();
    }
    let code = match ink {
        Ink::Bold => "1",
        Ink::Dim => "2",
        Ink::Green => "32",
        Ink::Red => "31",
        Ink::Cyan => "36",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// The time of day of a Unix time in milliseconds, in UTC: `12:03:04.250`.
pub(crate) fn time_of_day(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000 % 86_400, unix_ms % 1000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Tells why a command failed, and with which status the process ends.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<io::Error>().is_some_and(gone) {
        return ExitCode::SUCCESS;
    }
    note(format_args!("error: {error:#}"));
    let usage = error
        .chain()
        .any(|cause| cause.is::<Usage>() || cause.is::<ConfigError>());
    ExitCode::from(if usage { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_has_its_milliseconds() {
        assert_eq!(time_of_day(1_700_000_000_250), "22:13:20.250");
        assert_eq!(time_of_day(0), "00:00:00.000");
    }
}
