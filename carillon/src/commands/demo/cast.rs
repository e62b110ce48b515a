//! Everybody in the demo: two tenants, four people, what was published and what they received.
//!
//! In: a server and a key. Out: lines, and what is not as promised. Always: what is compared is the list of
//! what was answered 202 with the list of what was received.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result, bail};
use carillon_auth::mint::SigningKey;
use carillon_chassis::{clock::Clock, tasks::Tasks};
use carillon_client::{Api, ClientError, Connection, Event, Listener, ListenerOptions, Publisher, Retry};
use carillon_schemas::{
    ChannelName, NotificationId, Stream, TenantId, close::CloseCode, frame::ErrorCode,
    notification::Submission,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at},
};

use super::subscriber::{self, Order, Orders, Told};
use crate::{
    output::{self, Ink, ink},
    stack::claims,
};

const TENANTS: [&str; 2] = ["acme", "globex"];
const PEOPLE: [(&str, usize); 4] = [("ann", 0), ("ben", 0), ("cyd", 1), ("dan", 1)];
/// Who is cut off.
const UNLUCKY: usize = 0;
/// Between two alerts, so that one can watch.
const PACE: Duration = Duration::from_millis(25);
/// Longest wait for anything that should come at once.
const PATIENCE: Duration = Duration::from_secs(15);
/// Events on their way to the screen; when it is full, subscribers wait.
const EVENTS: usize = 1024;
/// Life of the demo's tokens.
const TOKEN_LIFE: Duration = Duration::from_hours(1);

type Alert = (NotificationId, String);

/// Everybody.
pub(super) struct Cast {
    server: Connection,
    channel: ChannelName,
    tenants: Vec<Tenant>,
    people: Vec<Person>,
    heard: mpsc::Receiver<Told>,
    tell: mpsc::Sender<Told>,
    missed: u32,
    presence: Presence,
}

/// Where the unlucky one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    Away,
    Back,
}

struct Tenant {
    id: TenantId,
    server: Connection,
    publisher: Publisher,
    published: Vec<Alert>,
    last_is_right: bool,
}

struct Person {
    name: String,
    tenant: usize,
    server: Connection,
    orders: Option<Orders>,
    received: Vec<Alert>,
    foreign: usize,
}

impl Cast {
    pub(super) fn new(server: &Connection, key: &SigningKey, channel: &str) -> Result<Self> {
        let clock = Clock::system();
        let connection = |tenant: &str, subject: &str| -> Result<Connection> {
            let token = key.mint(&claims(tenant, subject, TOKEN_LIFE, &clock))?;
            Ok(server.clone().with_token(token))
        };
        let tenant = |id: &&str| -> Result<Tenant> {
            let server = connection(id, "publisher")?;
            let publisher = Publisher::new(&server)?.with_retry(Retry::PATIENT);
            Ok(Tenant {
                id: id.parse()?,
                server,
                publisher,
                published: Vec::new(),
                last_is_right: false,
            })
        };
        let person = |&(name, tenant): &(&str, usize)| -> Result<Person> {
            let server = connection(TENANTS[tenant], name)?;
            let name = format!("{}/{name}", TENANTS[tenant]);
            Ok(Person {
                name,
                tenant,
                server,
                orders: None,
                received: Vec::new(),
                foreign: 0,
            })
        };
        let (tell, heard) = mpsc::channel(EVENTS);
        Ok(Self {
            server: server.clone(),
            channel: channel.parse()?,
            tenants: TENANTS.iter().map(tenant).collect::<Result<_>>()?,
            people: PEOPLE.iter().map(person).collect::<Result<_>>()?,
            heard,
            tell,
            missed: 0,
            presence: Presence::Here,
        })
    }

    pub(super) fn show_tenants(&self) -> Result<()> {
        for tenant in &self.tenants {
            output::line(format_args!(
                "    {}  publishes at {}",
                ink(Ink::Cyan, format_args!("{:<8}", tenant.id.as_str())),
                self.server.url()
            ))?;
        }
        Ok(())
    }

