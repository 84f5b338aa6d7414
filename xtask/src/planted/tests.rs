//! The planted bugs against the source as it is.

use super::{BUGS, broken};
use std::path::Path;

/// A bug that no longer fits the source would be planted nowhere.
#[test]
fn every_bug_fits_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
    for bug in &BUGS {
        for change in bug.changes {
            let text = std::fs::read_to_string(root.join(change.0)).expect("the file is there");
            let changed = broken(change, &text).unwrap_or_else(|error| panic!("{}: {error}", bug.about));
            assert_ne!(changed, text, "{}", bug.about);
        }
    }
}
