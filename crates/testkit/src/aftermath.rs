//! After a run: what stands on the topics, what the group has handled, what GET says.
//!
//! In: the ways to Kafka and to the API. Out: records, lag and states for the history. Always: read from outside, as any
//! other Kafka client and any user could.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use carillon_bus::{Admin, BusConfig, BusError, RangeReader, Record};
use carillon_chassis::{metrics::Metrics, tasks::Tasks};
use carillon_client::{Api, ClientError, Connection, Deliveries};
use carillon_schemas::{
    NotificationId, TenantId, delivery::Delivery, envelope::Envelope, headers, status::Status, topics::Topics,
};

use crate::{
    chaos::history::{Moved, On, print_of},
    load::MARK,
};

/// How long what is left may take to be handled, and a topic to be read.
const PATIENCE: Duration = Duration::from_secs(90);
const PACE: Duration = Duration::from_millis(250);
/// How much of a partition is read at once.
const PART_BYTES: usize = 4 << 20;
/// How long one such read may take.
const READ: Duration = Duration::from_secs(10);
/// Rows of a page of deliveries.
const ROWS: u32 = 500;

/// Waits until the routers' groups have handled everything that moves notifications on, ladder and overflow included, or
/// patience ends; gives what is left, and how long it took.
pub async fn lag(bus: &BusConfig, group: &str) -> (Option<i64>, Duration) {
    let begun = Instant::now();
    let Ok(admin) = Admin::new(bus, &Metrics::new()) else {
        return (None, begun.elapsed());
    };
    loop {
        let lag = all_lag(&admin, &bus.topics, group).await.ok();
        if lag == Some(0) || begun.elapsed() > PATIENCE {
            return (lag, begun.elapsed());
        }
        tokio::time::sleep(PACE).await;
    }
}

/// What the groups that move notifications on have not handled yet, and what the store has not heard yet.
async fn all_lag(admin: &Admin, topics: &Topics, group: &str) -> Result<i64, BusError> {
    let mut lag = admin.lag(group, &topics.notifications).await?;
    let beside = [
        ("redrive", &topics.redrive),
        ("overflow", &topics.overflow),
        ("receipts", &topics.receipts),
    ];
    for (part, topic) in beside {
        lag += admin.lag(&format!("{group}-{part}"), topic).await?;
    }
    for tier in &topics.retry {
        lag += admin.lag(&format!("{group}-ladder"), &tier.name).await?;
    }
    Ok(lag)
}

/// Every record that routers wrote.
///
/// # Errors
/// When a topic cannot be read.
pub async fn moved(bus: &BusConfig) -> Result<Vec<Moved>, BusError> {
    let admin = Admin::new(bus, &Metrics::new())?;
    let mut all = Vec::new();
    for (topic, on) in topics(&bus.topics) {
        let ends = admin.ends(topic).await?;
        read(bus, topic, on, &ends, &mut all).await?;
    }
    Ok(all)
}

fn topics(topics: &Topics) -> Vec<(&str, On)> {
    let mut all = vec![
        (topics.deliveries.as_str(), On::Deliveries),
        (topics.dead_letters.as_str(), On::DeadLetters),
        (topics.overflow.as_str(), On::Overflow),
        (topics.redrive.as_str(), On::Redrive),
    ];
    let retry = topics.retry.iter();
    all.extend(retry.map(|tier| {
        (
            tier.name.as_str(),
            On::Retry(tier.delay.delay().as_millis() as u64),
        )
    }));
    all
}

async fn read(
    bus: &BusConfig,
    topic: &str,
    on: On,
    ends: &[(i32, i64, i64)],
    into: &mut Vec<Moved>,
) -> Result<(), BusError> {
    let tasks = Tasks::new();
    let reader = RangeReader::new(bus, topic, 1, &Metrics::new(), &tasks)?;
    for &(partition, first, end) in ends {
        let (mut at, begun) = (first, Instant::now());
        while at < end && begun.elapsed() < PATIENCE {
            let page = reader.read(partition, at, end, PART_BYTES, READ).await?;
            into.extend(page.records.iter().map(|record| entry(record, on)));
            at = page.next;
        }
    }
    drop(reader);
    tasks.close(READ).await;
    Ok(())
}

fn entry(record: &Record, on: On) -> Moved {
    let value = record.value.as_deref().unwrap_or_default();
    let text = |name: &str| record.headers.text(name);
    fn number<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
        text?.parse().ok()
    }
    let delivery = (on == On::Deliveries)
        .then(|| Delivery::from_json(value).ok())
        .flatten();
    let (count, attempt) = match &delivery {
        Some(d) => (Some(d.delivery), Some(d.attempt)),
        None => (number(text(headers::DELIVERY)), number(text(headers::ATTEMPT))),
    };
    let envelope = delivery
        .map(|d| d.envelope)
        .or_else(|| Envelope::from_json(value).ok());
    let hops = number(text(headers::HOPS)).unwrap_or(0);
    Moved {
        on,
        at: record
            .timestamp_ms
            .and_then(|at| u64::try_from(at).ok())
            .unwrap_or(0),
        id: envelope.as_ref().map(|e| e.notification_id),
        tenant: number(text(headers::TENANT)),
        written_for: envelope.map(|e| e.tenant_id),
        delivery: count.unwrap_or(0),
        attempt: attempt.unwrap_or(1),
        redrive: number(text(headers::REDRIVE_COUNT)).unwrap_or(0),
        hops,
        check: record.headers.get(headers::CHECK).is_some(),
        code: text(headers::ERROR_CODE).map(ToOwned::to_owned),
        poison: number(text(MARK)),
        value: print_of(value),
    }
}

/// The state of every notification of a tenant, page by page.
///
/// # Errors
/// When the server refuses, or answers nothing for too long.
pub async fn states(
    url: &str,
    token: &str,
    tenant: &TenantId,
) -> Result<HashMap<NotificationId, Status>, ClientError> {
    let api = Api::new(&Connection::new(url)?.with_token(token))?;
    let mut states = HashMap::new();
    let mut which = Deliveries {
        limit: Some(ROWS),
        ..Deliveries::default()
    };
    let mut asked = Instant::now();
    loop {
        let page = match api.deliveries(tenant, &which).await {
            Ok(page) => page,
            Err(error) if error.is_temporary() && asked.elapsed() < PATIENCE => {
                tokio::time::sleep(PACE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        states.extend(
            page.deliveries
                .iter()
                .map(|row| (row.notification_id, row.status)),
        );
        asked = Instant::now();
        match page.next_cursor {
            Some(cursor) => which.cursor = Some(cursor),
            None => return Ok(states),
        }
    }
}

/// The state of one notification as GET tells it; none while it cannot be read.
pub async fn state(url: &str, token: &str, id: NotificationId) -> Option<Status> {
    let api = Api::new(&Connection::new(url).ok()?.with_token(token)).ok()?;
    let begun = Instant::now();
    loop {
        match api.notification(id).await {
            Ok(state) => return Some(state.status),
            Err(error) if error.is_temporary() && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(PACE).await;
            }
            Err(_) => return None,
        }
    }
}
