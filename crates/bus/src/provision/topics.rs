//! Topics: what is there, and making it what it should be.
//!
//! In: specifications. Out: requests to the controller. Always: on the administrator's thread; a topic that
//! somebody else creates meanwhile is no error; settings that nobody specified keep their values.

use std::{
    collections::HashMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon_schemas::topics::TopicSpec;
use rdkafka::{
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic,
        OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
    },
    config::FromClientConfigAndContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::{info, warn};

use crate::{
    BusError,
    ask::{LOOK, asked},
    client::{Plain, settings},
    provision::{
        Change,
        plan::{Cluster, Found, changes, settings as specified},
        worker::{Shapes, Worker, shapes},
    },
};

/// How long one of several brokers may take to hear of a change.
const ONE_BROKER: Duration = Duration::from_secs(5);

/// How the topics differ.
pub(super) fn plan(worker: &Worker, specs: &[TopicSpec]) -> Result<Vec<Change>, BusError> {
    look(&Session::new(worker, None)?, specs).map(|(changes, _)| changes)
}

/// Makes them as specified.
pub(super) fn apply(worker: &Worker, specs: &[TopicSpec]) -> Result<Vec<Change>, BusError> {
    let session = Session::new(worker, None)?;
    let (changes, own) = look(&session, specs)?;
    let refused = changes.iter().filter(|c| matches!(c, Change::Refuse { .. }));
    let refused: Vec<_> = refused.map(ToString::to_string).collect();
    if !refused.is_empty() {
        return Err(BusError::Refused(refused.join("; ")));
    }
    session.create(&changes)?;
    session.grow(&changes)?;
    session.alter(&changes, specs, &own)?;
    for change in &changes {
        info!(change = %change, "topic changed");
    }
    wait_for_all(&session, &changes, specs)?;
    Ok(changes)
}

/// A broker knows of a change a little later than the controller does: waits until each of them does.
fn wait_for_all(session: &Session<'_>, changes: &[Change], specs: &[TopicSpec]) -> Result<(), BusError> {
    if !changes.iter().any(Change::acts) {
        return Ok(());
    }
    let brokers = session.brokers()?;
    if brokers.len() < 2 {
        return session.wait_for(specs);
    }
    for broker in brokers {
        let id = broker.id;
        // Whoever makes topics need not wait for a broker that is down or out of reach: the change is made.
        if let Err(e) = Session::new(session.worker, Some(broker))?.wait_for(specs) {
            warn!(broker = id, error = %e, "a broker did not say that it knows the topics");
        }
    }
    Ok(())
}

/// Settings by topic and name.
type Settings = HashMap<String, HashMap<String, String>>;

fn look(session: &Session<'_>, specs: &[TopicSpec]) -> Result<(Vec<Change>, Settings), BusError> {
    let (there, brokers) = session.topics()?;
    let cluster = Cluster {
        brokers,
        shards: &session.worker.config.topics.deliveries,
    };
    let names = specs
        .iter()
        .filter(|s| there.contains_key(&s.name))
        .map(|s| s.name.as_str());
    let (mut all, own) = session.describe_known(&names.collect::<Vec<_>>())?;
    let mut found = |spec: &TopicSpec| {
        let &(partitions, replication) = there.get(&spec.name)?;
        let settings = all.remove(&spec.name).unwrap_or_default();
        Some(Found {
            partitions,
            replication,
            settings,
        })
    };
    let all = specs
        .iter()
        .flat_map(|spec| changes(spec, found(spec).as_ref(), cluster));
    Ok((all.collect(), own))
}

/// One of several brokers.
struct Broker {
    id: i32,
    address: String,
}

/// An administrator's connection, made for one job: librdkafka's event queue of such a client is not
/// polled, so it should not live long.
struct Session<'a> {
    worker: &'a Worker,
    /// Who is asked, and nobody else; whoever answers if there is none.
    broker: Option<i32>,
    client: AdminClient<Plain>,
    runtime: tokio::runtime::Runtime,
    options: AdminOptions,
    deadline: Duration,
}

impl<'a> Session<'a> {
    fn new(worker: &'a Worker, broker: Option<Broker>) -> Result<Self, BusError> {
        let deadline = match broker {
            Some(_) => ONE_BROKER.min(worker.config.request_deadline),
            None => worker.config.request_deadline,
        };
        let mut settings = settings(&worker.config)?;
        settings.set("statistics.interval.ms", "0");
        if let Some(broker) = &broker {
            settings.set("bootstrap.servers", &broker.address);
        }
        Ok(Self {
            broker: broker.map(|b| b.id),
            deadline,
            client: AdminClient::from_config_and_context(&settings, Plain(Arc::clone(&worker.watch)))
                .map_err(|e| sort(&e))?,
            // Without timers and sockets: the futures end by librdkafka's deadlines.
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .map_err(|e| BusError::Client(e.to_string()))?,
            options: AdminOptions::new()
                .request_timeout(Some(deadline))
                .operation_timeout(Some(deadline)),
            worker,
        })
    }

    /// Topics and the number of brokers. A client that is new asks the one broker that it was given.
    fn topics(&self) -> Result<(Shapes, usize), BusError> {
        match self.broker {
            Some(_) => {
                let client = self.client.inner();
                let metadata = asked(self.deadline, |patience| client.fetch_metadata(None, patience));
                metadata.map(|metadata| shapes(&metadata)).map_err(|e| sort(&e))
            }
            None => self.worker.topics(),
        }
    }

