//! The client commands' view of a server: where it is, and which token is shown to it.
//!
//! In: flags, `CARILLON_URL`, `CARILLON_TOKEN`, the token file of an `up` beside. Out: a connection.
//! Always: a token never stands in an error.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use carillon_auth::inspect;
use carillon_chassis::config;
use carillon_client::{ClientError, Connection};
use carillon_schemas::{TenantId, claims::TENANT_CLAIMS, problem::ProblemCode};
use clap::Args;

use crate::{output::Usage, settings::Settings, stack::TOKEN_FILE};

/// Where `up` listens without being told.
const URL: &str = "http://127.0.0.1:8080";

/// Which server, and who asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ClientArgs {
    /// The server [env: CARILLON_URL] [default: http://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The token [env: CARILLON_TOKEN] [default: that of ./carillon-data].
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub(crate) token: Option<String>,
    /// A file with the token.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// `--tenant`, where a route names it.
#[derive(Debug, Clone, Args)]
pub(crate) struct TenantArgs {
    /// The tenant [default: the token's].
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
}

impl TenantArgs {
    /// The tenant that was named, or the one that the token speaks for. The server verifies the token; this only
    /// reads it.
    pub(crate) fn of(&self, server: &ClientArgs) -> Result<TenantId> {
        if let Some(tenant) = &self.tenant {
            return Ok(tenant.clone());
        }
        let token = server.find_token()?;
        let claims = token
            .and_then(|token| inspect(&token).ok())
            .map(|token| token.claims);
        let claim = |claims: serde_json::Value| {
            let mut names = TENANT_CLAIMS.iter();
            names.find_map(|name| claims.get(*name)?.as_str()?.parse().ok())
        };
        let unknown = || Usage("no tenant: give --tenant, or a token that names one".to_owned());
        Ok(claims.and_then(claim).ok_or_else(unknown)?)
    }
}

/// Adds what to do to errors that people meet first.
pub(crate) fn explain(error: ClientError) -> anyhow::Error {
    let hint = match &error {
        ClientError::Unreachable { .. } => Some("is `carillon up` running?"),
        ClientError::Problem { problem, .. } => match problem.code {
            ProblemCode::TokenMissing | ProblemCode::TokenInvalid | ProblemCode::TokenExpired => {
                Some("give a token with --token, --token-file or CARILLON_TOKEN")
            }
            ProblemCode::ScopeMissing => {
                Some("`carillon token mint --scope` makes one for an `up` on this machine")
            }
            _ => None,
        },
        _ => None,
    };
    match hint {
        Some(hint) => anyhow::anyhow!("{error} ({hint})"),
        None => error.into(),
    }
}

impl ClientArgs {
    /// The server, with the token that was found.
    pub(crate) fn connection(&self) -> Result<Connection> {
        let server = Connection::new(
            &self
                .url
                .clone()
                .or_else(|| variable("CARILLON_URL"))
                .unwrap_or(URL.to_owned()),
        )?;
        Ok(match self.find_token()? {
            Some(token) => server.with_token(token),
            None => server,
        })
    }

    fn find_token(&self) -> Result<Option<String>> {
        if let Some(token) = &self.token {
            return Ok(Some(token.trim().to_owned()));
        }
        if let Some(path) = &self.token_file {
            return read(path).map(Some);
        }
        if let Some(token) = variable("CARILLON_TOKEN") {
            return Ok(Some(token.trim().to_owned()));
        }
        let beside = Settings::default().data_dir.join(TOKEN_FILE);
        if beside.exists() {
            read(&beside).map(Some)
        } else {
            Ok(None)
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the token in {}", path.display()))?;
    Ok(text.trim().to_owned())
}

fn variable(name: &str) -> Option<String> {
    let found = config::environment().into_iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value).filter(|value| !value.is_empty())
}
