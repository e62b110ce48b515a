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
        mark.start(offset, Some(0), 10);
    }
    assert!(mark.finish(6) && mark.finish(9));
    assert_eq!((mark.mark(), mark.in_flight()), (Some(5), 3));
    assert!(mark.finish(5));
    assert_eq!((mark.mark(), mark.in_flight()), (Some(10), 0));
}

#[test]
fn a_mark_is_due_until_its_commit_is_acknowledged() {
    let mut mark = LowWaterMark::default();
    mark.start(7, Some(0), 10);
    let first = mark.due(&partition(0)).unwrap();
    assert_eq!((first.offset, first.note.as_str()), (7, ""));
    mark.committed(&first);
    assert_eq!(mark.due(&partition(0)), None);
    mark.start(8, Some(0), 10);
    mark.finish(8);
    let noted = mark.due(&partition(0)).unwrap();
    assert!(noted.offset == 7 && !noted.note.is_empty());
    mark.finish(7);
    assert_eq!(mark.due(&partition(0)).unwrap().offset, 9);
}

#[test]
fn finishing_after_a_revoke_has_no_effect_and_an_assignment_starts_afresh() {
    let mut marks = LowWaterMarks::default();
    marks.assign(&partition(0));
    marks.get_mut("t", 0).unwrap().start(3, Some(0), 10);
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
                    mark.start(offset, Some(0), 10);
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
                    mark.start(offset, Some(0), 10);
                    unfinished.retain(|o| *o < offset);
                    unfinished.insert(offset);
                    next = offset + 1;
                }
                Step::FinishUnknown(offset) => prop_assert!(!mark.finish(offset)),
                Step::Commit => {
                    if let Some(due) = mark.due(&partition(0)) {
                        prop_assert!(unfinished.first().is_none_or(|lowest| due.offset <= *lowest));
                        mark.committed(&due);
                    }
                    prop_assert_eq!(mark.due(&partition(0)), None);
                }
                Step::Finish(_) | Step::Rewind(_) => {}
            }
            let expected = unfinished.first().copied().or((!started.is_empty()).then_some(next));
            prop_assert_eq!(mark.mark(), expected);
            prop_assert_eq!(mark.open(), unfinished.len());
        }
        for offset in unfinished.clone() {
            mark.finish(offset);
        }
        prop_assert_eq!(mark.in_flight(), 0);
    }
}

/// A log and the owners of it, one after the other.
#[derive(Debug, Default)]
struct Model {
    /// When each record was written. Never twice the same, so it is also the record's name.
    log: Vec<i64>,
    clock: i64,
    /// Names of the records that some owner finished.
    finished: BTreeSet<i64>,
    /// Those of them that the owner knows of, itself or by notes; nothing is expected of a log that was cut.
    known: BTreeSet<i64>,
    /// Offset and note, and what they say.
    committed: Option<(i64, String)>,
    told: BTreeSet<i64>,
    owner: LowWaterMark,
    position: usize,
    handed: Vec<usize>,
}

#[derive(Debug, Clone)]
enum Deed {
    Write(u8),
    Read(u8),
    Finish(prop::sample::Index),
    LetGo(prop::sample::Index),
    Commit,
    /// The next owner; the last commit says everything.
    HandOver,
    /// The next owner; what was not committed is gone.
    Crash,
    /// What stands here and behind it is lost.
    Cut(prop::sample::Index),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1..20u8).prop_map(Deed::Write),
        6 => (1..20u8).prop_map(Deed::Read),
        12 => any::<prop::sample::Index>().prop_map(Deed::Finish),
        1 => any::<prop::sample::Index>().prop_map(Deed::LetGo),
        2 => Just(Deed::Commit),
        2 => Just(Deed::HandOver),
        1 => Just(Deed::Crash),
        1 => any::<prop::sample::Index>().prop_map(Deed::Cut),
    ]
}

impl Model {
    /// Returns what went wrong.
    fn read(&mut self) -> Result<(), String> {
        let Some(&name) = self.log.get(self.position) else {
            return Ok(());
        };
        let offset = self.position as i64;
        let handed = self.owner.start(offset, Some(name), 10);
        if handed && self.known.contains(&name) {
            return Err(format!(
                "{offset} was repeated, and its owner knew that it is finished"
            ));
        }
        if !handed && !self.finished.contains(&name) {
            return Err(format!("{offset} was skipped and nobody finished it"));
        }
        if handed {
            self.handed.push(self.position);
        }
        self.position += 1;
        Ok(())
    }

    fn commit(&mut self) {
        if let Some(due) = self.owner.due(&partition(0)) {
            self.owner.committed(&due);
            self.committed = Some((due.offset, due.note));
            self.told = self.known.clone();
        }
    }

    fn next_owner(&mut self) {
        self.owner = LowWaterMark::assigned();
        self.handed.clear();
        self.position = 0;
        self.known = self.told.clone();
        if let Some((offset, note)) = &self.committed {
            self.owner.hear(note::decode(&partition(0), *offset, note));
            let position = *offset as usize;
            // A committed offset beyond the end is out of range: the reader begins at the oldest record.
            self.position = if position > self.log.len() { 0 } else { position };
        } else {
            self.owner.hear(None);
        }
    }
}

proptest! {
    #[test]
    fn a_hand_over_repeats_nothing_and_nothing_unfinished_is_ever_skipped(
        deeds in prop::collection::vec(deed(), 1..150)
    ) {
        let mut model = Model::default();
        for deed in deeds {
            match deed {
                Deed::Write(count) => for _ in 0..count {
                    model.clock += 1;
                    model.log.push(model.clock);
                },
                Deed::Read(count) => for _ in 0..count {
                    model.read().map_err(TestCaseError::fail)?;
                },
                Deed::Finish(index) if !model.handed.is_empty() => {
                    let at = *index.get(&model.handed);
                    if at < model.position && model.owner.finish(at as i64) {
                        model.finished.insert(model.log[at]);
                        model.known.insert(model.log[at]);
                    }
                }
                Deed::LetGo(index) if !model.handed.is_empty() => {
                    model.owner.let_go(*index.get(&model.handed) as i64);
                }
                Deed::Commit => model.commit(),
                Deed::HandOver => {
                    model.commit();
                    model.next_owner();
                }
                Deed::Crash => model.next_owner(),
                Deed::Cut(index) if !model.log.is_empty() => {
                    model.log.truncate(index.index(model.log.len()));
                    // A reader beyond the end goes on at the oldest record.
                    if model.position > model.log.len() {
                        model.position = 0;
                    }
                    let left = model.log.len();
                    model.handed.retain(|at| *at < left);
                    model.known.clear();
                    model.told.clear();
                }
                Deed::Finish(_) | Deed::LetGo(_) | Deed::Cut(_) => {}
            }
        }
    }
}
