//! What the book promises.

use super::{
    super::{Which, tests::identity},
    *,
};

const LIMITS: ReceiptLimits = ReceiptLimits {
    entries: 8,
    every: Duration::from_millis(100),
    again: Duration::from_secs(1),
    kept: Duration::from_secs(3),
};

fn key(n: u8, what: What) -> Key {
    Key {
        identity: identity(n),
        what,
    }
}

fn of(tenant: &str, n: u8) -> Key {
    let mut key = key(n, What::Delivered);
    key.identity.tenant = tenant.parse().unwrap();
    key
}

/// The one batch that is due.
fn one(book: &mut Book, now: Instant) -> Batch {
    let mut due = book.due(now, false);
    assert_eq!(due.len(), 1);
    due.remove(0)
}

fn sessions(batch: &Batch) -> Vec<u32> {
    let counts = batch.receipts.iter().map(|receipt| match receipt.seen {
        Seen::Delivered { sessions } => sessions,
        _ => 0,
    });
    counts.collect()
}

#[test]
fn a_count_is_told_at_once_and_again_only_when_it_grew_and_absolute() {
    let (mut book, start) = (Book::new(LIMITS), Instant::now());
    assert!(book.note(key(1, What::Delivered), 2, 70, start));
    assert!(book.note(key(1, What::Delivered), 1, 60, start));
    let batch = one(&mut book, start);
    assert_eq!((sessions(&batch), batch.receipts[0].at), (vec![3], 60));
    assert!(book.due(start, false).is_empty(), "it is on its way");
    book.ended(batch, true, start);
    assert!(
        book.due(start + LIMITS.again, false).is_empty(),
        "it did not grow"
    );
    book.note(key(1, What::Delivered), 4, 90, start);
    assert!(book.due(start, false).is_empty(), "it was told a moment ago");
    let batch = one(&mut book, start + LIMITS.again);
    assert_eq!((sessions(&batch), batch.receipts[0].at), (vec![7], 60));
}

#[test]
fn what_grows_while_it_is_on_its_way_is_told_behind_it() {
    let (mut book, start) = (Book::new(LIMITS), Instant::now());
    book.note(key(1, What::Delivered), 1, 1, start);
    let batch = one(&mut book, start);
    book.note(key(1, What::Delivered), 1, 2, start);
    assert!(book.due(start, true).is_empty());
    book.ended(batch, true, start);
    assert_eq!(sessions(&book.due(start, true)[0]), [2]);
}

#[test]
fn what_kafka_did_not_take_is_sent_again_and_never_forgotten() {
    let (mut book, start) = (Book::new(LIMITS), Instant::now());
    book.note(key(1, What::Acknowledged), 1, 1, start);
    let batch = one(&mut book, start);
    book.ended(batch, false, start);
    let later = start + LIMITS.kept * 2;
    book.forget(later);
    let batch = one(&mut book, later);
    assert_eq!(batch.receipts[0].seen, Seen::Acknowledged);
    book.ended(batch, true, later);
    assert_eq!(book.untold().map(|(_, n)| n).sum::<u32>(), 0);
    book.forget(later + LIMITS.kept);
    book.forget(later + LIMITS.kept * 2);
    assert!(book.is_empty() && book.order.is_empty() && book.untold.is_empty());
}

#[test]
fn an_acknowledgement_and_an_expiry_are_told_once() {
    let (mut book, start) = (Book::new(LIMITS), Instant::now());
    for what in [What::Acknowledged, What::Expired] {
        (0..3).for_each(|n| assert!(book.note(key(1, what), 1, n, start)));
    }
    let batch = one(&mut book, start);
    let seen: Vec<Seen> = batch.receipts.iter().map(|r| r.seen).collect();
    assert_eq!(seen, [Seen::Acknowledged, Seen::Expired]);
    book.ended(batch, true, start);
    book.note(key(1, What::Acknowledged), 1, 9, start);
    assert!(book.due(start + LIMITS.again, false).is_empty());
}

#[test]
fn a_delivery_is_forgotten_some_time_after_it_grew_last() {
    let (mut book, start) = (Book::new(LIMITS), Instant::now());
    book.note(key(1, What::Delivered), 1, 1, start);
    let batch = one(&mut book, start);
    book.ended(batch, true, start);
    let grown = start + LIMITS.kept - Duration::from_millis(1);
    book.note(key(1, What::Delivered), 1, 1, grown);
    let batch = one(&mut book, grown);
    book.ended(batch, true, grown);
    book.forget(start + LIMITS.kept);
    assert!(!book.is_empty());
    book.forget(grown + LIMITS.kept);
    assert!(book.is_empty());
}

#[test]
fn a_full_book_keeps_what_kafka_lacks_and_a_quarter_of_it_for_acknowledgements() {
    let (mut book, start) = (Book::new(LIMITS), Instant::now());
    let taken = |book: &mut Book, tenant: &str| {
        let noted = (0..8).filter(|n| book.note(of(tenant, *n), 1, 1, start));
        noted.count()
    };
    assert_eq!(
        taken(&mut book, "acme"),
        3,
        "one tenant has half of the room for counts"
    );
    assert_eq!((taken(&mut book, "beta"), taken(&mut book, "core")), (3, 0));
    assert!(book.note(key(9, What::Acknowledged), 1, 1, start));
    assert!(
        !book.note(key(10, What::Acknowledged), 1, 1, start),
        "acme has its half"
    );
    for batch in book.due(start, false) {
        book.ended(batch, true, start);
    }
    assert_eq!(taken(&mut book, "core"), 3, "what kafka has makes room");
    assert!(book.entries.len() <= LIMITS.entries && book.order.len() == book.entries.len());
}

#[test]
fn a_record_holds_one_tenant_and_so_many_entries_at_most() {
    let limits = ReceiptLimits {
        entries: 10_000,
        ..LIMITS
    };
    let (mut book, start) = (Book::new(limits), Instant::now());
    for n in 0..=receipt::ENTRIES as u32 {
        let mut key = of("acme", 1);
        key.identity.which = Which {
            delivery: n + 1,
            ..Which::FIRST
        };
        book.note(key, 1, 1, start);
    }
    book.note(of("beta", 1), 1, 1, start);
    let due = book.due(start, false);
    let sizes: Vec<_> = due
        .iter()
        .map(|b| (b.tenant.as_str(), b.receipts.len()))
        .collect();
    assert_eq!(sizes, [("acme", receipt::ENTRIES), ("acme", 1), ("beta", 1)]);
}
