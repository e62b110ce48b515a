//! The history of a run: what was asked, answered, seen and struck, in the order in which it was noted.
//!
//! In: entries of publishers, listeners, readers of topics, the one who strikes. Out: itself, for the checker and, as
//! lines of JSON, for people. Always: moments are Unix milliseconds of one machine, and so comparable.

use std::{collections::HashMap, io, io::Write, ops::Range};

use carillon_schemas::{NotificationId, TenantId, status::Status};
use serde::Serialize;

use super::{kinds::Kind, plan::Fault, recovery::target};
use crate::journal::Place;

/// A notification that was answered 202.
#[derive(Debug, Clone, Serialize)]
pub struct Accepted {
    /// When its first attempt began.
    pub begun: u64,
    /// When the 202 came.
    pub at: u64,
    /// How many requests it took.
    pub attempts: u32,
    /// Which of [`History::places`].
    pub place: usize,
    /// Its number there.
    pub number: u64,
    /// Its id.
    pub id: NotificationId,
    /// Its kind.
    pub kind: Kind,
    /// Not to be seen before.
    pub due: Option<u64>,
    /// Its collapse key.
    pub key: Option<String>,
}

/// A notification on a socket.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sighting {
    /// When.
    pub at: u64,
    /// Which of [`History::listeners`].
    pub listener: usize,
    /// Which of [`History::places`].
    pub place: usize,
    /// Whether on the user's stream and not the channel's.
    pub user: bool,
    /// Which notification.
    pub id: NotificationId,
    /// Its number.
    pub number: u64,
    /// Its kind. The frame tells, for a notification whose 202 was lost is seen too.
    pub kind: Kind,
    /// Which deliberate repeat.
    pub delivery: u32,
    /// In which attempt.
    pub attempt: u8,
}

/// Who listens.
#[derive(Debug, Clone, Serialize)]
pub struct Listener {
    /// Its tenant.
    pub tenant: TenantId,
    /// Whether it removes repeats, as clients do. The other kind keeps what the server sends.
    pub removes_repeats: bool,
}

/// What should not have been, or was told instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Note {
    /// A frame of a tenant, channel or user that the listener may not see, or that nobody submitted.
    Foreign(String),
    /// `prev` was not the place reached before, and nothing had announced it.
    Break(String),
    /// Told: lost for good. In one of [`History::places`], or in the user's stream.
    Unrecovered(Option<usize>),
    /// Told: left out for now.
    Lagged,
    /// A listener ended for good.
    Ended(String),
}

/// On which kind of topic a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum On {
    /// router → fanout.
    Deliveries,
    /// A tier of the ladder, with its delay in milliseconds.
    Retry(u64),
    /// The dead letters.
    DeadLetters,
    /// Beside the main way, at once.
    Overflow,
    /// Back in from the dead letters.
    Redrive,
}

/// A record that the router wrote.
#[derive(Debug, Clone, Serialize)]
pub struct Moved {
    /// Where.
    pub on: On,
    /// Its timestamp.
    pub at: u64,
    /// The notification, where it can be told.
    pub id: Option<NotificationId>,
    /// The tenant of the header, where there is one.
    pub tenant: Option<TenantId>,
    /// The tenant of the value, where it can be read.
    pub written_for: Option<TenantId>,
    /// Which deliberate repeat; 0 where it was not dispatched yet.
    pub delivery: u32,
    /// In which attempt.
    pub attempt: u8,
    /// How often it was put back in.
    pub redrive: u8,
    /// How often it was moved between topics.
    pub hops: u32,
    /// Whether it asks for an acknowledgement and is no retry.
    pub check: bool,
    /// Why it is a dead letter.
    pub code: Option<String>,
    /// The mark of the poison producer, where it was its record.
    pub poison: Option<u64>,
    /// A fingerprint of its value.
    pub value: u64,
}

/// A record that a hostile producer wrote straight to Kafka.
#[derive(Debug, Clone, Serialize)]
pub struct Poison {
    /// When.
    pub at: u64,
    /// Its mark.
    pub mark: u64,
    /// What is wrong with it.
    pub what: String,
    /// A fingerprint of its value.
    pub value: u64,
}

/// A fault that was inflicted.
#[derive(Debug, Clone, Serialize)]
pub struct Strike {
    /// Which.
    pub fault: Fault,
    /// Whether nothing else disturbed.
    pub alone: bool,
    /// When it began.
    pub at: u64,
    /// When it was undone: started and ready, or let go on.
    pub undone: u64,
    /// When everything flowed again; 0 where that was not waited for.
    pub flowed: u64,
    /// When the next round began, or the load ended.
    pub until: u64,
}

impl Strike {
    /// When what came of it was over: when everything flowed, and where that was not waited for, when it had to.
    pub fn over(&self) -> u64 {
        match self.flowed {
            0 => self.undone + target(self.fault.target),
            flowed => flowed,
        }
    }
}

/// Everything that was noted.
#[derive(Debug, Default)]
pub struct History {
    /// Channels of tenants that are published to.
    pub places: Vec<Place>,
    /// Who listened.
    pub listeners: Vec<Listener>,
    /// Requests that were sent.
    pub attempts: u64,
    /// What was answered 202.
    pub accepted: Vec<Accepted>,
    /// What came over sockets.
    pub sightings: Vec<Sighting>,
    /// What else listeners noted: moment, listener, note.
    pub notes: Vec<(u64, usize, Note)>,
    /// States at the end, of every notification that could be read.
    pub states: HashMap<NotificationId, Status>,
    /// Records at the end.
    pub moved: Vec<Moved>,
    /// Hostile records.
    pub poison: Vec<Poison>,
    /// Faults.
    pub strikes: Vec<Strike>,
    /// When the load began and ended.
    pub load: Range<u64>,
    /// Records of the group that stayed unhandled after patience; none when it could not be asked.
    pub lag: Option<i64>,
    /// Ends of processes that were asked to end and did so badly.
    pub bad_ends: Vec<String>,
    /// The longest time for which the harness itself got no processor, in milliseconds.
    pub starved: u64,
    /// For how much of the load something on the machine waited for a processor, in percent, where Linux tells.
    pub pressure: Option<u64>,
}

impl History {
    /// The index of a place, if it is published to.
    pub fn place(&self, place: &Place) -> Option<usize> {
        self.places.iter().position(|p| p == place)
    }

    /// Writes everything as lines of JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        fn lines<T: Serialize>(out: &mut impl Write, what: &str, items: &[T]) -> io::Result<()> {
            for item in items {
                let line = serde_json::json!({ what: item });
                writeln!(out, "{line}")?;
            }
            Ok(())
        }
        lines(out, "place", &self.places)?;
        lines(out, "listener", &self.listeners)?;
        lines(out, "strike", &self.strikes)?;
        lines(out, "accepted", &self.accepted)?;
        lines(out, "sighting", &self.sightings)?;
        lines(out, "note", &self.notes)?;
        lines(out, "poison", &self.poison)?;
        lines(out, "moved", &self.moved)?;
        lines(out, "state", &self.states.iter().collect::<Vec<_>>())?;
        lines(out, "bad_end", &self.bad_ends)?;
        let rest = serde_json::json!({
            "attempts": self.attempts, "load": self.load, "lag": self.lag, "starved": self.starved,
            "pressure": self.pressure,
        });
        writeln!(out, "{rest}")
    }
}

/// A fingerprint of bytes (FNV-1a): equal bytes, equal prints.
pub fn print_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
