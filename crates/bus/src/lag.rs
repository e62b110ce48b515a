//! Lag and load: librdkafka's statistics, as far as they are shown.
//!
//! In: its JSON, once per interval. Out: metrics. Always: fields that are missing count as unknown, and an
//! unknown lag is not shown as zero.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::Deserialize;

use crate::metrics::BusMetrics;

/// What is read of the statistics.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Statistics {
    msg_cnt: i64,
    msg_size: i64,
    tx_bytes: u64,
    rx_bytes: u64,
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Broker {
    nodeid: i32,
    state: String,
    rtt: Window,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Window {
    p50: i64,
    p99: i64,
    cnt: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Topic {
    partitions: HashMap<i32, Partition>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Partition {
    consumer_lag: i64,
    app_offset: i64,
    hi_offset: i64,
}

impl Default for Partition {
    fn default() -> Self {
        Self {
            consumer_lag: -1,
            app_offset: -1,
            hi_offset: -1,
        }
    }
}

impl Partition {
    fn lag(&self, of: LagOf) -> Option<i64> {
        let lag = match of {
            LagOf::Committed => self.consumer_lag,
            LagOf::Read if self.app_offset >= 0 && self.hi_offset >= 0 => self.hi_offset - self.app_offset,
            LagOf::Read | LagOf::Nothing => -1,
        };
        (lag >= 0).then_some(lag)
    }
}

/// Which position of a reader its lag is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LagOf {
    /// The committed offset: a group.
    Committed,
    /// The last record that was read: a tail.
    Read,
    /// It has none.
    Nothing,
}

impl Statistics {
    /// Whether a connection to a real broker (not to a bootstrap address) is up.
    pub(crate) fn broker_up(&self) -> bool {
        self.brokers.values().any(|b| b.nodeid >= 0 && b.state == "UP")
    }

    /// The lag per topic, over its partitions; topics that are not in `named` together under `other`.
    fn lags(&self, of: LagOf, named: &[String]) -> HashMap<&str, i64> {
        let mut lags = HashMap::new();
        for (name, topic) in &self.topics {
            let known = topic.partitions.values().filter_map(|p| p.lag(of));
            let label = if named.contains(name) {
                name.as_str()
            } else {
                "other"
            };
            for lag in known {
                *lags.entry(label).or_default() += lag;
            }
        }
        lags
    }

    /// The largest round-trip quantiles over the brokers, in microseconds.
    fn rtt(&self) -> Option<(i64, i64)> {
        let windows = self.brokers.values().map(|b| &b.rtt).filter(|w| w.cnt > 0);
        windows.map(|w| (w.p50, w.p99)).max_by_key(|(_, p99)| *p99)
    }
}

/// Turns statistics into metrics for one client.
pub(crate) struct Gauges {
    metrics: BusMetrics,
    client: String,
    kind: &'static str,
    lag_of: LagOf,
    topics: Vec<String>,
    seen: Mutex<(u64, u64)>,
}

impl Gauges {
    /// For a client of a kind that reads these topics.
    pub(crate) fn new(
        metrics: BusMetrics,
        client: &str,
        kind: &'static str,
        lag_of: LagOf,
        topics: Vec<String>,
    ) -> Self {
        Self {
            metrics,
            client: client.to_owned(),
            kind,
            lag_of,
            topics,
            seen: Mutex::default(),
        }
    }

    /// Shows them.
    pub(crate) fn show(&self, statistics: &Statistics) {
        let labels = [self.client.as_str(), self.kind];
        self.metrics
            .queue_records
            .with_label_values(&labels)
            .set(statistics.msg_cnt);
        self.metrics
            .queue_bytes
            .with_label_values(&labels)
            .set(statistics.msg_size);
        if let Some((p50, p99)) = statistics.rtt() {
            for (quantile, value) in [("0.5", p50), ("0.99", p99)] {
                let rtt = self
                    .metrics
                    .rtt
                    .with_label_values(&[labels[0], labels[1], quantile]);
                rtt.set(value);
            }
        }
        for (topic, lag) in statistics.lags(self.lag_of, &self.topics) {
            let gauge = self.metrics.lag.with_label_values(&[labels[0], labels[1], topic]);
            gauge.set(lag);
        }
        self.count_bytes(statistics, labels);
    }

    fn count_bytes(&self, statistics: &Statistics, [client, kind]: [&str; 2]) {
        let mut seen = self.seen.lock();
        let now = (statistics.tx_bytes, statistics.rx_bytes);
        for (way, delta) in [
            ("out", now.0.saturating_sub(seen.0)),
            ("in", now.1.saturating_sub(seen.1)),
        ] {
            let counter = self.metrics.bytes.with_label_values(&[client, kind, way]);
            counter.inc_by(delta);
        }
        *seen = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{"name":"x","msg_cnt":3,"msg_size":900,"tx_bytes":10,"rx_bytes":20,"unknown":{},
        "brokers":{"a":{"nodeid":1,"state":"UP","rtt":{"p50":200,"p99":900,"cnt":4}},
                   "b":{"nodeid":-1,"state":"UP","rtt":{"cnt":0}}},
        "topics":{"t":{"partitions":{"0":{"consumer_lag":5,"app_offset":7,"hi_offset":9},
                                     "1":{"consumer_lag":-1,"app_offset":-1001,"hi_offset":9},
                                     "-1":{"consumer_lag":-1}}},
                  "in.acme":{"partitions":{"0":{"consumer_lag":2}}}}}"#;

    #[test]
    fn an_unknown_lag_is_not_zero_and_topics_that_were_not_named_are_other() {
        let statistics: Statistics = serde_json::from_str(SAMPLE).unwrap();
        let named = ["t".to_owned()];
        assert_eq!(
            statistics.lags(LagOf::Committed, &named),
            HashMap::from([("t", 5), ("other", 2)])
        );
        assert_eq!(statistics.lags(LagOf::Read, &named), HashMap::from([("t", 2)]));
        assert!(statistics.lags(LagOf::Nothing, &named).is_empty());
    }

    #[test]
    fn a_bootstrap_connection_alone_is_no_broker() {
        let mut statistics: Statistics = serde_json::from_str(SAMPLE).unwrap();
        assert!(statistics.broker_up());
        assert_eq!(statistics.rtt(), Some((200, 900)));
        statistics.brokers.remove("a");
        assert!(!statistics.broker_up());
    }

    #[test]
    fn bytes_are_counted_once() {
        let metrics = carillon_chassis::metrics::Metrics::new();
        let gauges = Gauges::new(BusMetrics::new(&metrics), "c", "tail", LagOf::Read, vec![]);
        let statistics: Statistics = serde_json::from_str(SAMPLE).unwrap();
        gauges.show(&statistics);
        gauges.show(&statistics);
        assert!(
            metrics
                .render()
                .contains("carillon_bus_bytes_total{client=\"c\",kind=\"tail\",way=\"in\"} 20")
        );
    }
}
