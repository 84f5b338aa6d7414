//! Runs targets without coverage: first their corpus, then mutants of it, from a seed. An input that something goes
//! wrong with is written down, and the run ends. See `cargo xtask fuzz`.

use amends_fuzz::{TARGETS, Target, find, mutate};
use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What one input may take, in a build that is not optimised, on a machine that does other things, too.
const SLOW: Duration = Duration::from_secs(5);
/// How often a slow input is tried again: other programs are slow by chance, and it is not.
const RETRIES: u32 = 3;

struct Options {
    targets: Vec<&'static Target>,
    corpus: PathBuf,
    findings: PathBuf,
    seed: u64,
    mutants: u64,
    time: Option<Duration>,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = read(&words)?;
    for target in &options.targets {
        fuzz(target, &options)?;
    }
    Ok(())
}

fn read(words: &[String]) -> Result<Options> {
    let mut options = Options {
        targets: Vec::new(),
        corpus: PathBuf::from("fuzz/corpus"),
        findings: PathBuf::from("."),
        seed: 1,
        mutants: u64::MAX,
        time: None,
    };
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} takes a value"));
        match word {
            "--corpus" => options.corpus = value()?.into(),
            "--findings" => options.findings = value()?.into(),
            "--seed" => options.seed = value()?.parse()?,
            "--mutants" => options.mutants = value()?.parse()?,
            "--seconds" => options.time = Some(Duration::from_secs(value()?.parse()?)),
            name => options.targets.push(find(name).with_context(|| format!("there is no target `{name}`"))?),
        }
    }
    if options.targets.is_empty() {
        options.targets.extend(&TARGETS);
    }
    ensure!(options.mutants < u64::MAX || options.time.is_some(), "say --mutants N or --seconds S, or it never ends");
    Ok(options)
}

fn fuzz(target: &Target, options: &Options) -> Result<()> {
    let corpus = corpus(&options.corpus.join(target.name))?;
    let began = Instant::now();
    for input in &corpus {
        try_one(target, input, options)?;
    }
    let mut rng = Rng::with_seed(options.seed);
    let mut mutants = 0;
    while mutants < options.mutants && options.time.is_none_or(|time| began.elapsed() < time) {
        try_one(target, &mutate::mutant(target, &corpus, &mut rng), options)?;
        mutants += 1;
    }
    let took = began.elapsed().as_secs_f64();
    let rate = (corpus.len() as f64 + mutants as f64) / took;
    println!(
        "{:<10} {:>3} of the corpus and {mutants} mutants from seed {} in {took:.1} s, {rate:.0} a second",
        target.name,
        corpus.len(),
        options.seed
    );
    Ok(())
}

fn corpus(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let unreadable = || format!("{} cannot be read", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        files.push(entry.with_context(unreadable)?.path());
    }
    // The same seed makes the same mutants only if the order is the same.
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| std::fs::read(file).with_context(unreadable)).collect()
}

fn try_one(target: &Target, input: &[u8], options: &Options) -> Result<()> {
    let mut fastest = Duration::MAX;
    for _ in 0..RETRIES {
        let began = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
            bail!("{} panics; the input is in {}", target.name, keep(target, input, options)?.display());
        }
        fastest = fastest.min(began.elapsed());
        if fastest < SLOW {
            return Ok(());
        }
    }
    bail!("{} takes {fastest:?}; the input is in {}", target.name, keep(target, input, options)?.display());
}

/// Writes an input down under a name that follows from it.
fn keep(target: &Target, input: &[u8], options: &Options) -> Result<PathBuf> {
    let number = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let path = options.findings.join(format!("{}-{number:016x}", target.name));
    std::fs::create_dir_all(&options.findings)?;
    std::fs::write(&path, input).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(path)
}