    fn brokers(&self) -> Result<Vec<Broker>, BusError> {
        let metadata = self.worker.metadata()?;
        let brokers = metadata.brokers().iter().map(|broker| {
            let (host, port) = (broker.host(), broker.port());
            let address = match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            };
            Broker {
                id: broker.id(),
                address,
            }
        });
        Ok(brokers.collect())
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, KafkaError>>) -> Result<T, BusError> {
        self.runtime.block_on(answer).map_err(|e| sort(&e))
    }

    /// The same, once the broker that is asked knows them: of a topic that was just made it may tell nothing.
    fn describe_known(&self, names: &[&str]) -> Result<(Settings, Settings), BusError> {
        let give_up = Instant::now() + self.deadline;
        loop {
            let (all, own) = self.describe(names)?;
            let known = |name: &&str| all.get(*name).is_some_and(|settings| !settings.is_empty());
            if names.iter().all(known) {
                return Ok((all, own));
            }
            if Instant::now() >= give_up {
                return Err(BusError::DeadlineExceeded(
                    "waiting for the settings of new topics",
                ));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Every setting of the topics, and those that differ from the broker's defaults.
    fn describe(&self, names: &[&str]) -> Result<(Settings, Settings), BusError> {
        let (mut all, mut own) = (HashMap::new(), HashMap::new());
        if names.is_empty() {
            return Ok((all, own));
        }
        let topics = names.iter().map(|name| ResourceSpecifier::Topic(name));
        // librdkafka sends a question that is about a broker, among others, to that broker.
        let resources: Vec<_> = topics.chain(self.broker.map(ResourceSpecifier::Broker)).collect();
        let described = self.wait(self.client.describe_configs(&resources, &self.options))?;
        for described in described {
            let described = match described {
                Ok(described) => described,
                // Who may not see the broker's own settings sees those of topics.
                Err(RDKafkaErrorCode::ClusterAuthorizationFailed) if self.broker.is_some() => continue,
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => continue,
                Err(code) => return Err(of_code("a topic's settings", code)),
            };
            let OwnedResourceSpecifier::Topic(name) = described.specifier else {
                continue;
            };
            let (mut every, mut its) = (HashMap::new(), HashMap::new());
            for entry in described.entries {
                let Some(value) = entry.value else { continue };
                if entry.source == ConfigSource::DynamicTopic {
                    its.insert(entry.name.clone(), value.clone());
                }
                every.insert(entry.name, value);
            }
            all.insert(name.clone(), every);
            own.insert(name, its);
        }
        Ok((all, own))
    }

    fn create(&self, changes: &[Change]) -> Result<(), BusError> {
        let specs = changes.iter().filter_map(|change| match change {
            Change::Create { spec } => Some((spec, specified(spec))),
            _ => None,
        });
        let specs: Vec<_> = specs.collect();
        if specs.is_empty() {
            return Ok(());
        }
        let new = specs.iter().map(|(spec, specified)| {
            let topic = NewTopic::new(
                &spec.name,
                spec.partitions as i32,
                TopicReplication::Fixed(i32::from(spec.replication)),
            );
            specified
                .iter()
                .fold(topic, |topic, (name, value)| topic.set(name, value))
        });
        let new: Vec<_> = new.collect();
        for result in self.wait(self.client.create_topics(&new, &self.options))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(of_code(&name, code)),
            }
        }
        Ok(())
    }

    fn grow(&self, changes: &[Change]) -> Result<(), BusError> {
        let new = changes.iter().filter_map(|change| match change {
            Change::Grow { topic, to, .. } => Some(NewPartitions::new(topic, *to as usize)),
            _ => None,
        });
        let new: Vec<_> = new.collect();
        if new.is_empty() {
            return Ok(());
        }
        for result in self.wait(self.client.create_partitions(&new, &self.options))? {
            match result {
                // Somebody else did it meanwhile; `wait_for` looks whether it is enough.
                Ok(_) | Err((_, RDKafkaErrorCode::InvalidPartitions)) => {}
                Err((name, code)) => return Err(of_code(&name, code)),
            }
        }
        Ok(())
    }

    /// The request replaces all of a topic's own settings, so those that stay are said again.
    fn alter(&self, changes: &[Change], specs: &[TopicSpec], own: &Settings) -> Result<(), BusError> {
        let differs = |spec: &&TopicSpec| {
            let is = |c: &Change| matches!(c, Change::Alter { topic, .. } if *topic == spec.name);
            changes.iter().any(is)
        };
        let wanted = specs.iter().filter(differs).map(|spec| {
            let mut settings = own.get(&spec.name).cloned().unwrap_or_default();
            settings.extend(specified(spec).map(|(name, value)| (name.to_owned(), value)));
            (spec.name.as_str(), settings)
        });
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let alter = wanted.iter().map(|(topic, settings)| {
            let alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
            settings
                .iter()
                .fold(alter, |alter, (name, value)| alter.set(name, value))
        });
        let alter: Vec<_> = alter.collect();
        for result in self.wait(self.client.alter_configs(&alter, &self.options))? {
            result.map_err(|(resource, code)| of_code(&format!("{resource:?}"), code))?;
        }
        Ok(())
    }

    /// Waits until whoever is asked finds nothing to do any more.
    fn wait_for(&self, specs: &[TopicSpec]) -> Result<(), BusError> {
        let give_up = Instant::now() + self.deadline;
        loop {
            let (changes, _) = look(self, specs)?;
            if !changes.iter().any(Change::acts) {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(BusError::DeadlineExceeded("waiting for new topics"));
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn sort(error: &KafkaError) -> BusError {
    match error {
        KafkaError::AdminOp(code) => BusError::of_code(Some(*code), code.to_string()),
        _ => BusError::sort(error),
    }
}

fn of_code(name: &str, code: RDKafkaErrorCode) -> BusError {
    BusError::of_code(Some(code), format!("{name}: {code}"))
}
