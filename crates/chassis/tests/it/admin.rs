//! Health, readiness and metrics as a probe sees them.

use carillon_chassis::{admin, http::ServeOptions, metrics::Metrics, readiness::Readiness};

use crate::support::{exchange, get, start};

#[tokio::test]
async fn ready_names_the_unmet_condition_and_recovers() {
    let readiness = Readiness::default();
    let kafka = readiness.condition("kafka");
    let metrics = Metrics::new();
    metrics.counter("carillon_test_probes_total", "probes").inc();
    let (address, tasks) = start(admin::routes(&readiness, &metrics), ServeOptions::default()).await;

    kafka.unmet("no broker answers");
    let answer = exchange(address, &get("/ready")).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains(r#"{"condition":"kafka","reason":"no broker answers"}"#),
        "{answer}"
    );
    kafka.met();
    assert!(
        exchange(address, &get("/ready"))
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        exchange(address, &get("/health"))
            .await
            .ends_with(r#"{"status":"ok"}"#)
    );
    assert!(
        exchange(address, &get("/metrics"))
            .await
            .contains("carillon_test_probes_total 1")
    );
    assert!(tasks.close(std::time::Duration::from_secs(5)).await.is_empty());
}
