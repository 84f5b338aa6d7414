//! The corpus reaches what it is meant to reach: a target that is refused at the door finds nothing.

use super::World;
use std::collections::BTreeMap;

#[test]
fn the_corpus_asks_for_everything_and_gets_most_of_it() {
    let mut answers = BTreeMap::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http")).unwrap() {
        let path = entry.unwrap().path();
        // A world for each, because orders change what the next one meets.
        let world = World::new();
        let request = world.request(&std::fs::read(&path).unwrap());
        let status = request.and_then(|request| world.send(request));
        answers.insert(path.file_name().unwrap().to_string_lossy().into_owned(), status.map(|status| status.as_u16()));
    }
    let refused: Vec<_> = answers.iter().filter(|(_, status)| !matches!(status, Some(200..300))).collect();
    println!("{refused:?}");
    assert!(refused.len() * 3 < answers.len(), "too many requests of the corpus come to nothing: {refused:?}");
}
