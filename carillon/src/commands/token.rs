//! `carillon token`: mint tokens for development, look into any.
//!
//! In: a key and claims, or a token. Out: a token, or what it says. Always: `mint` prints the token alone,
//! so that it can stand in `$(…)`; `inspect` verifies nothing and says so.

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use carillon_auth::{inspect, mint::SigningKey};
use carillon_chassis::clock::Clock;
use carillon_schemas::{
    TenantId, UserId,
    claims::{Claims, Scope, Scopes},
};
use serde_json::json;

use crate::{
    output::{self, Format, Ink, OutputArgs, Usage, ink, note},
    settings::{Settings, secret_file},
    stack::{claims, signing_key},
};

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Mint a token with the key of a data directory, a PEM file or a shared secret.
    Mint(Box<Mint>),
    /// Show what a token says. Nothing is verified.
    Inspect(Inspect),
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Mint(args) => args.run(),
            Self::Inspect(args) => args.run(),
        }
    }
}

/// Which key signs.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Key")]
pub(crate) struct KeyArgs {
    /// A private key in PEM: Ed25519, EC P-256 or RSA.
    #[arg(long, value_name = "PEM", conflicts_with = "hs256_secret_file")]
    pub(crate) key_file: Option<PathBuf>,
    /// A shared secret of at least 32 bytes.
    #[arg(long, value_name = "FILE")]
    pub(crate) hs256_secret_file: Option<PathBuf>,
    /// The data directory of the `up` whose key signs [default: ./carillon-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl KeyArgs {
    pub(crate) fn signing_key(&self) -> Result<SigningKey> {
        if let Some(path) = &self.hs256_secret_file {
            let key = SigningKey::from_hs256_secret(&secret_file(path)?);
            return key.with_context(|| format!("the secret in {} cannot be used", path.display()));
        }
        if let Some(path) = &self.key_file {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            return SigningKey::from_pem(&text).with_context(|| path.display().to_string());
        }
        let default = Settings::default().data_dir;
        let dir: &Path = self.data_dir.as_deref().unwrap_or(&default);
        signing_key(dir)
            .context("no key to sign with: run `carillon up` once, or give --key-file or --hs256-secret-file")
    }
}

/// Arguments of `carillon token mint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon token mint --tenant demo --sub alice --scope publish --scope listen --expires-in 1h")]
pub(crate) struct Mint {
    /// The tenant.
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// The subject: who acts.
    #[arg(long, visible_alias = "user", value_name = "ID")]
    sub: UserId,
    /// A scope. May be repeated [default: none named, so that the server's default scopes hold].
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// How long it lives: 90s, 15m, 12h.
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = duration)]
    expires_in: Duration,
    /// A channel, or a pattern such as orders.*, that it reaches. May be repeated [default: all].
    #[arg(long, value_name = "PATTERN")]
    channel: Vec<String>,
    /// The issuer.
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
    /// The audience.
    #[arg(long, value_name = "AUD")]
    audience: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    key: KeyArgs,
}

impl Mint {
    fn run(self) -> Result<()> {
        let scope = self.scope.join(" ");
        for word in scope.split_whitespace() {
            if Scopes::parse(word) == Scopes::NONE {
                let known = Scope::ALL.map(Scope::as_str).join(", ");
                return Err(Usage(format!("{word} is no scope; these are: {known}")).into());
            }
        }
        let named = |texts: Vec<String>| Some(texts).filter(|texts| !texts.is_empty());
        let claims = Claims {
            scope: Some(scope).filter(|scope| !scope.is_empty()),
            iss: self.issuer,
            aud: self.audience,
            channels: named(self.channel),
            ..claims(
                self.tenant.as_str(),
                self.sub.as_str(),
                self.expires_in,
                &Clock::system(),
            )
        };
        let token = self.key.signing_key()?.mint(&claims)?;
        match self.output.output {
            Format::Text => output::line(token),
            Format::Json => output::json(&json!({"token": token, "claims": claims})),
        }
    }
}

/// A whole number with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds: u64 = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("is written 90s, 15m or 12h".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "is written 90s, 15m or 12h".to_owned())?;
    number
        .checked_mul(seconds)
        .filter(|s| *s > 0)
        .map(Duration::from_secs)
        .ok_or("is out of range".to_owned())
}

/// Arguments of `carillon token inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon token inspect < carillon-data/keys/demo.token")]
pub(crate) struct Inspect {
    /// The token. Without it, it is read from standard input.
    token: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Inspect {
    fn run(self) -> Result<()> {
        let token = match self.token {
            Some(token) => token,
            None => {
                let mut text = String::new();
                std::io::stdin()
                    .take(64 * 1024)
                    .read_to_string(&mut text)
                    .context("cannot read standard input")?;
                text
            }
        };
        let inspection = inspect(&token)?;
        if self.output.output == Format::Json {
            return output::json(&inspection);
        }
        note("not verified:");
        for (name, part) in [("header", &inspection.header), ("claims", &inspection.claims)] {
            output::line(ink(Ink::Bold, name))?;
            for (key, value) in part.as_object().into_iter().flatten() {
                output::line(format_args!("  {key:<10} {value}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(duration("12h"), Ok(Duration::from_hours(12)));
        for bad in [
            "",
            "h",
            "0",
            "1d",
            "-1",
            "99999999999999999999h",
            "6000000000000000000h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
