//! Commands: what is ordered over HTTP, on its way to the router that has the tenant's partition.
//!
//! In: an order that was let in. Out: a record on the commands topic, its key the tenant.
//! Always: the tenant's header equals the command's tenant; a job's command has the job's id.

use std::sync::Arc;

use bytes::Bytes;
use carillon_bus::Outgoing;
use carillon_schemas::{
    command::{self, Command},
    headers::{self, Headers},
};
use uuid::Uuid;

use crate::refusal::Refusal;

/// A version 7 UUID of a moment.
pub(crate) fn new_id(now_ms: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(now_ms, &rand::random()).into_uuid()
}

/// The moment inside a version 7 UUID, in Unix milliseconds.
pub(crate) fn moment_of(id: Uuid) -> Option<u64> {
    carillon_schemas::NotificationId::from_bytes(id.into_bytes()).unix_ms()
}

/// The record of a command.
///
/// # Errors
/// [`Refusal::Internal`], never for what the contract's parsers let through.
pub(crate) fn seal(command: &Command, topic: &Arc<str>) -> Result<Outgoing, Refusal> {
    let value = serde_json::to_vec(command).map_err(|e| Refusal::Internal(e.to_string()))?;
    let key = Bytes::copy_from_slice(command.tenant_id.as_str().as_bytes());
    let mut headers = Headers::with_capacity(2);
    headers.set(headers::TENANT, key.clone());
    headers.set(headers::SCHEMA, Bytes::from_static(command::SCHEMA.as_bytes()));
    Ok(Outgoing {
        topic: Arc::clone(topic),
        partition: None,
        key,
        value: value.into(),
        headers,
    })
}

#[cfg(test)]
mod tests {
    use carillon_schemas::{NotificationId, command::Order};

    use super::*;

    #[test]
    fn a_command_goes_where_its_tenant_is_and_says_whose_it_is() {
        let command = Command {
            id: new_id(7),
            tenant_id: "acme".parse().unwrap(),
            actor: Some("ops".to_owned()),
            at: 7,
            order: Order::Cancel {
                notification_id: NotificationId::at(5, &[1; 10]),
            },
        };
        let record = seal(&command, &Arc::from("commands")).unwrap();
        assert_eq!((&*record.topic, &record.key[..]), ("commands", &b"acme"[..]));
        assert_eq!(record.headers.text(headers::TENANT), Some("acme"));
        assert_eq!(record.headers.text(headers::SCHEMA), Some("command/1"));
        assert_eq!(serde_json::from_slice::<Command>(&record.value).unwrap(), command);
        assert_eq!(moment_of(command.id), Some(7));
    }
}
