//! The order of the steps: who waits for whom, and who is sure to have run.

use super::{Problem, codes, nearest};
use crate::definition::Kind;
use crate::parse::{Draft, DraftWork};
use std::collections::HashMap;
use std::ops::Range;

/// The graph of a draft whose steps wait for steps that exist, and not for each other.
pub(super) struct Graph {
    after: Vec<Vec<usize>>,
    /// All steps that must be done before the step begins, as a set of bits: there are at most 100 steps.
    ancestors: Vec<u128>,
    /// The steps in an order in which each comes after those that it waits for.
    order: Vec<usize>,
}

/// An edge as written; an edge that follows from the written order has no place.
struct Edge {
    from: usize,
    span: Option<Range<usize>>,
}

impl Graph {
    /// Resolves `after`. None if that is impossible; why is then among the problems.
    pub(super) fn of(draft: &Draft, problems: &mut Vec<Problem>) -> Option<Graph> {
        let edges = resolve(draft, problems)?;
        let mut visit =
            Visit { edges: &edges, state: vec![Mark::New; edges.len()], path: Vec::new(), order: Vec::new() };
        for step in 0..edges.len() {
            if let Some(cycle) = visit.step(step) {
                problems.push(describe(draft, &edges, &cycle));
                return None;
            }
        }
        let order = visit.order;
        let mut ancestors = vec![0u128; edges.len()];
        for step in &order {
            ancestors[*step] = edges[*step].iter().fold(0, |set, edge| set | ancestors[edge.from] | 1 << edge.from);
        }
        let after = edges.iter().map(|edges| {
            let mut steps: Vec<usize> = edges.iter().map(|edge| edge.from).collect();
            steps.sort_unstable();
            steps.dedup();
            steps
        });
        Some(Graph { after: after.collect(), ancestors, order })
    }

    /// The steps that `step` waits for, in ascending order.
    pub(super) fn after(&self, step: usize) -> Vec<usize> {
        self.after[step].clone()
    }

    /// The steps that wait for `step`, in ascending order.
    pub(super) fn before(&self, step: usize) -> Vec<usize> {
        (0..self.after.len()).filter(|other| self.after[*other].contains(&step)).collect()
    }

    /// Whether `first` is sure to be done when `then` begins.
    pub(super) fn is_before(&self, first: usize, then: usize) -> bool {
        self.ancestors[then] & 1 << first != 0
    }

    /// The kind of a step. A wait or a sleep without one is taken for what it is by its place: after the point of no
    /// return there is nothing to compensate any more.
    pub(super) fn kind(&self, draft: &Draft, step: usize) -> Kind {
        let place = &draft.steps[step];
        match (&place.kind, &place.work) {
            (Some(kind), _) => kind.value,
            (None, Some(DraftWork::Call(_)) | None) => Kind::Compensatable,
            (None, Some(DraftWork::Wait { .. } | DraftWork::Sleep { .. })) => {
                if self.is_past_return(draft, step) {
                    Kind::Retriable
                } else {
                    Kind::Compensatable
                }
            }
        }
    }

    /// Whether the saga can only go forward when `step` begins: the pivot is done or a retriable step has begun.
    pub(super) fn is_past_return(&self, draft: &Draft, step: usize) -> bool {
        let ancestors = (0..draft.steps.len()).filter(|other| self.is_before(*other, step));
        let mut kinds = ancestors.filter_map(|other| draft.steps[other].kind.as_ref());
        kinds.any(|kind| matches!(kind.value, Kind::Pivot | Kind::Retriable))
    }

    /// For each step the greatest sum of `cost` over a chain of steps that ends with it, itself included.
    pub(super) fn longest(&self, cost: impl Fn(usize) -> u64) -> Vec<u64> {
        let mut longest = vec![0u64; self.after.len()];
        for step in &self.order {
            let before = self.after[*step].iter().map(|other| longest[*other]).max().unwrap_or(0);
            longest[*step] = before.saturating_add(cost(*step));
        }
        longest
    }
}