    pub(super) async fn subscribe(&mut self, tasks: &Tasks) -> Result<()> {
        for (who, person) in self.people.iter_mut().enumerate() {
            let (server, channel, tell) = (person.server.clone(), self.channel.clone(), self.tell.clone());
            let started = timeout(PATIENCE, subscriber::start(who, server, channel, tell, tasks)).await;
            person.orders = Some(started.context("no answer to a subscription")??);
            output::line(format_args!(
                "    {:<12} subscribed to {}",
                person.name, self.channel
            ))?;
        }
        Ok(())
    }

    /// One tenant's token, the other's name: refused, and closed for good.
    pub(super) async fn trespass(&self) -> Result<()> {
        let (thief, victim) = (&self.people[0], &self.tenants[1]);
        let options = ListenerOptions {
            tenant: Some(victim.id.clone()),
            ..ListenerOptions::channels([self.channel.clone()])
        };
        let mut listener = Listener::connect(&thief.server, options).await?;
        let tried = async {
            let mut told = None;
            loop {
                match listener.next().await {
                    Ok(Event::Refused { code, .. }) => told = Some(code),
                    // One's own stream comes unasked.
                    Ok(Event::Subscribed {
                        stream: Stream::User(_),
                        ..
                    }) => {}
                    Ok(event) => break Err(anyhow::anyhow!("{event:?} instead of a refusal")),
                    Err(error) => break Ok((told, error)),
                }
            }
        };
        let (told, end) = timeout(PATIENCE, tried)
            .await
            .context("a trespass was not refused")??;
        match (told, end) {
            (Some(ErrorCode::TenantForbidden), ClientError::Closed { code, reason })
                if code == CloseCode::Forbidden.number() =>
            {
                let who = &thief.name;
                output::line(format_args!(
                    "    {who} asks for {}: error frame, closed with {code} {reason}",
                    victim.id
                ))
            }
            (told, end) => bail!("a trespass was answered with {told:?} and {end}"),
        }
    }

    /// Publishes, and shows what is received meanwhile.
    pub(super) async fn publish(&mut self, alerts: u32, drop: bool) -> Result<()> {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 1..=alerts {
            pace.tick().await;
            if drop {
                self.drop_or_resume(number, alerts).await?;
            }
            self.publish_one(number).await?;
            while let Ok(told) = self.heard.try_recv() {
                self.take(told)?;
            }
        }
        Ok(())
    }

    /// Away before a third is published, told to come back before two thirds, back before the last.
    async fn drop_or_resume(&mut self, number: u32, alerts: u32) -> Result<()> {
        let leaves = (alerts / 3).max(1);
        let returns = leaves + (alerts / 3).max(1);
        if number == leaves {
            self.order(Order::Drop).await?;
            self.until("a subscriber to be gone", |cast| cast.presence == Presence::Away)
                .await
        } else if number == returns {
            // Publishing goes on while it comes back.
            self.missed = returns - leaves;
            self.order(Order::Resume).await
        } else if number == alerts {
            self.until("a subscriber to be back", |cast| cast.presence == Presence::Back)
                .await
        } else {
            Ok(())
        }
    }

    async fn order(&mut self, order: Order) -> Result<()> {
        let orders = self.people[UNLUCKY]
            .orders
            .as_ref()
            .context("nobody is subscribed")?;
        orders.send(order).await.context("a subscriber ended")
    }

    async fn publish_one(&mut self, number: u32) -> Result<()> {
        for tenant in &mut self.tenants {
            let content = format!("alert {number} of {}", tenant.id);
            let mut submission = Submission::text(content.clone());
            submission.channel = Some(self.channel.clone());
            let accepted = tenant.publisher.publish(&submission, None).await?;
            tenant.published.push((accepted.notification_id, content));
        }
        Ok(())
    }

