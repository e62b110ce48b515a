//! Encryption and users, against the real thing: every kind of client, and everything that can be wrong.

use std::time::{Duration, Instant};

use carillon_bus::{
    Admin, BusConfig, BusError, ClientCertificate, ConsumerOptions, Mechanism, Protocol, Sasl, Security,
    SendError,
};
use carillon_chassis::secret::Secret;
use carillon_fixtures::{Description, shared};

use crate::{
    stage::{Lane, Stage},
    support::{PATIENCE, Place, eventually, number, outgoing, send_numbers},
};

/// How long anything may take that cannot succeed.
const DEADLINE: Duration = Duration::from_secs(3);

fn trusted(cluster: &Description) -> Security {
    Security {
        protocol: Protocol::SaslTls,
        ca: Some(std::fs::read_to_string(&cluster.ca_file).unwrap()),
        sasl: Some(Sasl {
            mechanism: Mechanism::ScramSha512,
            user: cluster.kafka.user.clone(),
            password: Secret::new(&cluster.kafka.password),
        }),
        certificate: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster: make cluster"]
async fn every_kind_of_client_works_encrypted_and_with_a_user() {
    let cluster = shared();
    let mut stage = Stage::bare(Lane::Cluster).await;
    stage.place.config.bootstrap = cluster.kafka.sasl_tls.clone();
    stage.place.config.security = trusted(&cluster);
    let admin = stage.admin();
    admin.ping().await.unwrap();
    admin.apply(&[stage.spec(2)]).await.unwrap();
    assert_eq!(admin.plan(&[stage.spec(2)]).await.unwrap(), []);
    send_numbers(&stage.place.producer(), &stage.topic, 2, 0..20).await;
    let mut member = stage.member(ConsumerOptions::default());
    member.until(|m| m.records.len() == 20).await;
    member.finish_all();
    let (_tail, mut tailed) = stage.tail(vec![(0, 0), (1, 0)]);
    let mut read = 0;
    while read < 20 {
        read += tokio::time::timeout(PATIENCE, tailed.recv())
            .await
            .unwrap()
            .unwrap()
            .len();
    }
    let page = stage.ranges().read(1, 0, 10, usize::MAX, PATIENCE).await.unwrap();
    let odd: Vec<_> = (0..10).map(|n| 2 * n + 1).collect();
    assert_eq!(page.records.iter().map(number).collect::<Vec<_>>(), odd);
    member.consumer.close(PATIENCE).await.unwrap();
    assert_eq!(admin.lag(&stage.group, &stage.topic).await.unwrap(), 0);
}

/// Asserts that every kind of client fails in time and says this.
async fn fails_with(bootstrap: &str, security: Security, why: &str) {
    let mut place = Place::new(bootstrap);
    place.config.security = security;
    place.config.request_deadline = DEADLINE;
    place.config.message_timeout = DEADLINE;
    let says = |what: &str, text: &str| assert!(text.contains(why), "{what}: {text}");
    let begun = Instant::now();

    let producer = place.producer();
    let mut member = place.member("bus-never", "bus-never", ConsumerOptions::default());
    let admin = Admin::new(&place.config, &place.metrics).unwrap();
    let (asked, sent) = tokio::join!(admin.ping(), async {
        producer
            .send(outgoing("bus-never", Some(0), "k", "v"))
            .unwrap()
            .await
    });
    let asked = asked.unwrap_err();
    assert!(matches!(asked, BusError::Unavailable(_)), "{asked:?}");
    says("admin", &asked.to_string());
    let sent = sent.unwrap_err();
    assert!(
        matches!(sent, SendError::OutcomeUnknown(_) | SendError::Unavailable(_)),
        "{sent:?}"
    );
    says("producer", &sent.to_string());
    says("producer's trouble", &producer.trouble().unwrap());
    eventually("the member knows why", || member.consumer.trouble().is_some()).await;
    says("member's trouble", &member.consumer.trouble().unwrap());
    assert!(!producer.connected() && !member.consumer.connected());

    let ranges = carillon_bus::RangeReader::new(&place.config, "t", 1, &place.metrics, &place.tasks).unwrap();
    let read = ranges.read(0, 0, 1, usize::MAX, DEADLINE).await.unwrap_err();
    says("range", &read.to_string());
    member.events.close();
    member.consumer.close(PATIENCE).await.unwrap();
    assert!(begun.elapsed() < 6 * DEADLINE, "{:?}", begun.elapsed());
    let shown = place.metrics.render() + &format!("{:?} {producer:?}", place.config);
    assert!(!shown.contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster: make cluster"]
async fn a_wrong_password_is_told_by_every_client_within_the_deadline() {
    let cluster = shared();
    let mut security = trusted(&cluster);
    security.sasl.as_mut().unwrap().password = Secret::new("hunter2");
    fails_with(&cluster.kafka.sasl_tls, security, "Authentication failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster: make cluster"]
async fn an_authority_that_did_not_sign_the_brokers_certificate_is_told() {
    let cluster = shared();
    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
    let mut security = trusted(&cluster);
    security.ca = Some(other.cert.pem());
    fails_with(&cluster.kafka.sasl_tls, security, "certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster: make cluster"]
async fn tls_to_a_port_without_it_is_told() {
    let cluster = shared();
    fails_with(&cluster.kafka.plaintext, trusted(&cluster), "SSL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the cluster: make cluster"]
async fn plain_text_to_a_port_with_tls_is_told() {
    let cluster = shared();
    fails_with(
        &cluster.kafka.sasl_tls,
        Security::default(),
        "another security protocol than PLAINTEXT",
    )
    .await;
}

#[tokio::test]
async fn a_combination_that_cannot_work_is_refused_by_every_client_before_it_starts() {
    let mut place = Place::new("127.0.0.1:1");
    place.config.security.protocol = Protocol::SaslTls;
    let made = Admin::new(&place.config, &place.metrics).map(drop);
    assert!(
        matches!(&made, Err(BusError::Client(why)) if why.contains("SASL_SSL")),
        "{made:?}"
    );
    let made = carillon_bus::Producer::new(&place.config, &place.metrics, &place.tasks).map(drop);
    assert!(matches!(made, Err(BusError::Client(_))), "{made:?}");
}

#[tokio::test]
async fn a_certificate_that_is_none_is_refused_without_being_printed() {
    let mut config = BusConfig::new("127.0.0.1:1");
    config.security = Security {
        protocol: Protocol::Tls,
        certificate: Some(ClientCertificate {
            certificate: "hunter2".to_owned(),
            key: Secret::new("hunter2"),
        }),
        ..Security::default()
    };
    let place = Place::new("127.0.0.1:1");
    let error = Admin::new(&config, &place.metrics).unwrap_err();
    assert!(matches!(error, BusError::Client(_)), "{error:?}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
