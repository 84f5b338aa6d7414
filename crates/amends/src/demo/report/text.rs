//! The report for people: what became of the orders, what went wrong on purpose, what the ledgers say, and where to
//! look next.

use super::{Checked, Example, Outcome, Report, Shell, counted};
use crate::demo::Faults;
use crate::demo::progress::time;
use amends_client::SagaStatus;
use anstyle::{AnsiColor, Style};
use shop::Service;
use std::collections::BTreeSet;
use std::fmt::Write;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const UNDONE: Style = AnsiColor::Yellow.on_default();
const COMMAND: Style = AnsiColor::Cyan.on_default();

/// How wide the kinds of faults are; with it the table has 80 columns.
const KIND: usize = 20;
/// How many findings are shown one by one.
const FINDINGS: usize = 20;
/// How many stuck sagas are shown one by one.
const PARKED: usize = 10;

pub(super) fn render(report: &Report, kept: bool) -> String {
    let mut text = String::new();
    outcome(&mut text, report);
    fired(&mut text, report);
    checks(&mut text, report);
    parked(&mut text, report);
    examples(&mut text, report, kept);
    if kept {
        try_this(&mut text, report);
    }
    text.trim_end().to_owned()
}

/// Adds a line. Writing to a string cannot fail.
macro_rules! put {
    ($text:expr, $($format:tt)*) => {{
        let _ = writeln!($text, $($format)*);
    }};
}

fn outcome(text: &mut String, report: &Report) {
    let Outcome {
        orders,
        double_clicks,
        unanswered_clicks,
        sagas,
        completed,
        compensated,
        stuck,
        latency,
        duration_ms,
    } = &report.outcome;
    put!(text, "\n{BOLD}What became of {}{BOLD:#}\n", counted(*orders, "order", "orders"));
    let rows = [
        (GOOD, *completed, "completed", "every step took effect"),
        (UNDONE, *compensated, "compensated", "what had happened was undone"),
        (if *stuck == 0 { DIM } else { BAD }, *stuck, "stuck", "a person must decide"),
    ];
    for (style, number, status, meaning) in rows {
        put!(text, "  {style}{number:>6}  {status:<12}{style:#} {DIM}{meaning}{DIM:#}");
    }
    put!(text, "");
    if let Some(latency) = latency {
        let (p50, p99) = (time(latency.p50_ms), time(latency.p99_ms));
        put!(
            text,
            "  From accepted to finished: p50 {BOLD}{p50}{BOLD:#}, p99 {BOLD}{p99}{BOLD:#}; all of it took {}.",
            time(*duration_ms)
        );
    }
    let clicks = counted(*double_clicks, "order was", "orders were");
    put!(text, "  {clicks} clicked twice at once; {} came of all clicks.", counted(*sagas, "saga", "sagas"));
    if *unanswered_clicks > 0 {
        put!(text, "  {} never answered.", counted(*unanswered_clicks, "click was", "clicks were"));
    }
}

/// A table of kinds by services; a kind that struck nowhere is left out.
fn fired(text: &mut String, report: &Report) {
    let all = report.faults_fired.values().flatten();
    let kinds: BTreeSet<&str> = all.filter(|(_, fired)| **fired > 0).map(|(kind, _)| kind.as_str()).collect();
    if kinds.is_empty() {
        put!(text, "\n{BOLD}Nothing went wrong on purpose{BOLD:#}");
        return;
    }
    put!(text, "\n{BOLD}What went wrong on purpose{BOLD:#}\n");
    let mut head = " ".repeat(KIND);
    for service in Service::ALL {
        let _ = write!(head, "{:>width$}", service.name(), width = column(service));
    }
    put!(text, "  {DIM}{head}{DIM:#}");
    for kind in kinds {
        let mut row = format!("{kind:KIND$}");
        for service in Service::ALL {
            let fired = report.faults_fired.get(service.name()).and_then(|kinds| kinds.get(kind));
            let width = column(service);
            let _ = match fired.copied().unwrap_or(0) {
                0 => write!(row, "{DIM}{:>width$}{DIM:#}", "·"),
                fired => write!(row, "{fired:>width$}"),
            };
        }
        put!(text, "  {row}");
    }
}

/// How wide a service's column is: its name and a blank, or four digits.
fn column(service: Service) -> usize {
    service.name().len().max(4) + 1
}

