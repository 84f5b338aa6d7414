//! What follows from what, one line a case: the definition, the script, and where it comes to rest.

use crate::play::check;

#[test]
fn scratch() {
    for (definition, script) in crate::scratch::CASES {
        let (play, refusal) = crate::play::Play::run(definition, script);
        let found = refusal.map_or_else(|| play.describe(), |refusal| format!("no: {refusal}"));
        println!("(\"{definition}\", \"{script}\", \"{found}\"),");
    }
    check("a", "", "completed: a done; a");
}
