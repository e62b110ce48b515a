//! Questions to brokers, asked again where the first answer says nothing.
//!
//! In: a question, and how long the answer may take. Out: the answer, or the last error. Always: a refusal is believed at
//! once; nobody waits longer than the deadline.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// How long a broker may take to answer before another is asked; twice as long each time after that. What was sent to a
/// broker that then died is never answered, and librdkafka asks nobody else.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// How long a broker that has not heard of a change is left alone before it is asked again.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Asks again until the deadline: what was not answered in time with more patience each time, and what the broker that
/// was asked cannot know yet a little later.
pub(crate) fn asked<T>(deadline: Duration, ask: impl Fn(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
    let (end, mut patience) = (Instant::now() + deadline, FIRST_ANSWER);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match ask(patience.min(left)) {
            Err(e) if is_late(&e) && left > patience => patience *= 2,
            Err(e) if is_early(&e) && left > LOOK => std::thread::sleep(LOOK),
            answer => return answer,
        }
    }
}

/// Whether another answer may come soon: the connection broke under the question, or the broker that answered has not
/// heard of a change yet that another one told us of (a topic that was made, partitions that were added, a leader that
/// was elected).
fn is_early(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        BrokerTransportFailure, LeaderNotAvailable, NotLeaderForPartition, OffsetNotAvailable,
        UnknownLeaderEpoch, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            BrokerTransportFailure
                | UnknownTopicOrPartition
                | UnknownTopic
                | UnknownPartition
                | LeaderNotAvailable
                | NotLeaderForPartition
                | UnknownLeaderEpoch
                | OffsetNotAvailable
        )
    )
}

/// Whether nobody answered in time.
fn is_late(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{OperationTimedOut, RequestTimedOut};
    matches!(
        error.rdkafka_error_code(),
        Some(OperationTimedOut | RequestTimedOut)
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// Which patience each attempt had, when the first so many fail with this code, and how it ended.
    fn attempts(fail: usize, code: RDKafkaErrorCode) -> (Vec<u64>, bool) {
        let seen = RefCell::new(Vec::new());
        let answer = asked(DEADLINE, |patience| {
            seen.borrow_mut().push(patience.as_secs_f64().ceil() as u64);
            match seen.borrow().len() > fail {
                true => Ok(()),
                false => Err(KafkaError::MetadataFetch(code)),
            }
        });
        (seen.into_inner(), answer.is_ok())
    }

    #[test]
    fn what_is_late_or_early_is_asked_again_until_the_deadline() {
        let late = RDKafkaErrorCode::OperationTimedOut;
        assert_eq!(attempts(0, late), (vec![1], true));
        assert_eq!(attempts(2, late), (vec![1, 2, 4], true));
        assert_eq!(attempts(99, late), (vec![1, 2, 4, 8, 10], false));
        let early = RDKafkaErrorCode::UnknownTopicOrPartition;
        assert_eq!(attempts(3, early), (vec![1, 1, 1, 1], true));
        let broken = RDKafkaErrorCode::BrokerTransportFailure;
        assert_eq!(attempts(1, broken), (vec![1, 1], true));
        let refused = RDKafkaErrorCode::TopicAuthorizationFailed;
        assert_eq!(attempts(1, refused), (vec![1], false));
    }
}
