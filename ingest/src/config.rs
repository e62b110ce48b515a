//! Configuration: the bounds of an ingest process.
//!
//! In: what the deployment sets. Out: checked figures with their units.
//! Always: every bound and every wait of this room stands here.

use std::time::Duration;

use carillon_schemas::limits;

use crate::{IngestError, policy::Load};

/// How an ingest process behaves.
#[derive(Debug, Clone)]
pub struct IngestConfig {
    /// Which process says so, in audit trails.
    pub node: String,
    /// Origins (`https://app.example.com`) whose pages may call the API; `*` is any. Empty: none.
    pub cors_origins: Vec<String>,
    /// Largest request body in bytes; more is answered with 413. What bodies may hold at once is this times
    /// the connections that the listener admits.
    pub body_bytes: usize,
    /// How long a body may take to arrive; longer is answered with 408.
    pub body_deadline: Duration,
    /// How long a request may take as a whole. Longer than the bus's `message_timeout`, so that Kafka's own
    /// answer comes first.
    pub request_deadline: Duration,
    /// How long one answer of the store may take.
    pub store_deadline: Duration,
    /// Most submits at work at once, which is also the most records that this process may have
    /// unacknowledged; one more is answered with 503.
    pub in_flight: usize,
    /// Most bytes of bodies of such submits; more is answered with 503. Below what the bus's producer holds
    /// (`producer_kib`), so that its own bound, which knows no tenants, is not met.
    pub in_flight_bytes: usize,
    /// How many per cent of both one tenant may hold; more is answered with 503.
    pub tenant_percent: u32,
    /// How many notifications with an idempotency key are remembered as published, so that a repeat of one
    /// is answered without publishing it again.
    pub remembered: usize,
    /// How often Kafka and the store are asked whether they are there, for `/ready`.
    pub probe_every: Duration,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            node: "ingest".to_owned(),
            cors_origins: Vec::new(),
            body_bytes: limits::NOTIFICATION_BYTES,
            body_deadline: Duration::from_secs(10),
            request_deadline: Duration::from_secs(20),
            store_deadline: Duration::from_secs(5),
            in_flight: 16_384,
            in_flight_bytes: 48 * 1024 * 1024,
            tenant_percent: 25,
            remembered: 65_536,
            probe_every: Duration::from_secs(1),
        }
    }
}

impl IngestConfig {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// [`IngestError::Config`] names the first setting that cannot work.
    pub(crate) fn check(&self) -> Result<(), IngestError> {
        let bad = |what: String| Err(IngestError::Config(what));
        for (name, value) in [
            ("body_bytes", self.body_bytes),
            ("in_flight", self.in_flight),
            ("in_flight_bytes", self.in_flight_bytes),
            ("remembered", self.remembered),
        ] {
            if value == 0 {
                return bad(format!("{name} must be at least 1"));
            }
        }
        if !(1..=100).contains(&self.tenant_percent) {
            return bad("tenant_percent must be between 1 and 100".to_owned());
        }
        for (name, value) in [
            ("body_deadline", self.body_deadline),
            ("request_deadline", self.request_deadline),
            ("store_deadline", self.store_deadline),
            ("probe_every", self.probe_every),
        ] {
            if value.is_zero() {
                return bad(format!("{name} must be longer than nothing"));
            }
        }
        match self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            Some(origin) => bad(format!(
                "cors_origins: {origin:?} is not an origin such as https://app.example.com, nor *"
            )),
            None => Ok(()),
        }
    }

    /// What may be at work at once, in all.
    pub(crate) fn load(&self) -> Load {
        Load {
            submits: self.in_flight,
            bytes: self.in_flight_bytes,
        }
    }

    /// What of it one tenant may hold.
    pub(crate) fn tenant_load(&self) -> Load {
        let share = |all: usize| all.saturating_mul(self.tenant_percent as usize) / 100;
        Load {
            submits: share(self.in_flight).max(1),
            bytes: share(self.in_flight_bytes),
        }
    }
}

/// `scheme://host` or `scheme://host:port`, as a browser writes it (RFC 6454), or `*`.
fn is_origin(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let plain = |c: char| c.is_ascii_graphic() && !c.is_ascii_uppercase() && !"/?#@".contains(c);
    !scheme.is_empty() && scheme.chars().all(plain) && !host.is_empty() && host.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut IngestConfig)) -> String {
        let mut config = IngestConfig::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn a_setting_that_cannot_work_is_refused_by_its_name() {
        assert!(IngestConfig::default().check().is_ok());
        assert!(refused(|c| c.in_flight = 0).contains("in_flight"));
        assert!(refused(|c| c.tenant_percent = 101).contains("tenant_percent"));
        assert!(refused(|c| c.store_deadline = Duration::ZERO).contains("store_deadline"));
        for origin in [
            "",
            "app.example.com",
            "https://app.example.com/",
            "https://App.example.com",
            "null",
        ] {
            let text = refused(|c| c.cors_origins = vec![origin.to_owned()]);
            assert!(text.contains("cors_origins"), "{origin}: {text}");
        }
    }

    #[test]
    fn one_tenant_may_always_have_one_submit() {
        let config = IngestConfig {
            in_flight: 1,
            tenant_percent: 1,
            ..IngestConfig::default()
        };
        assert_eq!(config.tenant_load().submits, 1);
        let share = IngestConfig::default().tenant_load();
        assert_eq!((share.submits, share.bytes), (4_096, 12 * 1024 * 1024));
    }
}
