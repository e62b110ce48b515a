//! Promises about a stream's last notifications.

use super::{
    Subject,
    facts::{self, EPOCH_MS},
};

pub async fn recent_is_the_last_n_oldest_first_and_goes_back_from_a_cursor(subject: &Subject) {
    let tenant = subject.tenant("a");
    // All on the channel `alerts`: even numbers that are not for a user.
    let numbers: Vec<u64> = (0..60).filter(|n| n % 2 == 0 && n % 5 != 4).collect();
    let new: Vec<_> = numbers
        .iter()
        .map(|n| facts::new(&tenant, *n, 1, EPOCH_MS, "r"))
        .collect();
    let mut places: Vec<_> = numbers
        .iter()
        .map(|n| facts::dispatched(&tenant, *n, 1, 1, EPOCH_MS, "r"))
        .collect();
    places.reverse();
    subject.store.persist(&new).await.unwrap();
    subject.store.dispatched(&places).await.unwrap();
    let stream = facts::stream(0);
    let last = async |n, before| -> Vec<_> {
        let rows = subject.store.recent(&tenant, &stream, n, before).await.unwrap();
        rows.into_iter().map(|row| row.envelope.notification_id).collect()
    };
    let expected =
        |range: std::ops::Range<usize>| -> Vec<_> { numbers[range].iter().map(|n| facts::id(*n)).collect() };
    let end = numbers.len();
    assert_eq!(last(5, None).await, expected(end - 5..end));
    assert_eq!(
        last(5, Some(facts::cursor(numbers[10], 1))).await,
        expected(5..10)
    );
    assert_eq!(last(5, Some(facts::cursor(numbers[2], 1))).await, expected(0..2));
    assert_eq!(last(5, Some(facts::cursor(numbers[0], 1))).await, []);
    assert_eq!(last(0, None).await, []);
    assert_eq!(last(u32::MAX, None).await, expected(0..end));
    let mut later = facts::cursor(0, 1);
    later.generation += 1;
    assert_eq!(last(1, Some(later)).await, expected(end - 1..end));
}

pub async fn a_deliberate_repeat_has_a_row_of_its_own(subject: &Subject) {
    let tenant = subject.tenant("a");
    subject
        .store
        .persist(&[facts::new(&tenant, 0, 1, EPOCH_MS, "r")])
        .await
        .unwrap();
    for delivery in [2, 1, 2] {
        let fact = facts::dispatched(&tenant, 0, delivery, 1, EPOCH_MS, "r");
        subject.store.dispatched(&[fact]).await.unwrap();
    }
    let rows = subject
        .store
        .recent(&tenant, &facts::stream(0), 5, None)
        .await
        .unwrap();
    let rows: Vec<_> = rows.iter().map(|row| (row.cursor, row.delivery)).collect();
    assert_eq!(rows, [(facts::cursor(0, 1), 1), (facts::cursor(0, 2), 2)]);
}
