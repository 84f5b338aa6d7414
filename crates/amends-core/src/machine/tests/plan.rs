//! Random definitions that lint accepts, as lines that [`super::spec`] reads.
//!
//! Whatever may fail comes before the pivot and before every retriable step; waits and sleeps may stand anywhere,
//! also beside the pivot, which lint only warns of.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Part {
    work: u8,
    after: Option<Vec<prop::sample::Index>>,
    tries: u8,
    /// At-most-once, probe, bare, gone, patient, unsaid; then reads, undo-reads.
    flags: [bool; 8],
    /// By message.
    sent: bool,
}

fn part() -> impl Strategy<Value = Part> {
    let after = weighted(0.7, vec(any::<prop::sample::Index>(), 0..3));
    let flags = [0.2, 0.4, 0.15, 0.15, 0.4, 0.1, 0.2, 0.1].map(prop::bool::weighted);
    let parts = (0u8..20, after, 1u8..4, flags, prop::bool::weighted(0.3));
    parts.prop_map(|(work, after, tries, flags, sent)| Part { work, after, tries, flags, sent })
}

/// A definition in one line.
pub fn line() -> impl Strategy<Value = String> {
    let pivot = weighted(0.5, part());
    let parts = (vec(part(), 0..5), pivot, vec(part(), 0..4), prop::bool::weighted(0.4));
    parts
        .prop_filter("it has a step", |(before, pivot, behind, _)| before.len() + behind.len() > 0 || pivot.is_some())
        .prop_map(|(before, pivot, behind, deadline)| {
            let mut writer = Writer::default();
            before.iter().for_each(|part| writer.before(part));
            if let Some(part) = &pivot {
                writer.pivot(part);
            }
            behind.iter().for_each(|part| writer.behind(part));
            let deadline = if deadline { "deadline=20s " } else { "" };
            format!("{deadline}{}", writer.words.join(" "))
        })
}

#[derive(Default)]
struct Writer {
    words: Vec<String>,
    names: Vec<String>,
    /// Steps that may fail, and the pivot.
    may_fail: Vec<String>,
    /// Steps without which nothing behind the pivot begins.
    gate: Vec<String>,
    /// Steps whose output can be read.
    readable: Vec<String>,
}

impl Writer {
    fn before(&mut self, part: &Part) {
        let after = part.after.as_ref().map(|picks| self.picked(picks));
        self.write(part, None, after, "");
    }

    fn pivot(&mut self, part: &Part) {
        let mut after = self.may_fail.clone();
        after.extend(self.picked(part.after.as_deref().unwrap_or_default()));
        self.write(part, Some("pivot"), Some(after), "p");
        self.gate = vec!["p".into()];
    }

    fn behind(&mut self, part: &Part) {
        let mut after = if self.gate.is_empty() { self.may_fail.clone() } else { self.gate.clone() };
        after.extend(self.picked(part.after.as_deref().unwrap_or_default()));
        self.write(part, Some("retriable"), Some(after), "");
    }

    fn picked(&self, picks: &[prop::sample::Index]) -> Vec<String> {
        if self.names.is_empty() {
            Vec::new()
        } else {
            picks.iter().map(|pick| pick.get(&self.names).clone()).collect()
        }
    }

    fn write(&mut self, part: &Part, kind: Option<&str>, after: Option<Vec<String>>, name: &str) {
        let name = if name.is_empty() { format!("s{}", self.names.len()) } else { name.to_owned() };
        let mut options: Vec<String> = Vec::new();
        let first = after.clone().unwrap_or_else(|| self.names.last().cloned().into_iter().collect());
        if let Some(mut after) = after {
            after.sort();
            after.dedup();
            options.push(format!("after={}", after.join("+")));
        }
        match part.work {
            // The kind of a wait or a sleep follows from its place, but a pivot may be a wait.
            0..=2 => {
                options.push("wait=5s".into());
                options.extend(kind.filter(|kind| *kind == "pivot" || part.flags[0]).map(str::to_owned));
            }
            3 if kind != Some("pivot") => options.push("sleep=1s".into()),
            _ => {
                options.extend(kind.map(str::to_owned));
                options.push(format!("tries={}", part.tries));
                let names = ["once", "probe", "bare", "gone", "patient", "unsaid"];
                let given = names.iter().zip(part.flags).filter(|(name, given)| {
                    let fits_kind = kind.is_none() || !matches!(**name, "bare" | "gone" | "unsaid");
                    *given && fits_kind && !(part.sent && matches!(**name, "once" | "gone"))
                });
                options.extend(part.sent.then(|| "sent".to_owned()));
                options.extend(given.map(|(name, _)| (*name).to_owned()));
                let read = first.iter().find(|name| self.readable.contains(name)).filter(|_| part.flags[6]);
                options.extend(read.map(|name| format!("reads={name}")));
                if part.flags[7] && kind.is_none() {
                    options.push(if part.flags[6] { "undo-output".into() } else { format!("undo-reads={name}") });
                }
                if kind.is_none() {
                    self.may_fail.push(name.clone());
                }
            }
        }
        if part.work != 3 || kind == Some("pivot") {
            self.readable.push(name.clone());
        }
        self.words.push(format!("{name}({})", options.join(",")));
        self.names.push(name);
    }
}
