//! Searches the sound protocol and the broken ones: `amends-model [--trace]`.

use amends_model::check::{BROKEN, Finding, LARGE, SMALL, every_run_ends, search, shortest};
use amends_model::{Fault, Protocol};
use anyhow::{Context, Result, bail, ensure};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run(false),
        ["--trace"] => run(true),
        _ => Err(anyhow::anyhow!("nothing is known but `--trace`, which prints the counterexamples")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(trace: bool) -> Result<()> {
    let sound = sound(trace);
    // The broken ones are looked at even if the sound one is not sound: they may tell why.
    let broken = BROKEN.iter().try_for_each(|(fault, properties)| broken(*fault, properties, trace));
    sound.and(broken)
}

fn sound(trace: bool) -> Result<()> {
    let protocol = Protocol { bounds: LARGE, fault: Fault::None };
    introduce(protocol);
    let report = search(protocol);
    println!("  {} states, depth {}, {:.1} s", report.states, report.depth, report.took.as_secs_f64());
    for found in &report.findings {
        println!("  {:<8} {}", verdict(found), found.name);
        if trace && found.must_hold && !found.is_good {
            print_lines(&shortest(protocol, found.name).unwrap_or_default());
        }
    }
    let (broken, missed) = (report.broken(), report.missed());
    ensure!(broken.is_empty(), "the protocol is not sound: {}", broken.join("; "));
    ensure!(missed.is_empty(), "never met, so the search does not count: {}", missed.join("; "));
    let began = Instant::now();
    let counted = every_run_ends(protocol).context("there is a run that goes in circles")?;
    println!("  no run goes in circles: {counted} states counted again, {:.1} s", began.elapsed().as_secs_f64());
    ensure!(counted == report.states, "two ways to count the states do not agree");
    Ok(())
}

fn broken(fault: Fault, properties: &[&'static str], trace: bool) -> Result<()> {
    let protocol = Protocol { bounds: SMALL, fault };
    introduce(protocol);
    for property in properties {
        let Some(way) = shortest(protocol, property) else {
            bail!("{fault:?} is not noticed: this holds: {property}");
        };
        println!("  broken in {:>2} moves: {property}", way.len());
        if trace {
            print_lines(&way);
        }
    }
    Ok(())
}

fn introduce(protocol: Protocol) {
    let what = match protocol.fault {
        Fault::None => "the protocol",
        Fault::NoFence => "without the fence's lock",
        Fault::NoTombstone => "without the tombstone",
        Fault::NoIdempotency => "without idempotency",
    };
    println!("{what}: {} incarnations, {} things that go wrong", protocol.bounds.incarnations, protocol.bounds.faults);
}

fn verdict(found: &Finding) -> &'static str {
    match (found.must_hold, found.is_good) {
        (true, true) => "holds",
        (true, false) => "BROKEN",
        (false, true) => "met",
        (false, false) => "NOT MET",
    }
}

fn print_lines(lines: &[String]) {
    lines.iter().for_each(|line| println!("      {line}"));
}
