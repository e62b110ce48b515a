//! Latencies: what of a distribution is reported.
//!
//! In: a histogram in microseconds. Out: milliseconds at the quantiles that targets speak of.
//! Always: a quantile is that of all that was recorded, never a mean of quantiles.

use hdrhistogram::Histogram;
use serde::Deserialize;

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Latency {
    /// Half are not above it.
    pub p50: f64,
    /// 99 of 100 are not above it.
    pub p99: f64,
    /// None is above it.
    pub max: f64,
}

impl Latency {
    /// Of a histogram in microseconds.
    pub fn of(micros: &Histogram<u64>) -> Self {
        let at = |quantile| micros.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: at(0.5),
            p99: at(0.99),
            max: micros.max() as f64 / 1e3,
        }
    }
}

/// The middle of some figures: the mean of the two middle ones where their number is even. Not a number for
/// none.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_everything_recorded() {
        let mut histogram = Histogram::new(3).unwrap();
        for micros in 1..=1000u64 {
            histogram.record(micros * 1000).unwrap();
        }
        let latency = Latency::of(&histogram);
        let near = |is: f64, should: f64| (is - should).abs() <= should * 0.001;
        assert!(
            near(latency.p50, 500.0) && near(latency.p99, 990.0),
            "{latency:?}"
        );
        assert!(near(latency.max, 1000.0), "{latency:?}");
    }

    #[test]
    fn the_median_is_the_middle_and_none_has_none() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
