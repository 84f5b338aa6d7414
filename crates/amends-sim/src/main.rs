//! Runs simulations: `amends-sim --seeds N [--from S]`, or one of them `--seed S [--trace]`.

use amends_sim::{Coverage, Options, Run, run};
use anyhow::{Context, Result, bail};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// What was asked for.
#[derive(Default)]
struct Arguments {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    trace: bool,
}

fn main() -> ExitCode {
    match read_arguments().and_then(|arguments| carry_out(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read_arguments() -> Result<Arguments> {
    let mut arguments = Arguments { seeds: 1_000, ..Arguments::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64> {
            let text = words.next().with_context(|| format!("{word} needs a number"))?;
            text.parse().with_context(|| format!("{word} needs a number, and `{text}` is none"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--seed" => arguments.seed = Some(number()?),
            "--trace" => arguments.trace = true,
            _ => bail!("`{word}` is not known; use --seeds N [--from S], or --seed S [--trace]"),
        }
    }
    Ok(arguments)
}

fn carry_out(arguments: &Arguments) -> Result<()> {
    // A panic is reported as what it is, a broken rule.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments.seed {
        Some(seed) => report_one(seed, &run(Options { seed, trace: arguments.trace })),
        None => many(arguments),
    }
}

fn report_one(seed: u64, run: &Run) -> Result<()> {
    for (what, times) in run.coverage.iter() {
        println!("{times:>9} {what}");
    }
    match &run.violation {
        Some(violation) => bail!("seed {seed}: {violation}"),
        None => {
            println!("seed {seed}: {} things happened, and every rule held", run.steps);
            Ok(())
        }
    }
}

fn many(arguments: &Arguments) -> Result<()> {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, is_over) = (AtomicU64::new(arguments.from), AtomicBool::new(false));
    let end = arguments.from.saturating_add(arguments.seeds);
    let (sender, runs) = mpsc::channel();
    let (mut coverage, mut steps, mut count, mut failed) = (Coverage::default(), 0, 0, None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, is_over) = (sender.clone(), &next, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send((seed, run(Options { seed, trace: false }))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, run) in &runs {
            count += 1;
            steps += run.steps;
            coverage.add(&run.coverage);
            if let Some(violation) = run.violation {
                failed = Some((seed, violation));
                is_over.store(true, Ordering::Relaxed);
                break;
            }
            if count % 50_000 == 0 {
                eprintln!("{count} runs in {:.0} s", began.elapsed().as_secs_f64());
            }
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let per_core = count as f64 / seconds / threads as f64;
    println!(
        "{count} runs, {steps} things that happened, {seconds:.1} s, {per_core:.0} runs a second on each of {threads} cores"
    );
    if let Some((seed, violation)) = failed {
        bail!("after {count} runs, seed {seed}: {violation}\n\nreplay it: cargo xtask sim --seed {seed} --trace");
    }
    for (what, times) in coverage.iter() {
        println!("{times:>9} {what}");
    }
    match coverage.missing()[..] {
        [] => {
            println!("every rule held");
            Ok(())
        }
        ref missing => {
            bail!("every rule held, but this was never met, so the run does not count: {}", missing.join(", "))
        }
    }
}