    /// Takes in what is told until this holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let told = timeout_at(deadline, self.heard.recv()).await;
            let told = told
                .with_context(|| format!("waited in vain for {what}"))?
                .context("every subscriber ended")?;
            self.take(told)?;
        }
        Ok(())
    }

    fn take(&mut self, told: Told) -> Result<()> {
        let name = |who: usize| &self.people[who].name;
        match told {
            Told::Received {
                who,
                tenant,
                id,
                content,
            } => {
                output::line(format_args!(
                    "    {:<12} {} {content}",
                    name(who),
                    ink(Ink::Dim, "received")
                ))?;
                let person = &mut self.people[who];
                person.foreign += usize::from(self.tenants[person.tenant].id != tenant);
                person.received.push((id, content));
            }
            Told::Gone { who } => {
                self.presence = Presence::Away;
                let text = ink(Ink::Red, "is cut off, while publishing goes on");
                output::line(format_args!("    {:<12} {text}", name(who)))?;
            }
            Told::Back { who } => {
                self.presence = Presence::Back;
                let text = ink(
                    Ink::Green,
                    "is back, from its last cursor, while publishing goes on",
                );
                output::line(format_args!("    {:<12} {text}", name(who)))?;
            }
            Told::Failed { who, error } => bail!("{} cannot go on: {error}", name(who)),
        }
        Ok(())
    }

    /// Waits until everybody has as many as their tenant published.
    pub(super) async fn drain(&mut self) -> Result<()> {
        let complete = |cast: &Self| {
            cast.people
                .iter()
                .all(|p| p.received.len() >= cast.tenants[p.tenant].published.len())
        };
        if let Err(error) = self.until("the last alerts", complete).await {
            output::line(format_args!("    {}", ink(Ink::Red, &error)))?;
        }
        for person in &self.people {
            let (received, published) = (person.received.len(), self.tenants[person.tenant].published.len());
            output::line(format_args!("    {:<12} {received} of {published}", person.name))?;
        }
        Ok(())
    }

    /// The last alerts of each tenant, as the store has them.
    pub(super) async fn last(&mut self, n: u32) -> Result<()> {
        for tenant in &mut self.tenants {
            let from = tenant.published.len().saturating_sub(n as usize);
            let expected = &tenant.published[from..];
            let api = Api::new(&tenant.server)?;
            let deadline = Instant::now() + PATIENCE;
            let found = loop {
                let page = api.recent(&tenant.id, &self.channel, n).await?;
                let found: Vec<Alert> = page
                    .notifications
                    .into_iter()
                    .map(|entry| (entry.notification.notification_id, entry.notification.content))
                    .collect();
                // The store hears of a dispatch a moment after the subscribers.
                if found == expected || Instant::now() > deadline {
                    break found;
                }
                sleep(Duration::from_millis(5)).await;
            };
            tenant.last_is_right = found == expected;
            let contents: Vec<_> = found.iter().map(|(_, content)| content.as_str()).collect();
            output::line(format_args!(
                "    {:<8} {}",
                tenant.id.as_str(),
                contents.join(" · ")
            ))?;
        }
        Ok(())
    }

    /// The counts, and what is not as promised.
    pub(super) fn summary(&self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for person in &self.people {
            let published = &self.tenants[person.tenant].published;
            let ids: HashSet<_> = person.received.iter().map(|(id, _)| id).collect();
            let lost = published.iter().filter(|(id, _)| !ids.contains(id)).count();
            let doubled = person.received.len() - ids.len();
            let ordered = person.received == *published;
            let text = format!(
                "{} received, {lost} lost, {doubled} doubled, {} of another tenant, {}",
                person.received.len(),
                person.foreign,
                if ordered { "in order" } else { "not in order" }
            );
            output::line(format_args!("    {:<12} {text}", person.name))?;
            if !ordered || lost + doubled + person.foreign > 0 {
                wrong.push(format!("{}: {text}", person.name));
            }
        }
        if self.missed > 0 && wrong.is_empty() {
            let name = &self.people[UNLUCKY].name;
            output::line(format_args!(
                "    {name} was away for {} alerts and has them all",
                self.missed
            ))?;
        }
        for tenant in self.tenants.iter().filter(|tenant| !tenant.last_is_right) {
            wrong.push(format!(
                "{}: the last alerts read back are not those published",
                tenant.id
            ));
        }
        Ok(wrong)
    }
}
