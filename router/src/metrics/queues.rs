//! Queues in metrics: who waits, how much, how long, and who overflows.
//!
//! In: reports of the lanes and of the ledger. Out: gauges. Always: only the busiest tenants have a label of their
//! own, the others are `other`; who is quiet again has none any more.

use std::{collections::BTreeMap, time::Duration};

use carillon_chassis::metrics::{IntGaugeVec, Metrics};

use crate::{
    fair::{Report, ledger::OverflowReport},
    work::LaneClass,
};

/// The label of those that have none of their own.
const OTHERS: &str = "other";

/// Handles of the gauges.
#[derive(Clone)]
pub(crate) struct Queues {
    records: IntGaugeVec,
    bytes: IntGaugeVec,
    wait_ms: IntGaugeVec,
    overflow: IntGaugeVec,
}

impl Queues {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let lane = ["tenant", "class"];
        Self {
            records: metrics.gauge_vec(
                "carillon_router_queue_records",
                "Records that wait in their tenant's lane",
                &lane,
            ),
            bytes: metrics.gauge_vec(
                "carillon_router_queue_bytes",
                "Bytes that wait in their tenant's lane",
                &lane,
            ),
            wait_ms: metrics.gauge_vec(
                "carillon_router_queue_wait_milliseconds",
                "Longest wait in a tenant's lane since the last look",
                &lane,
            ),
            overflow: metrics.gauge_vec(
                "carillon_router_overflow_records",
                "Records that went to the overflow since their tenant had nothing there",
                &["tenant"],
            ),
        }
    }

    /// Shows how the queues stand now, in place of how they stood.
    pub(crate) fn show(&self, lanes: Report, overflow: &[OverflowReport]) {
        for gauges in [&self.records, &self.bytes, &self.wait_ms, &self.overflow] {
            gauges.reset();
        }
        for lane in lanes.top {
            let class = match lane.class {
                LaneClass::Ordinary => "ordinary",
                LaneClass::Redrive => "redrive",
            };
            let figures = lane.figures;
            let waits = (figures.records, figures.bytes, figures.longest_wait);
            self.lane([lane.tenant.as_str(), class], waits);
        }
        let others = lanes.others;
        self.lane(
            [OTHERS, OTHERS],
            (others.records, others.bytes, others.longest_wait),
        );
        let mut by_tenant = BTreeMap::<_, i64>::new();
        for report in overflow {
            let records = i64::try_from(report.records).unwrap_or(i64::MAX);
            *by_tenant.entry(report.tenant.as_str()).or_default() += records;
        }
        for (tenant, records) in by_tenant {
            self.overflow.with_label_values(&[tenant]).set(records);
        }
    }

    fn lane(&self, labels: [&str; 2], (records, bytes, wait): (usize, usize, Duration)) {
        let set = |gauge: &IntGaugeVec, value: i64| gauge.with_label_values(&labels).set(value);
        set(&self.records, i64::try_from(records).unwrap_or(i64::MAX));
        set(&self.bytes, i64::try_from(bytes).unwrap_or(i64::MAX));
        set(&self.wait_ms, i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    }
}
