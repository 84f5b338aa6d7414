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
    println!("the protocol, {} incarnations, {} faults", LARGE.incarnations, LARGE.faults);
    let report = search(protocol);
    println!("{} states, depth {}, {:.1} s", report.states, report.depth, report.took.as_secs_f64());
    let began = Instant::now();
    let counted = every_run_ends(protocol).context("there is a run without an end")?;
    println!("every run ends; {counted} states counted again, {:.1} s", began.elapsed().as_secs_f64());
    ensure!(counted == report.states, "two ways to count the states do not agree");
    for found in &report.findings {
        println!("  {:<10} {}", verdict(found), found.name);
    }
    let (broken, missed) = (report.broken(), report.missed());
    if trace {
        broken.iter().for_each(|property| print_way(protocol, property));
    }
    ensure!(broken.is_empty(), "the protocol is not sound: {}", broken.join("; "));
    ensure!(missed.is_empty(), "never met, so the search does not count: {}", missed.join("; "));
    Ok(())
}

fn verdict(found: &Finding) -> &'static str {
    match (found.must_hold, found.is_good) {
        (true, true) => "holds",
        (true, false) => "BROKEN",
        (false, true) => "met",
        (false, false) => "NOT MET",
    }
}

fn broken(fault: Fault, properties: &[&'static str], trace: bool) -> Result<()> {
    println!("\n{fault:?}, {} incarnations, {} faults", SMALL.incarnations, SMALL.faults);
    let protocol = Protocol { bounds: SMALL, fault };
    for property in properties {
        let Some(way) = shortest(protocol, property) else {
            bail!("{fault:?} is not noticed: this holds: {property}");
        };
        println!("  broken in {:>2} moves: {property}", way.len());
        if trace {
            way.iter().for_each(|line| println!("      {line}"));
        }
    }
    Ok(())
}

fn print_way(protocol: Protocol, property: &'static str) {
    println!("\n{property}");
    shortest(protocol, property).iter().flatten().for_each(|line| println!("    {line}"));
}
