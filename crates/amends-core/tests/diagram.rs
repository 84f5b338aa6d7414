//! The diagrams in `docs/states.md` are what the machine does. After a change to the machine,
//! `UPDATE=1 cargo test -p amends-core --test diagram` writes them anew.
#![cfg(test)]

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/states.md");
const BEGIN: &str = "<!-- The machine draws this. -->\n";
const END: &str = "<!-- Up to here. -->\n";

#[test]
fn the_diagrams_are_the_machines_own() {
    let written = std::fs::read_to_string(PATH).expect("docs/states.md is there");
    let (before, rest) = written.split_once(BEGIN).expect("the first marker");
    let (found, after) = rest.split_once(END).expect("the second marker");
    let drawn = format!("\n{}\n", amends_core::diagram::mermaid());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PATH, format!("{before}{BEGIN}{drawn}{END}{after}")).expect("docs/states.md can be written");
    } else {
        assert_eq!(found, drawn, "draw it anew: UPDATE=1 cargo test -p amends-core --test diagram");
    }
}

#[test]
fn it_is_drawn_alike_every_time() {
    assert_eq!(amends_core::diagram::mermaid(), amends_core::diagram::mermaid());
}
