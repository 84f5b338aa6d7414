//! The arithmetic behind the tables.

use super::{Measured, Report, median, ratio};
use crate::load::Finished;
use crate::store::Kind;
use crate::subject::Subject;
use crate::throughput::Case;
use crate::usage::Usage;
use std::time::Duration;

const CASE: Case = Case { store: Kind::Sqlite, instances: 1, readers: 0, latency_ms: 0, refused: 0, in_flight: 1 };

fn measured(sagas_per_s: f64) -> Measured {
    let took_us = vec![1_000; sagas_per_s as usize];
    Measured::new(Finished { took_us }, Duration::from_secs(1), Usage::default(), Usage::default())
}

#[test]
fn medians() {
    let of = |values: &[f64]| median(values.iter().copied());
    assert_eq!(of(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    assert!(of(&[]).is_nan());
}

#[test]
fn quantiles() {
    let mut finished = Finished { took_us: (1..=100).rev().map(|ms| ms * 1_000).collect() };
    assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| finished.quantile_ms(share)), [1.0, 51.0, 100.0, 100.0]);
    assert_eq!(Finished::default().quantile_ms(0.5), 0.0);
}

/// A round in which the machine was slow for both says nothing about either.
#[test]
fn ratios_are_taken_within_a_round() {
    let mut report = Report::default();
    for (amends, floor) in [(100.0, 200.0), (10.0, 20.0), (300.0, 400.0)] {
        report.add(CASE, Subject::Amends, measured(amends));
        report.add(CASE, Subject::Floor, measured(floor));
    }
    let figure: super::Figure = |measured| measured.sagas_per_s;
    assert_eq!(ratio(&report.runs[&CASE], Subject::Amends, Subject::Floor, figure), Some(0.5));
    assert_eq!(ratio(&report.runs[&CASE], Subject::Amends, Subject::Bare, figure), None);
    assert_eq!(report.to_json()[0]["to_durable_floor"]["sagas_per_s"], 0.5);
    assert!(report.to_string().contains("amends / durable floor"));
}

#[test]
fn what_a_saga_cost_is_the_difference_of_two_looks() {
    let look = |cpu_s, written, flushes| {
        let database_cpu_s = 2.0 * cpu_s;
        Usage { cpu_s, database_cpu_s, written, flushes, peak_mib: 7.0, resident_mib: 5.0 }
    };
    let finished = Finished { took_us: vec![2_000; 500] };
    let found = Measured::new(finished, Duration::from_secs(2), look(1.0, 1_000, 10), look(1.5, 6_000, 60));
    assert_eq!((found.sagas_per_s, found.cpu_s_per_1000, found.peak_mib), (250.0, 1.0, 7.0));
    assert_eq!(found.database_cpu_s_per_1000, 2.0);
    assert_eq!((found.bytes_per_saga, found.flushes_per_saga, found.p50_ms), (10.0, 0.1, 2.0));
}
