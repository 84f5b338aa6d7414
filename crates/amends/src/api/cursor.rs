//! Cursors of lists. Opaque to callers; inside, a letter for the list and the place of the last entry of a page, so
//! that a cursor of one list is not taken for one of another.

use super::problem::{self, ApiProblem};
use uuid::Uuid;

/// How many entries a page has if nothing is said.
const DEFAULT_LIMIT: u32 = 50;
/// How many entries a page can have.
const MOST: u32 = 500;

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// Sagas, by their ids.
    Sagas,
    /// Dead letters, by their places.
    DeadLetters,
    /// Groups of dead letters, by the places of their newest ones.
    Groups,
    /// The audit log, by its places.
    Audit,
    /// A saga's events, by their sequence.
    Events,
    /// Tokens, by their ids.
    Tokens,
}

impl List {
    fn letter(self) -> char {
        match self {
            List::Sagas => 's',
            List::DeadLetters => 'd',
            List::Groups => 'g',
            List::Audit => 'a',
            List::Events => 'e',
            List::Tokens => 't',
        }
    }

    /// The cursor of the page after this place.
    pub(crate) fn cursor(self, place: u128) -> String {
        format!("{}{place:x}", self.letter())
    }

    /// The place that a cursor stands for.
    ///
    /// # Errors
    /// Where it is no cursor of this list.
    pub(crate) fn place(self, cursor: Option<&str>) -> Result<Option<u128>, ApiProblem> {
        let Some(cursor) = cursor else { return Ok(None) };
        let place = cursor.strip_prefix(self.letter()).filter(|digits| is_place(digits));
        place.and_then(|digits| u128::from_str_radix(digits, 16).ok()).map(Some).ok_or_else(|| {
            ApiProblem::new(
                problem::BAD_CURSOR,
                "pass the `next` of an earlier page of the same list as `cursor`, unchanged",
            )
        })
    }

    /// As [`List::place`], for lists whose places are numbers of 64 bits.
    pub(crate) fn number(self, cursor: Option<&str>) -> Result<Option<u64>, ApiProblem> {
        let place = self.place(cursor)?;
        // A number too large is before nothing: it means the newest page.
        Ok(place.map(|place| u64::try_from(place).unwrap_or(u64::MAX)))
    }

    /// As [`List::place`], for lists whose places are ids.
    pub(crate) fn id(self, cursor: Option<&str>) -> Result<Option<Uuid>, ApiProblem> {
        Ok(self.place(cursor)?.map(Uuid::from_u128))
    }
}

/// The length of a page.
///
/// # Errors
/// Where it is out of bounds.
pub(crate) fn limit(asked: Option<u32>) -> Result<usize, ApiProblem> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MOST => Ok(limit as usize),
        limit => Err(ApiProblem::new(problem::BAD_QUERY, format!("`limit` is {limit}; ask for 1 to {MOST} entries"))),
    }
}

/// Takes the entry off that shows that there is a further page, and makes the cursor of that page.
pub(crate) fn page<T, U>(
    list: List,
    limit: usize,
    mut entries: Vec<T>,
    place: impl Fn(&T) -> u128,
    show: impl Fn(T) -> U,
) -> amends_client::Page<U> {
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| list.cursor(place(last)));
    amends_client::Page { items: entries.into_iter().map(show).collect(), next }
}

fn is_place(digits: &str) -> bool {
    (1..=32).contains(&digits.len()) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
