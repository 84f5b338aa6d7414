use super::*;
use proptest::prelude::*;

fn entry(reason: &str) -> Entry {
    Entry {
        action: "cancel".into(),
        actor: "ada".into(),
        at: "2026-03-01T09:30:00.000Z".into(),
        reason: reason.into(),
        saga: Some("0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a".into()),
        step: None,
        subject: None,
    }
}

/// The lines of a log, and where it ends.
fn export(entries: impl IntoIterator<Item = Entry>) -> (Vec<String>, Head) {
    let mut head = Head::BEGINNING;
    let lines = entries.into_iter().map(|entry| {
        let previous = head.hash;
        head = head.with(&entry);
        line(entry, &previous, &head)
    });
    (lines.collect(), head)
}

fn verify<T: AsRef<str>>(lines: &[T], known: Option<Head>) -> Result<Head, Misfit> {
    let mut verifier = Verifier::new(Head::BEGINNING, known);
    lines.iter().try_for_each(|line| verifier.take(line.as_ref()))?;
    verifier.finish()
}

fn four() -> (Vec<String>, Head) {
    export(["one", "two", "three", "four"].map(entry))
}

/// The form is a promise: these hashes were computed by other tools (`printf '%s' TEXT | sha256sum`).
#[test]
fn the_form_is_what_the_documentation_says() {
    let odd = Entry { saga: None, subject: Some("ü \"\\\u{1}\u{7f}/\n".into()), reason: String::new(), ..entry("") };
    let (lines, head) = export([entry("no tea"), odd]);
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(verify(&lines, Some(head)), Ok(head));
}

