//! libFuzzer around the targets of `amends-fuzz`; the variable `FUZZ_TARGET` says which. See `cargo xtask fuzz`.
#![no_main]

use amends_fuzz::Target;
use std::sync::LazyLock;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    amends_fuzz::find(&name).expect("FUZZ_TARGET names a target")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
