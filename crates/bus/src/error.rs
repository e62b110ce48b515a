//! Errors: what can go wrong between this process and Kafka, sorted by what the caller does next.
//!
//! In: librdkafka's codes. Out: two closed enums. Always: a record whose fate is unknown is never reported
//! as not sent.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use thiserror::Error;

/// Why a record was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// The producer's own queue is full: shed load. Nothing was sent.
    #[error("the producer's queue is full")]
    QueueFull,
    /// Larger than the broker or this client allows. Nothing was written.
    #[error("the record is too large")]
    TooLarge,
    /// Not written; the same record may succeed later.
    #[error("Kafka is unavailable: {0}")]
    Unavailable(String),
    /// It may have been written: the acknowledgement did not come in time.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(String),
    /// Not written, and never will be as it is: unknown topic or partition, no permission.
    #[error("Kafka refuses the record: {0}")]
    Refused(String),
}

/// Why anything else failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BusError {
    /// librdkafka refuses the configuration, or no thread could be started.
    #[error("the Kafka client could not be made: {0}")]
    Client(String),
    /// Kafka could not be asked, or did not answer in time.
    #[error("Kafka is unavailable: {0}")]
    Unavailable(String),
    /// Kafka answered, and refused.
    #[error("Kafka refuses: {0}")]
    Refused(String),
    /// It did not end before its deadline.
    #[error("{0} did not end in time")]
    DeadlineExceeded(&'static str),
    /// As many requests as are allowed are waiting already.
    #[error("too many reads are waiting")]
    Busy,
    /// This client was closed.
    #[error("the Kafka client is closed")]
    Closed,
}

impl SendError {
    /// The name of its class in metrics.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::Unavailable(_) => "unavailable",
            Self::OutcomeUnknown(_) => "outcome_unknown",
            Self::Refused(_) => "refused",
        }
    }

    /// Sorts an error of the producer, told at once or in place of an acknowledgement.
    ///
    /// What is not listed may have reached a broker, so its outcome is unknown.
    pub(crate) fn sort(error: &KafkaError) -> Self {
        let Some(code) = error.rdkafka_error_code() else {
            return Self::Refused(error.to_string());
        };
        match code {
            Code::QueueFull => Self::QueueFull,
            Code::MessageSizeTooLarge => Self::TooLarge,
            Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::InvalidTopic
            | Code::InvalidArgument
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::InvalidRequiredAcks
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnsupportedForMessageFormat
            | Code::UnsupportedCompressionType
            | Code::PolicyViolation => Self::Refused(code.to_string()),
            Code::PurgeQueue
            | Code::Fatal
            | Code::State
            | Code::NotEnoughReplicas
            | Code::LeaderNotAvailable
            | Code::KafkaStorageError
            | Code::Authentication
            | Code::ThrottlingQuotaExceeded => Self::Unavailable(code.to_string()),
            _ => Self::OutcomeUnknown(code.to_string()),
        }
    }
}

impl BusError {
    /// Sorts an error of a reader or an administrator.
    pub(crate) fn sort(error: &KafkaError) -> Self {
        match error {
            // Its value may be a secret.
            KafkaError::ClientConfig(_, reason, name, _) => Self::Client(format!("{name}: {reason}")),
            KafkaError::ClientCreation(_) | KafkaError::AdminOpCreation(_) => Self::Client(error.to_string()),
            _ => Self::of_code(error.rdkafka_error_code(), error.to_string()),
        }
    }

    /// Sorts an answer of a broker.
    pub(crate) fn of_code(code: Option<Code>, text: String) -> Self {
        match code {
            Some(
                Code::UnknownTopic
                | Code::UnknownPartition
                | Code::UnknownTopicOrPartition
                | Code::InvalidTopic
                | Code::InvalidArgument
                | Code::InvalidConfig
                | Code::InvalidPartitions
                | Code::InvalidReplicationFactor
                | Code::PolicyViolation
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::UnsupportedFeature
                | Code::UnsupportedVersion,
            ) => Self::Refused(text),
            _ => Self::Unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_reached_a_broker_is_never_reported_as_not_sent() {
        for code in [
            Code::MessageTimedOut,
            Code::RequestTimedOut,
            Code::BrokerTransportFailure,
            Code::PurgeInflight,
            Code::NotEnoughReplicasAfterAppend,
            Code::OutOfOrderSequenceNumber,
            Code::Unknown,
        ] {
            let sorted = SendError::sort(&KafkaError::MessageProduction(code));
            assert!(matches!(sorted, SendError::OutcomeUnknown(_)), "{code:?}");
        }
    }

    #[test]
    fn a_full_queue_a_large_record_and_an_unknown_topic_are_told_apart() {
        let sort = |code| SendError::sort(&KafkaError::MessageProduction(code));
        assert_eq!(sort(Code::QueueFull), SendError::QueueFull);
        assert_eq!(sort(Code::MessageSizeTooLarge), SendError::TooLarge);
        assert!(matches!(sort(Code::UnknownTopic), SendError::Refused(_)));
        assert!(matches!(sort(Code::NotEnoughReplicas), SendError::Unavailable(_)));
    }
}
