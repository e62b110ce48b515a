//! `carillon listen`: subscribe from a terminal, or as the beginning of a pipe.
//!
//! In: channels, perhaps a cursor. Out: a line per notification: for people on a terminal, NDJSON otherwise.
//! Always: standard output has notifications and nothing else; what happens beside is told on standard error.

use std::{collections::BTreeMap, io::IsTerminal};

use anyhow::Result;
use carillon_client::{Connection, Event, Listener, ListenerOptions};
use carillon_schemas::{
    ChannelName, Stream, TenantId, UserId,
    cursor::Cursor,
    frame::{NotificationFrame, ServerFrame},
};

use crate::{
    client::ClientArgs,
    output::{self, Format, Ink, Usage, ink, note, time_of_day},
};

/// Arguments of `carillon listen`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  carillon listen --channel alerts --last 5
  carillon listen --channel alerts --output json | jq .content
  carillon listen --channel alerts --since AQAB --count 1
  carillon listen --channel orders --ack")]
pub(crate) struct Args {
    /// A channel. May be repeated. Notifications for the own user come without asking.
    #[arg(long, value_name = "NAME", required = true)]
    channel: Vec<ChannelName>,
    /// Begin after this cursor; with several channels write STREAM=CURSOR. May be repeated.
    #[arg(long, value_name = "CURSOR")]
    since: Vec<String>,
    /// Begin with the last so many notifications of each channel.
    #[arg(long, value_name = "N")]
    last: Option<u32>,
    /// Acknowledge each notification after it was printed.
    #[arg(long)]
    ack: bool,
    /// End after so many notifications.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The tenant; needed where the server asks for no token.
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    /// The user, where the server asks for no token.
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// The form of what is printed [default: text on a terminal, otherwise json].
    #[arg(long, value_enum)]
    output: Option<Format>,
    #[command(flatten)]
    server: ClientArgs,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let server = self.server.connection()?;
        let options = ListenerOptions {
            since: self.since()?,
            last: self.last,
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            auto_ack: self.ack,
            ..ListenerOptions::channels(self.channel.clone())
        };
        let mut listener = Listener::connect(&server, options).await?;
        let outcome = self.follow(&server, &mut listener).await;
        listener.close().await;
        outcome
    }

    fn since(&self) -> Result<BTreeMap<Stream, Cursor>> {
        let only = match self.channel.as_slice() {
            [channel] => Some(Stream::Channel(channel.clone())),
            _ => None,
        };
        let bad = |text: &str| {
            Usage(format!(
                "--since {text} is no CURSOR of one channel and no STREAM=CURSOR"
            ))
        };
        let mut since = BTreeMap::new();
        for text in &self.since {
            let (stream, cursor) = match text.rsplit_once('=') {
                Some((stream, cursor)) => (stream.parse().ok(), cursor),
                None => (only.clone(), text.as_str()),
            };
            let stream: Stream = stream.ok_or_else(|| bad(text))?;
            since.insert(stream, cursor.parse().map_err(|_| bad(text))?);
        }
        Ok(since)
    }

    async fn follow(&self, server: &Connection, listener: &mut Listener) -> Result<()> {
        let format = self.output.unwrap_or(match std::io::stdout().is_terminal() {
            true => Format::Text,
            false => Format::Json,
        });
        let mut left = self.count;
        while left != Some(0) {
            match listener.next().await? {
                Event::Notification(frame) => {
                    show(format, frame)?;
                    left = left.map(|n| n - 1);
                }
                event => tell(server, &event),
            }
        }
        Ok(())
    }
}

fn show(format: Format, frame: Box<NotificationFrame>) -> Result<()> {
    if format == Format::Json {
        return output::line(ServerFrame::Notification(frame).to_json()?);
    }
    let (envelope, cursor) = (&frame.delivery.envelope, frame.cursor);
    let title = envelope
        .title
        .as_ref()
        .map(|t| format!("{}: ", ink(Ink::Bold, t)))
        .unwrap_or_default();
    let data = envelope
        .data
        .as_ref()
        .map(|d| format!(" {}", ink(Ink::Dim, d.get())))
        .unwrap_or_default();
    output::line(format_args!(
        "{}  {}  {title}{}{data}  {}",
        ink(Ink::Dim, time_of_day(envelope.accepted_at)),
        ink(Ink::Cyan, &frame.stream),
        envelope.content,
        ink(Ink::Dim, cursor)
    ))
}

fn tell(server: &Connection, event: &Event) {
    match event {
        Event::Notification(_) => {}
        Event::Subscribed { stream, cursor, .. } => {
            note(format_args!(
                "subscribed to {stream} at {cursor} of {}",
                server.url()
            ));
        }
        Event::Lagged { stream, dropped } => {
            note(format_args!(
                "{stream}: {dropped} left out because we read too slowly; fetching them"
            ));
        }
        Event::Unrecovered { stream, from } => note(format_args!("{stream}: what came after {from} is lost")),
        Event::Refused { code, detail } => note(format_args!("refused: {detail} ({code:?})")),
        Event::Disconnected {
            code,
            reason,
            retry_in,
        } => {
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            note(format_args!(
                "disconnected: {reason}{code}; coming back in {:.1} s",
                retry_in.as_secs_f32()
            ));
        }
        Event::Reconnected => note("connected again"),
    }
}