fn checks(text: &mut String, report: &Report) {
    put!(text, "\n{BOLD}What everybody really did{BOLD:#}{DIM}, by the services' own ledgers and the stock{DIM:#}\n");
    for Checked { what, found, looked_at, things, .. } in &report.checks {
        let style = if *found == 0 { GOOD } else { BAD };
        put!(text, "  {style}{found:>6}{style:#}  {what:<42} {DIM}{looked_at:>6} {things}{DIM:#}");
    }
    put!(text, "");
    if report.agrees {
        put!(text, "  {GOOD}All of it agrees with what Amends says.{GOOD:#}");
        return;
    }
    put!(
        text,
        "  {BAD}{} with what Amends says:{BAD:#}",
        counted(report.findings.len(), "thing disagrees", "things disagree")
    );
    for finding in report.findings.iter().take(FINDINGS) {
        let check =
            report.checks.iter().find(|checked| checked.check == finding.check).map_or("", |checked| checked.what);
        put!(text, "    {check}: {}: {}", finding.subject, finding.detail);
    }
    if report.findings.len() > FINDINGS {
        put!(text, "    and {} more; --json tells all", report.findings.len() - FINDINGS);
    }
}

fn parked(text: &mut String, report: &Report) {
    if report.stuck.is_empty() {
        return;
    }
    put!(text, "\n{BOLD}What waits for a person{BOLD:#}{DIM}: lost is nothing, and nothing has to be guessed{DIM:#}\n");
    for parked in report.stuck.iter().take(PARKED) {
        for letter in &parked.dead_letters {
            let step = letter.step.as_deref().unwrap_or("the whole saga");
            let claim = match letter.claim {
                amends_client::Claim::Done => "the effect is there",
                amends_client::Claim::Undone => "the effect is not there",
                amends_client::Claim::Unknown => "nobody knows whether the effect is there",
            };
            put!(text, "  {DIM}order{DIM:#} {}  {BAD}{step}{BAD:#}, {claim}", parked.order);
            put!(text, "  {DIM}{}{DIM:#}", letter.error);
        }
    }
    if report.stuck.len() > PARKED {
        put!(text, "  and {} more", report.stuck.len() - PARKED);
    }
}

fn examples(text: &mut String, report: &Report, kept: bool) {
    if report.examples.is_empty() {
        return;
    }
    put!(text, "\n{BOLD}Worth a look{BOLD:#}");
    for Example { status, order, story, commands, .. } in &report.examples {
        let style = match status {
            SagaStatus::Completed => GOOD,
            SagaStatus::Compensated => UNDONE,
            SagaStatus::Stuck | SagaStatus::Running | SagaStatus::Compensating => BAD,
        };
        put!(text, "\n  {style}{status:<12}{style:#} {DIM}order {order}{DIM:#}");
        story.iter().for_each(|sentence| put!(text, "               {sentence}"));
        commands.iter().for_each(|command| put!(text, "               {COMMAND}{command}{COMMAND:#}"));
    }
    put!(text, "");
    if !kept {
        put!(
            text,
            "  {DIM}The server has stopped with the demo. With{DIM:#} {COMMAND}--keep{COMMAND:#} {DIM}it stays, and such commands show more.{DIM:#}"
        );
    }
    if report.faults == Faults::Some && report.stuck.is_empty() {
        put!(
            text,
            "  {DIM}Nothing got stuck this time. With{DIM:#} {COMMAND}--faults many{COMMAND:#} {DIM}something does.{DIM:#}"
        );
    }
}

/// What can be done with a shop that stays.
fn try_this(text: &mut String, report: &Report) {
    let at = |service: Service| report.services.get(service.name()).map_or("", String::as_str);
    let json = "-H 'content-type: application/json'";
    let basket = r#"{"customer_id": "me", "lines": [{"sku": "compass", "quantity": 1, "price_cents": 4990}]}"#;
    let shell = Shell { program: &report.program, server: &report.server };
    let tries = [
        ("Buy a compass:", format!("curl {}/checkout {json} -d '{basket}'", at(Service::Order))),
        ("See your saga first in the list:", shell.command("list --limit 5")),
        (
            "Decline every card, and buy again:",
            format!("curl -X PUT {}/faults {json} -d '[{{\"fault\": \"decline\"}}]'", at(Service::Payment)),
        ),
        (
            "Lose every second answer of the carrier:",
            format!(
                "curl -X PUT {}/faults {json} -d '[{{\"fault\": \"lost-response\", \"probability\": 0.5}}]'",
                at(Service::Shipping)
            ),
        ),
        ("Mend a service:", format!("curl -X PUT {}/faults {json} -d '[]'", at(Service::Payment))),
        ("Ask a service what it did:", format!("curl {}/ledger", at(Service::Payment))),
    ];
    put!(text, "\n{BOLD}It keeps running until Ctrl-C{BOLD:#}\n");
    put!(text, "  The API is at {COMMAND}{}{COMMAND:#}; /openapi.json describes it, /metrics counts.\n", report.server);
    for (what, command) in tries {
        put!(text, "  {what}\n    {COMMAND}{command}{COMMAND:#}");
    }
}
