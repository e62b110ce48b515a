//! Readiness: named conditions that a process must meet before it takes work.
//!
//! In: conditions set by those who know. Out: which are unmet, and why.
//! Always: a condition starts unmet; ready means that none is.

use std::sync::Arc;

use parking_lot::Mutex;

/// The conditions of one process.
#[derive(Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<Condition>>>,
}

/// One condition, held by whoever knows whether it is met.
#[derive(Clone)]
pub struct Condition {
    name: &'static str,
    unmet: Arc<Mutex<Option<String>>>,
}

impl Readiness {
    /// Adds a condition, unmet with the reason `starting`.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition {
            name,
            unmet: Arc::new(Mutex::new(Some("starting".to_owned()))),
        };
        self.conditions.lock().push(condition.clone());
        condition
    }

    /// The unmet conditions with their reasons, in the order in which they were added.
    pub fn unmet(&self) -> Vec<(&'static str, String)> {
        let conditions = self.conditions.lock();
        conditions
            .iter()
            .filter_map(|c| c.unmet.lock().clone().map(|reason| (c.name, reason)))
            .collect()
    }
}

impl Condition {
    /// It is met. Returns whether it was unmet before.
    pub fn met(&self) -> bool {
        self.unmet.lock().take().is_some()
    }

    /// It is unmet, for this reason. Returns whether it was met before.
    pub fn unmet(&self, reason: impl Into<String>) -> bool {
        self.unmet.lock().replace(reason.into()).is_none()
    }

    /// Whether it is met.
    pub fn is_met(&self) -> bool {
        self.unmet.lock().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_starts_unmet_and_says_why() {
        let readiness = Readiness::default();
        let kafka = readiness.condition("kafka");
        assert_eq!(readiness.unmet(), [("kafka", "starting".to_owned())]);
        assert!(kafka.met() && !kafka.met());
        assert!(readiness.unmet().is_empty());
        assert!(kafka.unmet("no broker"));
        assert_eq!(readiness.unmet(), [("kafka", "no broker".to_owned())]);
    }
}
