//! What is shown while the demo runs: a bar on a terminal, a line now and then elsewhere, nothing for programs. It
//! goes to standard error, so that standard output is the report alone.

use super::follow::Tally;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(3);
/// The bar and, below it, the numbers. The template is indicatif's.
const TEMPLATE: &str = "  {bar:36.green/dim} {pos} of {len} orders ended, {elapsed} so far\n  {msg}";

/// Shows how far the demo is.
pub(super) enum Progress {
    /// A bar that is drawn over itself.
    Bar(ProgressBar),
    /// Lines, the last one written at that time.
    Lines {
        /// How many orders there will be.
        orders: usize,
        /// When the last line was written.
        last: Instant,
        /// What it said.
        shown: Option<Tally>,
    },
    /// Nothing at all.
    Silent,
}

impl Progress {
    /// What suits the place where standard error goes to.
    pub(super) fn new(silent: bool, orders: usize) -> Progress {
        if silent {
            return Progress::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Progress::Lines { orders, last: Instant::now(), shown: None };
        }
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is valid");
        let bar = ProgressBar::new(orders as u64).with_style(style.progress_chars("━━─"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress::Bar(bar)
    }

    /// Says something that stays.
    pub(super) fn say(&self, line: &str) {
        match self {
            Progress::Bar(bar) => bar.suspend(|| anstream::eprintln!("{line}")),
            Progress::Lines { .. } => eprintln!("{line}"),
            Progress::Silent => {}
        }
    }

    /// Shows where the sagas stand. Orders can be more than were placed only where a check would find them.
    pub(super) fn show(&mut self, tally: &Tally, letters: u64) {
        let ended = tally.completed + tally.compensated + tally.stuck;
        match self {
            Progress::Bar(bar) => {
                bar.set_position(ended as u64);
                bar.set_message(numbers(tally, letters));
            }
            Progress::Lines { orders, last, shown } => {
                if last.elapsed() >= LINE_EVERY || shown.is_none() {
                    eprintln!("{ended} of {orders} orders ended: {}", numbers(tally, letters));
                    (*last, *shown) = (Instant::now(), Some(*tally));
                }
            }
            Progress::Silent => {}
        }
    }

    /// Takes the bar away; what follows is the report.
    pub(super) fn finish(self) {
        match self {
            Progress::Bar(bar) => bar.finish_and_clear(),
            Progress::Lines { .. } | Progress::Silent => {}
        }
    }
}

fn numbers(tally: &Tally, letters: u64) -> String {
    let Tally { started, completed, compensated, in_flight, .. } = tally;
    let latency = match tally.latency {
        Some(latency) => format!("p50 {}, p99 {}", time(latency.p50_ms), time(latency.p99_ms)),
        None => "no latency yet".to_owned(),
    };
    let counts = format!("{started} started, {completed} completed, {compensated} compensated, {in_flight} in flight");
    format!("{counts}, {letters} dead letters, {latency}")
}

/// A time for people.
pub(super) fn time(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        60_000.. => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}
