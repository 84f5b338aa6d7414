//! The long crash test: the server is ended hundreds of times, at its failpoints and by `kill -9`, under load.

use crate::command::CommandLine;
use anyhow::{Context, Result, bail};

/// Runs it. Its options are `--kills N` (100 unless said) and `--seed S` (drawn by chance, and printed, unless said).
pub fn run(options: &[&str]) -> Result<()> {
    let mut test = CommandLine::new("cargo test -p amends --features failpoints --test failpoints");
    for option in options.chunks(2) {
        let (variable, value) = match option {
            ["--kills", kills] => ("CRASH_KILLS", kills),
            ["--seed", seed] => ("CRASH_SEED", seed),
            _ => bail!("`crash` takes nothing but `--kills N` and `--seed S`"),
        };
        value.parse::<u64>().with_context(|| format!("`{value}` is no number"))?;
        test = test.env(variable, value);
    }
    test.args("-- --ignored --exact --nocapture hundreds_of_kills").run()
}
