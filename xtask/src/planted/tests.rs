//! The planted bugs against the source as it is.

use super::{BUGS, broken};
use std::path::Path;

/// A bug that no longer fits the source would be planted nowhere.
#[test]
fn every_bug_fits_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
    for bug in &BUGS {
        let text = std::fs::read_to_string(root.join(bug.file)).expect("the file is there");
        let changed = broken(bug, &text).unwrap_or_else(|error| panic!("{}: {error}", bug.about));
        assert_ne!(changed, text, "{}", bug.about);
    }
}
