//! Tests of the low-water mark against a model: a set of unfinished offsets.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn partition(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: "t".into(),
        partition,
    }
}

#[test]
fn the_mark_stays_below_the_lowest_unfinished_record() {
    let mut mark = LowWaterMark::default();
    assert_eq!(mark.mark(), None);
    for offset in [5, 6, 9] {
        mark.start(offset);
    }
    assert!(mark.finish(6) && mark.finish(9));
    assert_eq!((mark.mark(), mark.in_flight()), (Some(5), 3));
    assert!(mark.finish(5));
    assert_eq!((mark.mark(), mark.in_flight()), (Some(10), 0));
}

#[test]
fn a_mark_is_due_until_its_commit_is_acknowledged() {
    let mut mark = LowWaterMark::default();
    mark.start(7);
    assert_eq!(mark.due(), Some(7));
    mark.committed(7);
    assert_eq!(mark.due(), None);
    mark.finish(7);
    assert_eq!(mark.due(), Some(8));
}

#[test]
fn finishing_after_a_revoke_has_no_effect_and_an_assignment_starts_afresh() {
    let mut marks = LowWaterMarks::default();
    marks.assign(&partition(0));
    marks.get_mut("t", 0).unwrap().start(3);
    assert_eq!(marks.revoke(&partition(0)).unwrap().mark(), Some(3));
    assert!(marks.get_mut("t", 0).is_none() && marks.due().is_empty());
    marks.assign(&partition(0));
    assert!(!marks.get_mut("t", 0).unwrap().finish(3));
    assert_eq!(marks.get("t", 0).unwrap().mark(), None);
}

#[derive(Debug, Clone)]
enum Step {
    /// Hand out the next record, after skipping some offsets.
    Start(i64),
    /// Finish one that was handed out at some time.
    Finish(prop::sample::Index),
    /// Finish one that was never handed out.
    FinishUnknown(i64),
    /// The reader went back.
    Rewind(prop::sample::Index),
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3i64).prop_map(Step::Start),
        4 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => (1000..2000i64).prop_map(Step::FinishUnknown),
        1 => any::<prop::sample::Index>().prop_map(Step::Rewind),
        1 => Just(Step::Commit),
    ]
}

proptest! {
    #[test]
    fn what_is_committed_is_at_or_below_the_lowest_unfinished(steps in prop::collection::vec(step(), 1..200)) {
        let mut mark = LowWaterMark::default();
        let mut unfinished = BTreeSet::new();
        let mut started = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Start(skip) => {
                    let offset = next + skip;
                    mark.start(offset);
                    unfinished.insert(offset);
                    started.push(offset);
                    next = offset + 1;
                }
                Step::Finish(index) if !started.is_empty() => {
                    let offset = *index.get(&started);
                    prop_assert_eq!(mark.finish(offset), unfinished.remove(&offset));
                }
                Step::Rewind(index) if !started.is_empty() => {
                    let offset = *index.get(&started);
                    mark.start(offset);
                    unfinished.retain(|o| *o < offset);
                    unfinished.insert(offset);
                    next = offset + 1;
                }
                Step::FinishUnknown(offset) => prop_assert!(!mark.finish(offset)),
                Step::Commit => {
                    if let Some(due) = mark.due() {
                        prop_assert!(unfinished.first().is_none_or(|lowest| due <= *lowest));
                        mark.committed(due);
                    }
                    prop_assert_eq!(mark.due(), None);
                }
                Step::Finish(_) | Step::Rewind(_) => {}
            }
            let expected = unfinished.first().copied().or((!started.is_empty()).then_some(next));
            prop_assert_eq!(mark.mark(), expected);
        }
        for offset in unfinished.clone() {
            mark.finish(offset);
        }
        prop_assert_eq!(mark.in_flight(), 0);
    }
}
