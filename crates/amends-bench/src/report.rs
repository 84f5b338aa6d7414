//! Medians and ratios of what was measured, as a table and as JSON.

#[cfg(test)]
mod tests;

use crate::load::Finished;
use crate::store::Kind;
use crate::subject::Subject;
use crate::throughput::Case;
use crate::usage::Usage;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What came of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Sagas that ended, a second.
    pub sagas_per_s: f64,
    /// The median of how long they took, in milliseconds.
    pub p50_ms: f64,
    /// What ninety-nine in a hundred took at most, in milliseconds.
    pub p99_ms: f64,
    /// Seconds of processor time that the server used for a thousand sagas.
    pub cpu_s_per_1000: f64,
    /// The same of the database, where it is a process of its own.
    pub database_cpu_s_per_1000: f64,
    /// The most memory that the server had, in MiB.
    pub peak_mib: f64,
    /// Bytes that server and database wrote to the disk for a saga.
    pub bytes_per_saga: f64,
    /// Flushes of the disk for a saga.
    pub flushes_per_saga: f64,
}

impl Measured {
    /// What a server did between two looks at it.
    pub fn new(mut finished: Finished, time: Duration, before: Usage, after: Usage) -> Measured {
        let sagas = finished.took_us.len() as f64;
        Measured {
            sagas_per_s: sagas / time.as_secs_f64(),
            p50_ms: finished.quantile_ms(0.5),
            p99_ms: finished.quantile_ms(0.99),
            cpu_s_per_1000: (after.cpu_s - before.cpu_s) * 1_000.0 / sagas,
            database_cpu_s_per_1000: (after.database_cpu_s - before.database_cpu_s) * 1_000.0 / sagas,
            peak_mib: after.peak_mib,
            bytes_per_saga: (after.written - before.written) as f64 / sagas,
            flushes_per_saga: (after.flushes - before.flushes) as f64 / sagas,
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Report {
    runs: BTreeMap<Case, BTreeMap<Subject, Vec<Measured>>>,
}

/// What two subjects are compared by.
type Figure = fn(&Measured) -> f64;

impl Report {
    /// Keeps the result of a run.
    pub fn add(&mut self, case: Case, subject: Subject, measured: Measured) {
        self.runs.entry(case).or_default().entry(subject).or_default().push(measured);
    }

    /// The last results of a case, in one line.
    pub fn last(&self, case: Case) -> String {
        let subjects = self.runs[&case].iter().filter_map(|(subject, runs)| Some((subject, runs.last()?)));
        let said = subjects.map(|(subject, last)| format!("{subject} {:.0}/s", last.sagas_per_s));
        format!("{case:?}: {}", said.collect::<Vec<_>>().join(", "))
    }

    /// As JSON: each case with each subject's median figures, and the ratios of Amends to both floors.
    pub fn to_json(&self) -> Value {
        let cases = self.runs.iter().map(|(case, subjects)| {
            let medians = |runs: &Vec<Measured>| {
                json!(
                    FIGURES
                        .map(|(name, figure, _)| (name, median(runs.iter().map(figure))))
                        .into_iter()
                        .collect::<BTreeMap<_, _>>()
                )
            };
            let subjects_of: BTreeMap<String, Value> =
                subjects.iter().map(|(subject, runs)| (subject.to_string(), medians(runs))).collect();
            let ratios = |to: Subject| {
                let each = FIGURES.map(|(name, figure, _)| (name, ratio(subjects, Subject::Amends, to, figure)));
                json!(each.into_iter().collect::<BTreeMap<_, _>>())
            };
            json!({ "case": case, "medians": subjects_of, "runs": subjects.values().map(Vec::len).max(),
                    "to_durable_floor": ratios(Subject::Floor), "to_bare_floor": ratios(Subject::Bare) })
        });
        Value::Array(cases.collect())
    }
}

const FIGURES: [(&str, Figure, usize); 8] = [
    ("sagas_per_s", |measured| measured.sagas_per_s, 0),
    ("p50_ms", |measured| measured.p50_ms, 2),
    ("p99_ms", |measured| measured.p99_ms, 2),
    ("cpu_s_per_1000", |measured| measured.cpu_s_per_1000, 3),
    ("database_cpu_s_per_1000", |measured| measured.database_cpu_s_per_1000, 3),
    ("peak_mib", |measured| measured.peak_mib, 0),
    ("bytes_per_saga", |measured| measured.bytes_per_saga, 0),
    ("flushes_per_saga", |measured| measured.flushes_per_saga, 3),
];

/// The median over the rounds of what one figure is to another in the same round.
fn ratio(subjects: &BTreeMap<Subject, Vec<Measured>>, of: Subject, to: Subject, figure: Figure) -> Option<f64> {
    let (of, to) = (subjects.get(&of)?, subjects.get(&to)?);
    let ratios = of.iter().zip(to).map(|(of, to)| figure(of) / figure(to)).filter(|ratio| ratio.is_finite());
    let ratios: Vec<f64> = ratios.collect();
    (!ratios.is_empty()).then(|| median(ratios.into_iter()))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads =
            ["sagas/s", "p50 ms", "p99 ms", "CPU s/1000", "DB CPU s/1000", "peak MiB", "bytes/saga", "flushes/saga"];
        for (case, subjects) in &self.runs {
            let mix = match case.refused {
                0 => "all succeed".to_owned(),
                one_in => format!("one in {one_in} refused"),
            };
            let store = match case.store {
                Kind::Sqlite => "SQLite",
                Kind::Postgres => "PostgreSQL",
            };
            let Case { in_flight, latency_ms, .. } = case;
            writeln!(f, "\n{in_flight} in flight, services answer after {latency_ms} ms, {mix}; {store}")?;
            write!(f, "  {:<22}", "")?;
            heads.iter().try_for_each(|head| write!(f, "{head:>14}"))?;
            writeln!(f)?;
            for (subject, runs) in subjects {
                write!(f, "  {subject:<22}")?;
                for (_, figure, decimals) in FIGURES {
                    write!(f, "{:>14.decimals$}", median(runs.iter().map(figure)))?;
                }
                writeln!(f)?;
            }
            let compared = [
                (Subject::Amends, Subject::Floor, "amends / durable floor".to_owned()),
                (Subject::Amends, Subject::Bare, "amends / bare floor".to_owned()),
                (Subject::Amends, Subject::Other, "amends / other build".to_owned()),
                (Subject::Several, Subject::Amends, format!("{} instances / one", case.instances)),
                (Subject::Read, Subject::Amends, format!("{} readers / none", case.readers)),
            ];
            for (of, to, name) in
                compared.into_iter().filter(|(of, to, _)| [of, to].iter().all(|one| subjects.contains_key(one)))
            {
                write!(f, "  {name:<22}")?;
                for (_, figure, _) in FIGURES {
                    match ratio(subjects, of, to, figure) {
                        Some(ratio) => write!(f, "{ratio:>14.2}")?,
                        None => write!(f, "{:>14}", "")?,
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
