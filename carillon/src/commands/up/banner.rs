//! The banner of `up`: where it listens, and lines to paste.
//!
//! In: settings and addresses. Out: text for people, facts for programs. Always: the lines work when they
//! are pasted in the directory where `up` was started: paths are relative where they can be.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    BUILD,
    output::{Ink, ink},
    settings::{Fsync, Settings},
    stack::{TOKEN_FILE, UpAddresses},
};

/// For people.
pub(super) fn text(settings: &Settings, at: &UpAddresses, took: Duration) -> String {
    let url = url(at.http);
    let durable = match settings.fsync {
        Fsync::Each => "every write fsynced",
        Fsync::Interval => "fsynced every 100 ms",
    };
    let access = if settings.no_auth {
        "none asked for (--no-auth)".to_owned()
    } else {
        format!("{} (tenant demo, 24 h, renewed)", shown(&at.token_file))
    };
    let dim = |text: &str| ink(Ink::Dim, text);
    let row = |name: &str, value: &str| format!("  {} {value}\n", dim(&format!("{name:<10}")));
    [
        format!(
            "\n  {} {} is up, after {:.2} s\n\n",
            ink(Ink::Bold, "Carillon"),
            BUILD.version,
            took.as_secs_f64()
        ),
        row("HTTP, ws", &ink(Ink::Cyan, &url)),
        row("Kafka", &ink(Ink::Cyan, at.kafka)),
        row("Data", &format!("{} ({durable})", shown(&settings.data_dir))),
        row("Token", &access),
        format!(
            "\n  {}\n    {}\n",
            dim("Listen, in a second terminal:"),
            listen_line(settings, at, &url)
        ),
        format!(
            "\n  {}\n    {}\n",
            dim("Publish, in a third:"),
            curl_line(settings, at, &url)
        ),
        format!(
            "\n  {}\n",
            dim("Ctrl-C stops it. One machine, one copy of the data.")
        ),
    ]
    .concat()
}

/// For programs.
pub(super) fn facts(settings: &Settings, at: &UpAddresses, took: Duration) -> Value {
    let url = url(at.http);
    json!({
        "version": BUILD.version,
        "commit": BUILD.commit,
        "url": url,
        "kafka": at.kafka.to_string(),
        "data_dir": settings.data_dir,
        "token_file": at.token_file,
        "listen": listen_line(settings, at, &url),
        "curl": curl_line(settings, at, &url),
        "started_in_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    })
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn listen_line(settings: &Settings, at: &UpAddresses, url: &str) -> String {
    let default_token = Settings::default().data_dir.join(TOKEN_FILE);
    let mut line = format!("{} listen --channel alerts", program());
    if url != "http://127.0.0.1:8080" {
        line += &format!(" --url {url}");
    }
    if settings.no_auth {
        line += " --tenant demo";
    } else if at.token_file != default_token {
        line += &format!(" --token-file {}", quoted(&at.token_file));
    }
    line
}

fn curl_line(settings: &Settings, at: &UpAddresses, url: &str) -> String {
    let (token, tenant) = if settings.no_auth {
        (String::new(), r#""tenant_id":"demo","#)
    } else {
        (
            format!(" -H \"Authorization: Bearer $(cat {})\"", quoted(&at.token_file)),
            "",
        )
    };
    format!(
        "curl {url}/v1/notifications{token} \\\n      -H 'Content-Type: application/json' \
         -d '{{{tenant}\"channel\":\"alerts\",\"content\":\"hello\"}}'"
    )
}

/// This program as one would type it: as it was called, when that was by a path.
fn program() -> String {
    let called = std::env::args_os()
        .next()
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from("carillon"));
    if called.components().count() < 2 {
        return quoted(&called);
    }
    let here = std::env::current_dir().unwrap_or_default();
    match called.strip_prefix(&here) {
        Ok(inside) => quoted(&Path::new(".").join(inside)),
        Err(_) => quoted(&called),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = shown(path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(dir: &str) -> UpAddresses {
        UpAddresses {
            http: "127.0.0.1:8080".parse().unwrap(),
            kafka: "127.0.0.1:9092".parse().unwrap(),
            token_file: Path::new(dir).join(TOKEN_FILE),
        }
    }

    #[test]
    fn the_listen_line_is_short_where_defaults_suffice() {
        let (settings, at) = (Settings::default(), addresses("carillon-data"));
        let line = listen_line(&settings, &at, &url(at.http));
        assert!(line.ends_with("listen --channel alerts"), "{line}");
        let at = UpAddresses {
            http: "127.0.0.1:81".parse().unwrap(),
            ..addresses("it's here")
        };
        let line = listen_line(&settings, &at, &url(at.http));
        let rest = r"--url http://127.0.0.1:81 --token-file 'it'\''s here/keys/demo.token'";
        assert!(line.ends_with(rest), "{line}");
    }

    #[test]
    fn without_tokens_the_lines_name_the_tenant() {
        let (settings, at) = (
            Settings {
                no_auth: true,
                ..Settings::default()
            },
            addresses("carillon-data"),
        );
        assert!(listen_line(&settings, &at, "u").contains("--tenant demo"));
        let curl = curl_line(&settings, &at, "u");
        assert!(
            curl.contains(r#"{"tenant_id":"demo","#) && !curl.contains("Bearer"),
            "{curl}"
        );
    }
}
