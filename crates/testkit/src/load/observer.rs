//! An observer: what listeners of either sort write into the history.
//!
//! In: frames, what was told. Out: sightings and notes. Always: a frame that the listener may not see, or that nobody
//! submitted, is noted as foreign and is no sighting.

use std::sync::Arc;

use carillon_chassis::clock::Clock;
use carillon_schemas::{Stream, TenantId, frame::NotificationFrame};
use parking_lot::Mutex;

use crate::chaos::{
    History, Kind,
    history::{Listener, Note, Sighting},
    kinds::{USER, number},
};

/// Writes for one listener.
#[derive(Clone)]
pub(super) struct Observer {
    history: Arc<Mutex<History>>,
    clock: Clock,
    listener: usize,
    tenant: TenantId,
}

impl Observer {
    /// Enters a listener into the history.
    pub(super) fn new(history: &Arc<Mutex<History>>, tenant: &TenantId, removes_repeats: bool) -> Self {
        let mut noted = history.lock();
        noted.listeners.push(Listener {
            tenant: tenant.clone(),
            removes_repeats,
        });
        Self {
            history: Arc::clone(history),
            clock: Clock::system(),
            listener: noted.listeners.len() - 1,
            tenant: tenant.clone(),
        }
    }

    pub(super) fn saw(&self, frame: &NotificationFrame) {
        let envelope = &frame.delivery.envelope;
        let place = (envelope.tenant_id.clone(), envelope.channel.clone());
        let user = match &frame.stream {
            Stream::Channel(channel) => (*channel == place.1).then_some(false),
            Stream::User(user) => (user.as_str() == USER).then_some(true),
        };
        let mut history = self.history.lock();
        let at = self.clock.unix_ms();
        let known = history.place(&place).filter(|_| place.0 == self.tenant);
        let kind = envelope.kind.as_deref().and_then(Kind::from_name);
        match (known, user, number(&envelope.content), kind) {
            (Some(place), Some(user), Some(number), Some(kind)) => history.sightings.push(Sighting {
                at,
                listener: self.listener,
                place,
                user,
                id: envelope.notification_id,
                number,
                kind,
                delivery: frame.delivery.delivery,
                attempt: frame.delivery.attempt,
            }),
            _ => {
                let what = format!(
                    "{} of {}/{} on {}: {:.40}",
                    envelope.notification_id, place.0, place.1, frame.stream, envelope.content
                );
                history.notes.push((at, self.listener, Note::Foreign(what)));
            }
        }
    }

    pub(super) fn note(&self, note: Note) {
        let at = self.clock.unix_ms();
        self.history.lock().notes.push((at, self.listener, note));
    }

    /// Told that what came after some place of a stream is lost for good.
    pub(super) fn unrecovered(&self, stream: &Stream) {
        let place = match stream {
            Stream::User(_) => None,
            Stream::Channel(channel) => {
                let place = (self.tenant.clone(), channel.clone());
                self.history.lock().place(&place)
            }
        };
        self.note(Note::Unrecovered(place));
    }
}
