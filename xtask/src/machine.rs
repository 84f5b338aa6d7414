//! What a machine needs before the gate can run. What is there already is left as it is.
//!
//! Cargo links xtask itself with the C compiler, so a machine without any fails before this runs; `.ci/run` sees
//! to that case. Found here are a compiler without its headers and whatever else the tests come to need.

use crate::command::CommandLine;
use anyhow::{Result, bail, ensure};
use std::io::Write;
use std::process::{Command, Stdio};

/// Something the project needs and the Debian package that brings it.
struct Need {
    what: &'static str,
    package: &'static str,
    present: fn() -> bool,
}

const NEEDS: [Need; 7] = [
    Need {
        what: "a C compiler with its headers, for the bundled SQLite and for ring",
        package: "build-essential",
        present: compiles_c,
    },
    Need { what: "root certificates, to fetch crates", package: "ca-certificates", present: trusts_roots },
    Need { what: "kill, to end and to stop servers in tests", package: "procps", present: kills },
    Need { what: "strace, to make a disk fail under the server in a test", package: "strace", present: traces },
    Need {
        what: "PostgreSQL, for the store that several orchestrators share",
        package: "postgresql",
        present: test_postgres::is_installed,
    },
    Need {
        what: "PgBouncer, to test the store behind a pooler",
        package: "pgbouncer",
        present: test_postgres::has_pooler,
    },
    Need {
        what: "Python with virtual environments, for schemathesis and for the SQS of the tests",
        package: "python3-venv",
        present: makes_environments,
    },
];

/// How packages can be installed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Installer {
    /// As the user that we are.
    Apt,
    /// Through sudo, which asks for no password.
    Sudo,
    /// Only by a person.
    Person,
}

/// Installs what is missing, or says exactly what to run.
pub fn set_up() -> Result<()> {
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let found = CommandLine::new("cargo").arg(tool).arg("--version").succeeds();
        ensure!(found, "`cargo {tool}` is missing; run: rustup component add {component}");
    }
    let missing = missing();
    for need in &missing {
        println!("missing: {} ({})", need.what, need.package);
    }
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let installer = installer();
    let commands = installation(installer, &packages);
    if installer == Installer::Person {
        let commands: Vec<String> = commands.iter().map(ToString::to_string).collect();
        bail!("packages are missing, and installing them needs root; run:\n    {}", commands.join(" && "));
    }
    commands.iter().try_for_each(CommandLine::run)?;
    let still: Vec<&str> = self::missing().iter().map(|need| need.what).collect();
    ensure!(still.is_empty(), "installed, and still missing: {}", still.join("; "));
    Ok(())
}

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !(need.present)()).collect()
}

fn installer() -> Installer {
    let has_apt = CommandLine::new("apt-get --version").succeeds();
    if has_apt && CommandLine::new("id -u").output().is_some_and(|id| id.trim() == "0") {
        Installer::Apt
    } else if has_apt && CommandLine::new("sudo -n true").succeeds() {
        Installer::Sudo
    } else {
        Installer::Person
    }
}

fn installation(installer: Installer, packages: &[&str]) -> [CommandLine; 2] {
    let sudo = match installer {
        Installer::Apt => "",
        Installer::Sudo => "sudo -n ",
        Installer::Person => "sudo ",
    };
    let quiet = if installer == Installer::Person { "" } else { "env DEBIAN_FRONTEND=noninteractive " };
    [
        CommandLine::new(&format!("{sudo}apt-get update")),
        CommandLine::new(&format!("{sudo}{quiet}apt-get install --yes --no-install-recommends {}", packages.join(" "))),
    ]
}

/// Whether a file that includes a C header compiles.
fn compiles_c() -> bool {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut compiler = Command::new(compiler);
    compiler.args(["-x", "c", "-fsyntax-only", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = compiler.spawn() else {
        return false;
    };
    let written = child.stdin.take().is_some_and(|mut input| input.write_all(b"#include <stdlib.h>\n").is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
}

/// Whether Python can make a virtual environment with an installer in it, which Debian's own cannot by itself.
fn makes_environments() -> bool {
    CommandLine::new("python3 -c").arg("import ensurepip, venv").succeeds()
}

/// Whether the package of root certificates is installed; a system without dpkg has its own way of having them.
fn trusts_roots() -> bool {
    let has_dpkg = CommandLine::new("dpkg-query --version").succeeds();
    let status = CommandLine::new("dpkg-query --show --showformat=${Status} ca-certificates").output();
    !has_dpkg || status.is_some_and(|status| status.ends_with(" installed"))
}

/// Shells have one of their own; a program that is no shell needs the program.
fn kills() -> bool {
    CommandLine::new("kill -l").succeeds()
}

fn traces() -> bool {
    CommandLine::new("strace -V").succeeds()
}

#[cfg(test)]
mod tests;