fn resolve(draft: &Draft, problems: &mut Vec<Problem>) -> Option<Vec<Vec<Edge>>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (index, step) in draft.steps.iter().enumerate() {
        // Two steps of one name have been reported; which of them is meant cannot be known.
        if places.insert(&step.name.value, index).is_some() {
            return None;
        }
    }
    let before = problems.len();
    let mut edges = Vec::with_capacity(draft.steps.len());
    for (index, step) in draft.steps.iter().enumerate() {
        let Some(names) = &step.after else {
            edges.push(index.checked_sub(1).map(|from| Edge { from, span: None }).into_iter().collect());
            continue;
        };
        let mut found = Vec::new();
        for name in names {
            match places.get(name.value.as_str()) {
                Some(from) if *from == index => problems.push(Problem {
                    code: codes::AFTER_ITSELF,
                    span: name.span.clone(),
                    message: format!("`{}` waits for itself and would never begin", name.value),
                    remedy: "take it out of its own `after`".into(),
                    related: Vec::new(),
                }),
                Some(from) => found.push(Edge { from: *from, span: Some(name.span.clone()) }),
                None => problems.push(unknown_step(draft, &name.value, name.span.clone())),
            }
        }
        edges.push(found);
    }
    (problems.len() == before).then_some(edges)
}

/// Reports a name that no step has.
pub(super) fn unknown_step(draft: &Draft, name: &str, span: Range<usize>) -> Problem {
    let names = draft.steps.iter().map(|step| step.name.value.as_str());
    Problem {
        code: codes::UNKNOWN_STEP,
        span,
        message: format!("there is no step `{}`", name.chars().take(80).collect::<String>()),
        remedy: match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write the name of a step of this definition".into(),
        },
        related: Vec::new(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// A walk against the edges, depth first. Its depth is at most the number of steps.
struct Visit<'e> {
    edges: &'e [Vec<Edge>],
    state: Vec<Mark>,
    path: Vec<usize>,
    order: Vec<usize>,
}

impl Visit<'_> {
    /// Visits a step and all that it waits for; returns a cycle if it meets one.
    fn step(&mut self, step: usize) -> Option<Vec<usize>> {
        match self.state[step] {
            Mark::Done => return None,
            Mark::Open => {
                let start = self.path.iter().position(|other| *other == step).unwrap_or(0);
                return Some(self.path[start..].to_vec());
            }
            Mark::New => {}
        }
        self.state[step] = Mark::Open;
        self.path.push(step);
        let edges = self.edges;
        let cycle = edges[step].iter().find_map(|edge| self.step(edge.from));
        self.path.pop();
        self.state[step] = Mark::Done;
        self.order.push(step);
        cycle
    }
}

/// Reports a cycle, which was walked from each step to one that it waits for.
fn describe(draft: &Draft, edges: &[Vec<Edge>], cycle: &[usize]) -> Problem {
    // Told in the order in which the steps would run, from the one that is written first.
    let mut steps: Vec<usize> = cycle.iter().rev().copied().collect();
    let first = (0..steps.len()).min_by_key(|at| steps[*at]).unwrap_or(0);
    steps.rotate_left(first);
    steps.push(steps[0]);
    let written = |pair: &[usize]| edges[pair[1]].iter().find(|edge| edge.from == pair[0])?.span.clone();
    // The written order alone makes no cycle, so at least one of the edges stands somewhere; the author of the step
    // that is written first is the likeliest to have meant something else.
    let spans: Vec<Range<usize>> = steps.windows(2).rev().filter_map(written).collect();
    let names: Vec<&str> = steps.iter().map(|step| draft.steps[*step].name.value.as_str()).collect();
    Problem {
        code: codes::CYCLE,
        span: spans.first().cloned().unwrap_or_else(|| draft.steps[steps[0]].name.span.clone()),
        message: format!("these steps wait for each other, so none of them can begin: {}", names.join(" -> ")),
        remedy: "take one of them out of the `after` of another".into(),
        related: spans.iter().skip(1).map(|span| (span.clone(), "also part of the circle".into())).collect(),
    }
}
