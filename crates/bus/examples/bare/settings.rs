//! What a bare loop is told on the command line, and the topics it makes for itself.
//!
//! In: `--name value` pairs. Out: librdkafka's settings, the same as the product's where they decide the
//! speed; topics of its own. Always: nothing of the bus is used, and the topics are deleted at the end.

use std::{collections::HashMap, error::Error, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `host:port`s.
    pub(crate) kafka: String,
    /// Prefix of the topics that are made.
    pub(crate) prefix: String,
    /// Partitions of each.
    pub(crate) partitions: i32,
    /// Copies of each partition.
    pub(crate) replication: i32,
    /// Bytes of a value.
    pub(crate) size: usize,
    /// How long is measured.
    pub(crate) length: Duration,
    /// How long the same goes on before: the first fetch after an assignment takes half a second.
    pub(crate) warm_up: Duration,
    /// Most records without an acknowledgement; a closed loop.
    pub(crate) in_flight: usize,
    /// Records a second; an open loop.
    pub(crate) rate: u32,
    /// Different keys of the records.
    pub(crate) keys: u64,
    /// How long a record waits for company.
    pub(crate) linger_ms: f64,
    /// Settings of librdkafka beside those: `--set name=value`.
    pub(crate) more: Vec<(String, String)>,
}

impl Settings {
    /// Reads the command line.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut given = HashMap::new();
        let mut more = Vec::new();
        let mut arguments = arguments.skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let name = name
                .strip_prefix("--")
                .ok_or_else(|| format!("what is {name}?"))?;
            match name {
                "set" => {
                    let (key, value) = value.split_once('=').ok_or("--set takes name=value")?;
                    more.push((key.to_owned(), value.to_owned()));
                }
                name => drop(given.insert(name.to_owned(), value)),
            }
        }
        let mut take = |name: &str, default: &str| given.remove(name).unwrap_or_else(|| default.to_owned());
        let settings = Self {
            kafka: take("kafka", ""),
            prefix: take("prefix", "bare"),
            partitions: take("partitions", "12").parse()?,
            replication: take("replication", "1").parse()?,
            size: take("size", "300").parse::<usize>()?.max(8),
            length: Duration::from_secs_f64(take("seconds", "10").parse()?),
            warm_up: Duration::from_secs_f64(take("warm-up", "2").parse()?),
            in_flight: take("in-flight", "200").parse()?,
            rate: take("rate", "200").parse()?,
            keys: take("keys", "50").parse::<u64>()?.max(1),
            linger_ms: take("linger-ms", "0").parse()?,
            more,
        };
        match given.keys().next() {
            Some(name) => Err(format!("what is --{name}?").into()),
            None if settings.kafka.is_empty() => Err("--kafka host:port[,host:port] is needed".into()),
            None => Ok(settings),
        }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.kafka)
            .set("socket.nagle.disable", "true")
            .set("topic.metadata.refresh.fast.interval.ms", "50");
        for (key, value) in &self.more {
            config.set(key, value);
        }
        config
    }

    /// As the product's producer: idempotent, acknowledged by all in-sync replicas.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", self.linger_ms.to_string())
            .set("message.timeout.ms", "15000");
        config
    }

    /// As the product's readers.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", "bare")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "100");
        config
    }

    /// Makes a topic.
    pub(crate) fn create(&self, name: &str) -> Result<Topic, Failure> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let full = format!("{}-{name}-{}", self.prefix, std::process::id());
        let spec = NewTopic::new(&full, self.partitions, TopicReplication::Fixed(self.replication));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
        wait(admin.create_topics([&spec], &options))?
            .pop()
            .ok_or("no answer about a topic")?
            .map_err(|(name, code)| format!("{name}: {code}"))?;
        Ok(Topic { admin, name: full })
    }
}

/// A topic that goes with its value.
pub(crate) struct Topic {
    admin: AdminClient<DefaultClientContext>,
    pub(crate) name: String,
}

impl Drop for Topic {
    fn drop(&mut self) {
        // It is the end of a run on servers for tests: what cannot be deleted stays.
        drop(wait(
            self.admin.delete_topics(&[&self.name], &AdminOptions::new()),
        ));
    }
}

fn wait<T>(answer: impl Future<Output = Result<T, rdkafka::error::KafkaError>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(answer)?)
}

/// A quantile of sorted latencies, in milliseconds; 0 when there are none.
pub(crate) fn quantile(sorted: &[Duration], q: f64) -> f64 {
    let at = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |d| d.as_secs_f64() * 1e3)
}
