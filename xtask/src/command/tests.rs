//! How a command is shown, and what it is run with.

use super::{CommandLine, is_about_xtask};

#[test]
fn a_shown_command_can_be_pasted_into_a_shell() {
    let cases = [
        (CommandLine::new("cargo test --doc"), "cargo test --doc"),
        (CommandLine::new("cargo doc").env("RUSTDOCFLAGS", "-D warnings"), "RUSTDOCFLAGS='-D warnings' cargo doc"),
        (CommandLine::of("a b").args("c d").arg("it's"), r"'a b' c d 'it'\''s'"),
        (CommandLine::new("a --b=${C}").arg(""), "a '--b=${C}' ''"),
    ];
    for (command, shown) in cases {
        assert_eq!(command.to_string(), shown);
    }
}

#[test]
fn a_command_that_cannot_start_does_not_succeed() {
    let absent = CommandLine::new("amends-no-such-program");
    assert!(!absent.succeeds());
    assert_eq!(absent.output(), None);
    assert!(absent.run().is_err());
}

#[test]
fn what_cargo_says_of_xtask_is_not_passed_on() {
    assert!(is_about_xtask("CARGO_PKG_NAME") && is_about_xtask("CARGO_MANIFEST_DIR"));
    assert!(!is_about_xtask("CARGO_TARGET_DIR") && !is_about_xtask("CARGO_HOME") && !is_about_xtask("PATH"));
}
