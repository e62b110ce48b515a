//! Provisioning: what is there, what should be, and what is refused.

use std::time::{Duration, Instant};

use carillon_bus::{Admin, BusConfig, BusError, Change, ConsumerOptions};
use carillon_chassis::metrics::Metrics;
use carillon_schemas::topics::{Layout, Timestamps, TopicSpec, Topics};

use crate::{
    stage::{Lane, Stage, on_both_lanes},
    support::send_numbers,
};

on_both_lanes!(
    applying_topics_twice_changes_nothing_the_second_time_and_only_grows,
    nothing_is_shortened_and_it_is_said_what_was_left,
    all_topics_of_a_deployment_are_made_with_its_copies,
    shards_are_not_added_to_a_topic_that_has_cursors,
    two_that_apply_at_once_both_end_well,
    more_copies_than_brokers_are_refused_with_both_numbers,
    a_topic_of_the_brokers_time_is_made_and_altered_so_and_its_records_carry_it,
);

fn words(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

async fn applying_topics_twice_changes_nothing_the_second_time_and_only_grows(lane: Lane) {
    let stage = Stage::start(lane, 3).await;
    let (admin, topic) = (stage.admin(), &stage.topic);
    assert_eq!(admin.plan(&[stage.spec(3)]).await.unwrap(), []);
    let would = admin.plan(&[stage.spec(5)]).await.unwrap();
    let grown = admin.apply(&[stage.spec(5)]).await.unwrap();
    assert_eq!(words(&grown), [format!("grow {topic} from 3 to 5 partitions")]);
    assert_eq!(would, grown);
    assert_eq!(admin.ends(topic).await.unwrap().len(), 5);
    let left = admin.apply(&[stage.spec(2)]).await.unwrap();
    assert_eq!(
        words(&left),
        [format!("leave {topic} as it is: 5 partitions, 2 specified")]
    );

    let longer = TopicSpec {
        retention: Duration::from_secs(7200),
        ..stage.spec(5)
    };
    let altered = admin.apply(std::slice::from_ref(&longer)).await.unwrap();
    assert_eq!(
        words(&altered),
        [format!("set retention.ms of {topic} from 3600000 to 7200000")]
    );
    assert_eq!(admin.plan(&[longer]).await.unwrap(), []);
}

async fn nothing_is_shortened_and_it_is_said_what_was_left(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let admin = stage.admin();
    let shorter = TopicSpec {
        retention: Duration::from_secs(60),
        max_message_bytes: 1000,
        ..stage.spec(1)
    };
    let left = admin.apply(std::slice::from_ref(&shorter)).await.unwrap();
    let topic = &stage.topic;
    let expected = [
        format!("leave {topic} as it is: retention.ms is 3600000, 60000 specified, which is less"),
        format!("leave {topic} as it is: max.message.bytes is 1048576, 1000 specified, which is less"),
    ];
    assert_eq!(words(&left), expected);
    assert_eq!(admin.plan(&[stage.spec(1)]).await.unwrap(), []);
}

fn layout(stage: &Stage) -> Layout {
    let (replication, min_in_sync) = stage.copies();
    Layout {
        beside: 2,
        notifications: 3,
        shards: 4,
        dead_letters: 2,
        replication,
        min_in_sync,
    }
}

/// An administrator who knows which of the topics has the shards.
fn deployment(stage: &mut Stage) -> (Admin, Topics) {
    let prefix = stage.topic.trim_end_matches("numbers").to_owned();
    stage.place.config.topics = Topics::new(&prefix);
    (stage.admin(), stage.place.config.topics.clone())
}

async fn all_topics_of_a_deployment_are_made_with_its_copies(lane: Lane) {
    let mut stage = Stage::bare(lane).await;
    let (admin, topics) = deployment(&mut stage);
    let specs = topics.all(&layout(&stage));
    let made = words(&admin.apply(&specs).await.unwrap());
    let copies = stage.copies().0;
    let deliveries = format!("create {} with 4 partitions, {copies} copies", topics.deliveries);
    assert!(made.contains(&deliveries), "{made:?}");
    assert_eq!(made.len(), specs.len());
    assert_eq!(admin.plan(&specs).await.unwrap(), []);
}

async fn shards_are_not_added_to_a_topic_that_has_cursors(lane: Lane) {
    let mut stage = Stage::bare(lane).await;
    let (admin, topics) = deployment(&mut stage);
    let mut layout = layout(&stage);
    admin.apply(&topics.all(&layout)).await.unwrap();
    layout.shards = 8;
    layout.notifications = 6;
    let would = words(&admin.plan(&topics.all(&layout)).await.unwrap());
    let refused = format!("refuse {}", topics.deliveries);
    let said = |line: &String| line.starts_with(&refused) && line.contains("generation");
    assert!(would.iter().any(said), "{would:?}");
    let refused = admin.apply(&topics.all(&layout)).await.unwrap_err();
    assert!(
        matches!(&refused, BusError::Refused(why) if why.contains("generation")),
        "{refused}"
    );
    let untouched = admin.ends(&topics.notifications).await.unwrap();
    assert_eq!(untouched.len(), 3, "nothing is done when something is refused");
}

async fn two_that_apply_at_once_both_end_well(lane: Lane) {
    let stage = Stage::bare(lane).await;
    let admins = [stage.admin(), stage.admin()];
    for partitions in [2, 5] {
        let spec = [stage.spec(partitions)];
        let (one, other) = tokio::join!(admins[0].apply(&spec), admins[1].apply(&spec));
        one.unwrap();
        other.unwrap();
        assert_eq!(admins[0].plan(&spec).await.unwrap(), []);
    }
}

async fn more_copies_than_brokers_are_refused_with_both_numbers(lane: Lane) {
    let stage = Stage::bare(lane).await;
    let brokers = stage.copies().0;
    let spec = TopicSpec {
        replication: 7,
        ..stage.spec(1)
    };
    let refused = stage.admin().apply(&[spec]).await.unwrap_err().to_string();
    assert!(refused.contains("7 copies"), "{refused}");
    assert!(refused.contains(&format!("brokers: {brokers}")), "{refused}");
}

async fn a_topic_of_the_brokers_time_is_made_and_altered_so_and_its_records_carry_it(lane: Lane) {
    let stage = Stage::start(lane, 1).await;
    let (admin, producer) = (stage.admin(), stage.place.producer());
    let stamped = TopicSpec {
        timestamps: Timestamps::LogAppend,
        ..stage.spec(1)
    };
    send_numbers(&producer, &stage.topic, 1, 0..1).await;
    let altered = admin.apply(std::slice::from_ref(&stamped)).await.unwrap();
    let topic = &stage.topic;
    let expected = format!("set message.timestamp.type of {topic} from CreateTime to LogAppendTime");
    assert_eq!(words(&altered), [expected]);
    assert_eq!(admin.plan(std::slice::from_ref(&stamped)).await.unwrap(), []);
    let left = words(&admin.apply(&[stage.spec(1)]).await.unwrap());
    assert!(
        left.len() == 1 && left[0].contains("LogAppendTime, CreateTime specified"),
        "{left:?}"
    );
    let made = TopicSpec {
        name: format!("{topic}.made"),
        ..stamped
    };
    admin.apply(std::slice::from_ref(&made)).await.unwrap();
    assert_eq!(admin.plan(std::slice::from_ref(&made)).await.unwrap(), []);

    // One batch after the other: what the broker got first has the lower time.
    for n in 0..5 {
        send_numbers(&producer, &made.name, 1, n..n + 1).await;
    }
    let mut member = stage
        .place
        .member(&stage.group, &made.name, ConsumerOptions::default());
    member.until(|m| m.records.len() == 5).await;
    let times: Vec<_> = member.records.iter().map(|r| r.timestamp_ms.unwrap()).collect();
    assert!(times.is_sorted() && times[0] > 0, "{times:?}");
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_an_error_with_its_reason_within_the_deadline() {
    let mut config = BusConfig::new("127.0.0.1:1");
    config.request_deadline = Duration::from_secs(1);
    let admin = Admin::new(&config, &Metrics::new()).unwrap();
    let begun = Instant::now();
    let error = admin.plan(&[]).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(
        matches!(&error, BusError::Unavailable(why) if why.contains("refused")),
        "{error}"
    );
}