#[test]
fn a_head_is_read_as_it_is_shown() {
    let (_, head) = four();
    assert_eq!(head.to_string().parse(), Ok(head));
    let zeros = "0".repeat(64);
    assert_eq!(format!("0:{zeros}").parse(), Ok(Head::BEGINNING));
    for wrong in [
        "",
        "7",
        ":",
        "7:abc",
        &zeros,
        &format!("-1:{zeros}"),
        &format!("1:{zeros}0"),
        &format!("1:{}", "é".repeat(32)),
    ] {
        assert!(wrong.parse::<Head>().is_err(), "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_told_apart() {
    let (lines, head) = four();
    let (others, _) = export(["one", "other", "three", "four"].map(entry));
    let log = |places: &[usize]| places.iter().map(|place| lines[place - 1].clone()).collect::<Vec<_>>();
    let changed = lines[1].replace("two", "too");
    let spaced = lines[1].replace(":", ": ");
    let cases = [
        (vec![lines[0].clone(), changed, lines[2].clone()], Misfit::Changed { number: 2 }),
        (vec![lines[0].clone(), others[1].clone(), lines[2].clone()], Misfit::Replaced { number: 3 }),
        (others, Misfit::Rewritten { number: 4 }),
        (log(&[1, 4]), Misfit::Missing { number: 2, found: 4 }),
        (log(&[2, 3, 4]), Misfit::Missing { number: 1, found: 2 }),
        (log(&[1, 3, 2, 4]), Misfit::Misplaced { number: 2, found: 3 }),
        (log(&[1, 2, 2, 3]), Misfit::Misplaced { number: 3, found: 2 }),
        (log(&[1, 2]), Misfit::Truncated { number: 2, known: 4 }),
        (log(&[]), Misfit::Truncated { number: 0, known: 4 }),
        (
            vec![lines[0].clone(), spaced],
            Misfit::Unreadable { number: 2, why: "it is not in the canonical form".into() },
        ),
    ];
    for (lines, misfit) in cases {
        assert_eq!(verify(&lines, Some(head)), Err(misfit));
    }
    assert!(matches!(verify(&["{}"], None), Err(Misfit::Unreadable { number: 1, .. })));
    assert_eq!(verify(&lines, None), Ok(head));
}

#[test]
fn a_part_is_verified_after_a_head_that_is_known() {
    let (lines, head) = four();
    let (_, two) = export(["one", "two"].map(entry));
    let part = |after| {
        let mut verifier = Verifier::new(after, Some(head));
        lines[2..].iter().try_for_each(|line| verifier.take(line))?;
        verifier.finish()
    };
    assert_eq!(part(two), Ok(head));
    assert_eq!(part(Head { hash: [7; 32], ..two }), Err(Misfit::Replaced { number: 3 }));
    let another = Head { hash: [7; 32], ..two };
    assert_eq!(Verifier::new(two, Some(another)).finish(), Err(Misfit::Rewritten { number: 2 }));
}

fn some_entry() -> impl Strategy<Value = Entry> {
    let maybe = || proptest::option::of("\\PC{0,6}");
    ("\\PC{0,6}", "\\PC{0,6}", "(?s:.){0,6}", maybe(), maybe(), maybe()).prop_map(
        |(action, actor, reason, saga, step, subject)| {
            let at = "2026-03-01T09:30:00.000Z".into();
            Entry { action, actor, at, reason, saga, step, subject }
        },
    )
}

/// What somebody does to an export.
#[derive(Clone, Debug)]
enum Tampering {
    Byte {
        at: usize,
        to: u8,
    },
    Remove(usize),
    Swap(usize, usize),
    Insert {
        from: usize,
        at: usize,
    },
    /// One is changed and sealed anew, as whoever knows the form can.
    Forge(usize),
    /// The same, and all that follow are sealed anew behind it.
    ForgeAll(usize),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let place = || 0..1_000_usize;
    prop_oneof![
        (0..100_000_usize, any::<u8>()).prop_map(|(at, to)| Tampering::Byte { at, to }),
        place().prop_map(Tampering::Remove),
        (place(), place()).prop_map(|(one, other)| Tampering::Swap(one, other)),
        (place(), place()).prop_map(|(from, at)| Tampering::Insert { from, at }),
        place().prop_map(Tampering::Forge),
        place().prop_map(Tampering::ForgeAll),
    ]
}

fn tamper(entries: &[Entry], tampering: &Tampering) -> Vec<Vec<u8>> {
    let lines = export(entries.to_vec()).0;
    let many = lines.len();
    let mut lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
    match *tampering {
        Tampering::Byte { at, to } => {
            let line = &mut lines[at % many];
            let place = (at / many) % line.len();
            line[place] = to;
        }
        Tampering::Remove(at) => {
            lines.remove(at % many);
        }
        Tampering::Swap(one, other) => lines.swap(one % many, other % many),
        Tampering::Insert { from, at } => lines.insert(at % many, lines[from % many].clone()),
        Tampering::Forge(at) | Tampering::ForgeAll(at) => {
            let mut forged = entries.to_vec();
            forged[at % many].actor.push('!');
            let forged = export(forged).0.into_iter().map(String::into_bytes);
            let last = if matches!(tampering, Tampering::Forge(_)) { at % many } else { many - 1 };
            for (place, line) in forged.enumerate().take(last + 1).skip(at % many) {
                lines[place] = line;
            }
        }
    }
    lines
}

proptest! {
    /// Whatever is done to an export, it is noticed by whoever knows its head.
    #[test]
    fn no_tampering_goes_unnoticed(entries in prop::collection::vec(some_entry(), 1..8), tampering in tampering()) {
        let (lines, head) = export(entries.clone());
        prop_assert_eq!(verify(&lines, Some(head)), Ok(head));
        let tampered = tamper(&entries, &tampering);
        let is_changed = tampered != lines.iter().map(|line| line.clone().into_bytes()).collect::<Vec<_>>();
        let text: Result<Vec<String>, _> = tampered.into_iter().map(String::from_utf8).collect();
        if let (true, Ok(text)) = (is_changed, text) {
            prop_assert!(verify(&text, Some(head)).is_err());
        }
    }
}
