//! The project's own tasks: the gate, the house rules, and a machine that is ready for both.
//!
//! It must compile in seconds on a fresh machine, so it has few dependencies and reads its arguments itself.

mod ci;
mod command;
mod crash;
mod deny;
mod fuzz;
mod machine;
mod planted;
mod python;
mod schemathesis;
mod sqs;
mod tidy;
mod workspace;

use anyhow::{Result, bail};
use command::CommandLine;
use std::process::ExitCode;
use workspace::Workspace;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["test"] => ci::run_with_setup(&Workspace::load()?),
        ["ci", ref options @ ..] => ci::run(&Workspace::load()?, &chosen_stages(options)?),
        ["sim", ref options @ ..] => for_speed("amends-sim", options).run(),
        ["model", ref options @ ..] => for_speed("amends-model", options).run(),
        ["fuzz", ref options @ ..] => fuzz::run(&Workspace::load()?, &fuzz::Options::read(options)?),
        ["schemathesis", ref options @ ..] => {
            schemathesis::run(&Workspace::load()?, &schemathesis::Options::read(options)?)
        }
        ["sqs"] => sqs::run(&Workspace::load()?),
        ["planted"] => planted::run(&Workspace::load()?),
        ["tidy"] => tidy::run(&Workspace::load()?),
        ["crash", ref options @ ..] => crash::run(options),
        ["help" | "--help" | "-h"] => {
            println!("{}", usage());
            Ok(())
        }
        _ => bail!("this is not a task\n\n{}", usage()),
    }
}

/// Reads `--only STAGE`, any number of times.
fn chosen_stages(options: &[&str]) -> Result<Vec<String>> {
    let chosen = options.chunks(2).map(|option| match option {
        ["--only", stage] => Ok((*stage).to_owned()),
        _ => bail!("`ci` takes nothing but `--only STAGE`\n\n{}", usage()),
    });
    chosen.collect()
}

/// A crate's program, built for speed. What it takes and prints is its own affair.
fn for_speed(package: &str, options: &[&str]) -> CommandLine {
    let program = CommandLine::new("cargo run --quiet --profile sim --package").arg(package).args("--");
    options.iter().fold(program, CommandLine::arg)
}

fn usage() -> String {
    format!(
        "cargo xtask test                           prepare this machine, then run the gate\n\
         cargo xtask ci [--only STAGE]              run the gate, or single stages of it: {}\n\
         cargo xtask tidy                           check the house rules\n\
         cargo xtask sim --seeds N [--from S]       simulate the engine from N seeds, under every fault\n\
         cargo xtask sim --seed S [--trace]         simulate from one seed, and say what happens\n\
         cargo xtask model [--trace]                search every state of the protocol's model, and of broken ones\n\
         cargo xtask fuzz [TARGET] [--seconds S]    throw mutated bytes at a target, or at each: {}\n\
         cargo xtask schemathesis [--examples N]    ask the server whatever its OpenAPI document lets one ask\n\
         cargo xtask sqs                            start the SQS that tests need, until it is interrupted\n\
         cargo xtask planted                        break the code on purpose, and see that it is noticed\n\
         cargo xtask crash --kills N [--seed S]     kill the server at its failpoints and at any time, N times",
        ci::stage_names(),
        fuzz::TARGETS.join(", ")
    )
}
