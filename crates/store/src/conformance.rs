//! The conformance suite: what every store must do, as tests that any store can be put through.
//!
//! In: a [`Subject`], a store with a hand on its clock. Out: nothing, or a panic that says what was broken.
//! Always: it speaks to the trait only; each test has tenants of its own, so that tests may share a store.
//!
//! `carillon_store::conformance!(make)` makes one test of each, where `make` is an async function that
//! returns a [`Subject`] and something to keep alive beside it. Attributes for all of them may follow.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a test suite: it panics to say what is wrong, and each test's name says what it promises"
)]

use std::{sync::Arc, time::Duration};

use carillon_chassis::clock::Clock;
use carillon_schemas::TenantId;

use crate::NotificationStore;

mod claims;
pub mod facts;
mod instances;
mod isolation;
mod letters;
mod life;
mod lifetime;
pub mod model;
mod order;
mod paging;
mod recent;
mod trails;
mod waiting;

pub use claims::*;
pub use instances::*;
pub use isolation::*;
pub use letters::*;
pub use life::*;
pub use lifetime::*;
pub use order::*;
pub use paging::*;
pub use recent::*;
pub use trails::*;
pub use waiting::*;

/// A store under test.
pub struct Subject {
    /// The store.
    pub store: Arc<dyn NotificationStore>,
    /// The same database, opened once more.
    pub other: Arc<dyn NotificationStore>,
    /// The manual clock that it was opened with.
    pub clock: Clock,
    /// The retention that it was opened with.
    pub retention: Duration,
    /// A number that no earlier test of the same database had: it stands in tenant names.
    pub run: u64,
}

impl Subject {
    /// A tenant of this test alone.
    pub fn tenant(&self, name: &str) -> TenantId {
        format!("{name}-{}", self.run).parse().unwrap()
    }
}

/// Makes a test of every promise, each with these attributes.
#[macro_export]
macro_rules! conformance {
    ($make:path $(, $($attribute:tt)*)?) => {
        $crate::conformance!(@each $make, [$($($attribute)*)?]:
            facts_in_any_order_and_number_give_one_state
            a_state_is_known_before_its_payload
            the_first_payload_of_an_id_stays
            bytes_come_back_as_they_were_sealed
            a_batch_of_every_kind_may_be_empty
            nothing_of_one_tenant_stands_in_an_answer_to_another
            pages_lose_and_double_no_row_while_rows_arrive
            a_filter_finds_the_one_row_behind_many_others_in_bounded_pages
            pages_end_where_the_asked_moment_begins
            recent_is_the_last_n_oldest_first_and_goes_back_from_a_cursor
            a_deliberate_repeat_has_a_row_of_its_own
            a_key_claimed_by_many_at_once_is_new_to_exactly_one
            a_key_is_free_again_after_a_day
            what_is_older_than_the_retention_is_in_no_answer
            a_fact_keeps_its_notification_for_another_retention
            a_closed_store_says_that_it_is_closed
            what_one_instance_wrote_the_other_reads
            writers_with_clocks_apart_give_one_state_in_any_order
            a_batch_told_again_whole_changes_nothing
            a_call_without_an_answer_may_be_told_again
            a_key_claimed_through_two_instances_is_new_to_exactly_one
            a_claim_told_again_by_its_holder_is_still_its_own
            of_a_nodes_sessions_the_most_and_of_first_times_the_earliest_stay
            the_newest_of_a_collapse_key_is_the_latest_in_any_order_of_arrival
            a_latest_ends_with_its_time
            what_is_due_comes_in_its_order_and_stays_until_it_is_taken_out
            what_was_due_long_ago_is_found
            what_waits_is_kept_until_after_it_is_due
            dead_letters_come_page_by_page_both_ways
            a_filter_finds_the_one_dead_letter_in_bounded_pages
            the_last_mark_stays_in_any_order_and_when_its_letter_is_told_again
            a_dead_letter_stays_for_thirty_days
            a_job_begins_once_and_its_last_saving_stays_in_any_order
            a_job_ends_with_its_time_and_its_id_is_free_again
            an_audit_trail_comes_page_by_page_and_each_entry_once
            an_entry_ends_with_its_time
            stored_notifications_come_again_oldest_first_with_their_payloads
            a_page_of_large_payloads_is_short
        );
    };
    (@each $make:path, $attributes:tt: $($promise:ident)*) => {
        $($crate::conformance!(@one $make, $attributes, $promise);)*
    };
    (@one $make:path, [$($attribute:tt)*], $promise:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $promise() {
            let (subject, _kept) = $make().await;
            $crate::conformance::$promise(&subject).await;
        }
    };
}
