//! The `amends` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    amends::cli::main()
}
