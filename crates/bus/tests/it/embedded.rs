//! The embedded broker restarts under its clients. (Brokers of a cluster: the kill tests.)

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use carillon_broker::{Broker, Options};
use carillon_bus::{Admin, BusConfig, ConsumerOptions, Record, Tail, TailOptions};
use carillon_chassis::{clock::Clock, tasks::Tasks};
use carillon_schemas::topics::{Timestamps, TopicSpec};
use rdkafka::{
    ClientConfig, Message, Offset, Timestamp, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use tempfile::TempDir;

use crate::support::{Member, PATIENCE, Place, eventually, outgoing, send_numbers};

const TOPIC: &str = "carillon.numbers";

/// A broker in this process, on a directory that outlives it.
struct Kafka {
    tasks: Tasks,
    address: SocketAddr,
}

impl Kafka {
    async fn start(dir: &TempDir, listen: Option<SocketAddr>) -> Self {
        let mut options = Options::new(dir.path());
        options.listen = listen.unwrap_or(options.listen);
        Self::start_with(options).await
    }

    async fn start_with(options: Options) -> Self {
        let broker = Broker::bind(options).await.unwrap();
        let (tasks, address) = (Tasks::new(), broker.local_addr());
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("broker", async move { broker.run(shutdown).await.unwrap() });
        Self { tasks, address }
    }

    async fn stop(self) -> SocketAddr {
        assert!(self.tasks.close(Duration::from_secs(10)).await.is_empty());
        self.address
    }

    fn place(&self) -> Place {
        let mut place = Place::new(self.address.to_string());
        let defaults = BusConfig::new("");
        place.config.session_timeout = defaults.session_timeout;
        place.config.fetch_wait = defaults.fetch_wait;
        place
    }
}

fn spec(partitions: u32) -> TopicSpec {
    TopicSpec {
        timestamps: Timestamps::Create,
        name: TOPIC.to_owned(),
        partitions,
        replication: 1,
        min_in_sync: 1,
        retention: Duration::from_secs(3600),
        max_message_bytes: 1024 * 1024,
    }
}

async fn started(partitions: u32) -> (TempDir, Kafka, Place, Admin) {
    let dir = TempDir::new().unwrap();
    let kafka = Kafka::start(&dir, None).await;
    let place = kafka.place();
    let admin = Admin::new(&place.config, &place.metrics).unwrap();
    admin.apply(&[spec(partitions)]).await.unwrap();
    (dir, kafka, place, admin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_loses_nothing_and_everybody_goes_on() {
    let (dir, kafka, place, admin) = started(2).await;
    let producer = place.producer();
    let mut member = place.member("g", TOPIC, ConsumerOptions::default());
    let options = TailOptions::default();
    let from = vec![(0, 0), (1, 0)];
    let (_tail, mut tailed) =
        Tail::start(&place.config, TOPIC, from, options, &place.metrics, &place.tasks).unwrap();
    send_numbers(&producer, TOPIC, 2, 0..100).await;
    member.until(|m| m.records.len() == 100).await;
    member.finish_all();
    let address = kafka.stop().await;
    eventually("the producer is cut off", || !producer.connected()).await;
    let waiting: Vec<_> = (100..200)
        .map(|n| producer.send(outgoing(TOPIC, Some(n % 2), "k", n)).unwrap())
        .collect();
    let kafka = Kafka::start(&dir, Some(address)).await;
    for delivery in waiting {
        delivery.await.unwrap();
    }
    let all = |m: &Member| {
        m.numbers()
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .eq(0..200)
    };
    member.until(all).await;
    let mut seen: Vec<Record> = Vec::new();
    while seen.len() < 200 {
        seen.extend(
            tokio::time::timeout(PATIENCE, tailed.recv())
                .await
                .unwrap()
                .unwrap(),
        );
    }
    // The embedded broker forgets a group's members, so the group forms anew and may read something again.
    let give_up = Instant::now() + PATIENCE;
    while admin.lag("g", TOPIC).await.unwrap() > 0 {
        assert!(Instant::now() < give_up, "never committed");
        member.finish_all();
        drop(tokio::time::timeout(Duration::from_millis(50), member.step()).await);
    }
    member.consumer.close(Duration::from_secs(10)).await.unwrap();
    kafka.stop().await;
}

/// A commit that the group refuses makes the member join anew. A second one, sent while it joins, would make it
/// join as two, and the group wait for the one that never comes until its session ends: here longer than patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_due_in_an_outage_does_not_keep_a_member_from_coming_back() {
    const OUTAGES: usize = 5;
    const DUE: usize = 30;
    let (dir, mut kafka, mut place, _admin) = started(2).await;
    place.config.session_timeout = PATIENCE * 3;
    let commit_every = Duration::from_millis(20);
    let options = ConsumerOptions {
        commit_every,
        ..ConsumerOptions::default()
    };
    let mut member = place.member("g", TOPIC, options);
    let records = (OUTAGES * DUE) as u32;
    send_numbers(&place.producer(), TOPIC, 2, 0..records).await;
    member.until(|m| m.records.len() == records as usize).await;
    let mut left = member.records.clone();
    for _ in 0..OUTAGES {
        let address = kafka.stop().await;
        for record in left.drain(..DUE) {
            member.finish(&record);
            tokio::time::sleep(commit_every).await;
        }
        kafka = Kafka::start(&dir, Some(address)).await;
        member.until(|m| m.assigned.is_empty()).await;
        member.until(|m| m.assigned.len() == 2).await;
    }
    member.consumer.close(Duration::from_secs(10)).await.unwrap();
    kafka.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_a_stamped_topic_carry_the_time_and_the_type_that_the_broker_gave_them() {
    let dir = TempDir::new().unwrap();
    let mut options = Options::new(dir.path());
    options.clock = Clock::manual(777_000);
    let kafka = Kafka::start_with(options).await;
    let place = kafka.place();
    let stamped = TopicSpec {
        timestamps: Timestamps::LogAppend,
        ..spec(1)
    };
    let admin = Admin::new(&place.config, &place.metrics).unwrap();
    admin.apply(&[stamped]).await.unwrap();
    send_numbers(&place.producer(), TOPIC, 1, 0..3).await;
    let mut member = place.member("g", TOPIC, ConsumerOptions::default());
    member.until(|m| m.records.len() == 3).await;
    assert!(member.records.iter().all(|r| r.timestamp_ms == Some(777_000)));

    let bootstrap = place.config.bootstrap.clone();
    let typed = move || {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "plain");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        consumer.poll(PATIENCE).unwrap().unwrap().timestamp()
    };
    let typed = tokio::task::spawn_blocking(typed).await.unwrap();
    assert_eq!(typed, Timestamp::LogAppendTime(777_000));
}
