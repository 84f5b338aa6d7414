//! The conformance suite over every store: a test for each case and store.

use amends_store::conformance::{self, Subject};
use amends_store::{MemoryStore, PostgresOptions, PostgresStore, Processes, SqliteOptions, SqliteStore};
use std::sync::Arc;

/// One test for each case of a list, over the store that `$make` makes. What it makes beside the store, such as the
/// directory that it lies in, is kept until the case has ended.
macro_rules! over {
    ($make:expr, $($module:ident::$case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _kept) = $make;
                crate::conformance::$module::$case(store).await;
            }
        )*
    };
}

macro_rules! suite {
    (
        any [$($any_module:ident::$any:ident)*]
        one [$($one_module:ident::$one:ident)*]
        several [$($several_module:ident::$several:ident)*]
    ) => {
        mod memory_of_one_process {
            over!(crate::memory(super::Processes::One), $($any_module::$any)* $($one_module::$one)*);
        }
        mod memory_of_several_processes {
            over!(crate::memory(super::Processes::Several), $($any_module::$any)* $($several_module::$several)*);
        }
        mod sqlite {
            over!(crate::sqlite(), $($any_module::$any)* $($one_module::$one)*);
        }
        mod postgres {
            over!(crate::postgres().await, $($any_module::$any)* $($several_module::$several)*);
        }

        const LISTED: &[&str] = &[$(stringify!($any),)* $(stringify!($one),)* $(stringify!($several),)*];
    };
}

amends_store::conformance_cases!(suite);

fn memory(processes: Processes) -> (Subject, ()) {
    (Arc::new(MemoryStore::new(processes)), ())
}

fn sqlite() -> (Subject, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let store = SqliteStore::open(SqliteOptions::new(directory.path().join("amends.db")));
    (Arc::new(store.expect("an empty store can be opened")), directory)
}

async fn postgres() -> (Subject, ()) {
    let store = PostgresStore::open(PostgresOptions::new(test_postgres::database())).await;
    (Arc::new(store.expect("an empty store can be opened")), ())
}

/// A case that nobody lists would never run, and nothing else would say so.
#[test]
fn every_case_is_listed() {
    let sources = [
        include_str!("../src/conformance/audit.rs"),
        include_str!("../src/conformance/batches.rs"),
        include_str!("../src/conformance/births.rs"),
        include_str!("../src/conformance/commits.rs"),
        include_str!("../src/conformance/definitions.rs"),
        include_str!("../src/conformance/lists.rs"),
        include_str!("../src/conformance/ownership.rs"),
        include_str!("../src/conformance/people.rs"),
        include_str!("../src/conformance/queue.rs"),
        include_str!("../src/conformance/queues.rs"),
        include_str!("../src/conformance/retention.rs"),
        include_str!("../src/conformance/statistics.rs"),
        include_str!("../src/conformance/tokens.rs"),
        include_str!("../src/conformance/values.rs"),
    ];
    let written =
        sources.iter().flat_map(|source| source.lines()).filter_map(|line| line.strip_prefix("pub async fn "));
    let mut written: Vec<&str> = written.filter_map(|rest| rest.split('(').next()).collect();
    let mut listed = LISTED.to_vec();
    written.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, written);
}
