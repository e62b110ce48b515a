//! The bus and the embedded broker, the way `up` joins them.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use carillon_broker::{Broker, Options};
use carillon_bus::{
    Admin, BusConfig, Change, ConsumerOptions, RangeReader, Record, SendError, Tail, TailOptions,
};
use carillon_chassis::tasks::Tasks;
use carillon_schemas::{shard::partition_of_key, topics::TopicSpec};
use tempfile::TempDir;

use crate::support::{Member, PATIENCE, Place, eventually, metric, number, outgoing, send_numbers};

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
async fn applying_topics_twice_changes_nothing_the_second_time_and_only_grows() {
    let (_dir, _kafka, _place, admin) = started(3).await;
    assert_eq!(admin.plan(&[spec(3)]).await.unwrap(), []);
    let grown = admin.apply(&[spec(5)]).await.unwrap();
    assert_eq!(grown.len(), 1);
    assert_eq!(
        grown[0].to_string(),
        "grow carillon.numbers from 3 to 5 partitions"
    );
    assert_eq!(admin.ends(TOPIC).await.unwrap().len(), 5);
    assert!(matches!(
        admin.apply(&[spec(2)]).await.unwrap()[..],
        [Change::Keep { .. }]
    ));

    let longer = TopicSpec {
        retention: Duration::from_secs(7200),
        ..spec(5)
    };
    let altered = admin.apply(std::slice::from_ref(&longer)).await.unwrap();
    assert_eq!(
        altered[0].to_string(),
        "set retention.ms of carillon.numbers from 3600000 to 7200000"
    );
    assert_eq!(admin.plan(&[longer]).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_goes_to_the_partition_that_every_kafka_client_computes() {
    let (_dir, _kafka, place, _admin) = started(12).await;
    let producer = place.producer();
    for tenant in ["acme", "globex", "t", "tenant-a", "0"] {
        let ack = producer
            .send(outgoing(TOPIC, None, tenant, "v"))
            .unwrap()
            .await
            .unwrap();
        assert_eq!(
            ack.partition as u32,
            partition_of_key(tenant.as_bytes(), 12),
            "{tenant}"
        );
    }
    let unknown = producer
        .send(outgoing("carillon.nothing", None, "k", "v"))
        .unwrap();
    assert!(matches!(unknown.await, Err(SendError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_a_topic_and_one_that_leaves_is_replaced() {
    let (_dir, _kafka, place, admin) = started(4).await;
    let producer = place.producer();
    send_numbers(&producer, TOPIC, 4, 0..400).await;
    let mut first = place.member("g", TOPIC, ConsumerOptions::default());
    first.until(|m| m.records.len() == 400).await;
    first.assert_in_order();
    first.finish_all();
    let mut second = place.member("g", "^carillon.num.*", ConsumerOptions::default());
    let ((), ()) = tokio::join!(
        first.until(|m| m.assigned.len() == 2),
        second.until(|m| m.assigned.len() == 2)
    );
    send_numbers(&producer, TOPIC, 4, 400..800).await;
    let ((), ()) = tokio::join!(
        first.until(|m| m.records.len() == 600),
        second.until(|m| m.records.len() == 200)
    );
    second.finish_all();
    second.consumer.close(Duration::from_secs(10)).await.unwrap();
    first.until(|m| m.assigned.len() == 4).await;
    first.finish_all();
    send_numbers(&producer, TOPIC, 4, 800..804).await;
    first.until(|m| m.records.len() == 604).await;
    let mut numbers: Vec<_> = first.numbers();
    numbers.extend(second.records.iter().map(number));
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        (0..804).collect::<Vec<_>>(),
        "nothing twice, nothing lost"
    );
    first.finish_all();
    first.consumer.close(Duration::from_secs(10)).await.unwrap();
    assert_eq!(admin.lag("g", TOPIC).await.unwrap(), 0);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_read_from_the_embedded_broker() {
    let (_dir, _kafka, place, _admin) = started(1).await;
    send_numbers(&place.producer(), TOPIC, 1, 0..2000).await;
    let ranges = RangeReader::new(&place.config, TOPIC, 1, &place.metrics, &place.tasks).unwrap();
    let page = ranges.read(0, 500, 1500, usize::MAX, PATIENCE).await.unwrap();
    assert_eq!((page.records.len(), page.next, page.earliest), (1000, 1500, 500));
    let page = ranges.read(0, 1990, 9999, usize::MAX, PATIENCE).await.unwrap();
    assert_eq!((page.records.len(), page.next), (10, 2000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_and_connection_become_metrics() {
    let (_dir, _kafka, place, _admin) = started(1).await;
    send_numbers(&place.producer(), TOPIC, 1, 0..30).await;
    let options = ConsumerOptions {
        commit_every: Duration::from_millis(20),
        ..ConsumerOptions::default()
    };
    let mut member = place.member("g", TOPIC, options);
    member.until(|m| m.records.len() == 30).await;
    for record in &member.records[..10] {
        member.finish(record);
    }
    let lag = r#"carillon_bus_lag_records{client="carillon",kind="group",topic="carillon.numbers"}"#;
    eventually("the lag is told", || metric(&place.metrics, lag) == Some(20.0)).await;
    let up = r#"carillon_bus_connected{client="carillon",kind="group"}"#;
    assert_eq!(metric(&place.metrics, up), Some(1.0));
    member.finish_all();
    eventually("the lag is gone", || metric(&place.metrics, lag) == Some(0.0)).await;
}
