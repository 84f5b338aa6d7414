//! What is shown while the demo runs: a bar on a terminal, a line now and then elsewhere, nothing for programs. It
//! goes to standard error, so that standard output is the report alone.

use super::follow::Tally;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(3);
/// The bar and, below it, the numbers, so that none of it is wider than 80 columns. The template is indicatif's.
const TEMPLATE: &str = "  {bar:36.green/dim} {pos} of {len} orders ended, {elapsed} so far\n  {prefix}\n  {msg}";

/// Shows how far the demo is.
pub(super) enum Progress {
    /// A bar that is drawn over itself.
    Bar(ProgressBar),
    /// Lines.
    Lines {
        /// How many orders there will be.
        orders: usize,
        /// When the last line was written.
        last: Option<Instant>,
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
            return Progress::Lines { orders, last: None };
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

    /// Shows where the sagas stand.
    pub(super) fn show(&mut self, tally: &Tally, letters: u64) {
        let ended = tally.completed + tally.compensated + tally.stuck;
        match self {
            Progress::Bar(bar) => {
                bar.set_position(ended as u64);
                bar.set_prefix(counts(tally));
                bar.set_message(lag(tally, letters));
            }
            Progress::Lines { orders, last } => {
                let due = last.is_none_or(|last| last.elapsed() >= LINE_EVERY);
                if tally.started > 0 && due {
                    eprintln!("{ended} of {orders} orders ended: {}, {}", counts(tally), lag(tally, letters));
                    *last = Some(Instant::now());
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

fn counts(tally: &Tally) -> String {
    let Tally { started, completed, compensated, in_flight, .. } = tally;
    format!("{started} started, {completed} completed, {compensated} compensated, {in_flight} in flight")
}

fn lag(tally: &Tally, letters: u64) -> String {
    let letters = format!("{letters} dead letter{}", if letters == 1 { "" } else { "s" });
    match tally.latency {
        Some(latency) => format!("{letters}, p50 {}, p99 {}", time(latency.p50_ms), time(latency.p99_ms)),
        None => letters,
    }
}

/// A time for people.
pub(super) fn time(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        60_000.. => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}
