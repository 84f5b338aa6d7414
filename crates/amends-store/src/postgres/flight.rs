//! Statements that are sent together, without waiting for the answer to one before the next is sent.

use super::connect::{Link, Value};
use super::errors::Failure;
use super::statements::{FENCE, Sql};
use crate::{Incarnation, StoreError};
use futures_util::future::join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

/// A value that a statement keeps until it is sent.
pub(super) type Owned<'a> = Box<dyn ToSql + Send + Sync + 'a>;

/// The values of a statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(Box::new($value) as $crate::postgres::flight::Owned<'_>),*] };
}
pub(super) use values;

/// One column of what a statement adds.
pub(super) fn column<T, C>(rows: &[T], of: impl Fn(&T) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

/// Statements of one transaction, in order.
pub(super) struct Flight<'a> {
    link: &'a Link,
    statements: Vec<(&'static Sql, Vec<Owned<'a>>)>,
    /// Whether a statement must see what one before it wrote.
    is_ordered: bool,
}

/// Where the answer to a statement is found among those of its flight.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

/// The answers to a flight.
pub(super) struct Landed(Vec<Vec<Row>>);

impl<'a> Flight<'a> {
    pub(super) fn new(link: &'a Link) -> Flight<'a> {
        Flight { link, statements: Vec::new(), is_ordered: false }
    }

    /// Holds off whoever would declare the incarnation dead until the transaction has ended.
    pub(super) fn fenced(link: &'a Link, me: Incarnation) -> Flight<'a> {
        let mut flight = Flight::new(link);
        flight.add(&FENCE, values![me]);
        flight
    }

    pub(super) fn link(&self) -> &'a Link {
        self.link
    }

    pub(super) fn add(&mut self, sql: &'static Sql, values: Vec<Owned<'a>>) -> Place {
        self.statements.push((sql, values));
        Place(self.statements.len() - 1)
    }

    /// Says that what is added from now on must see what was added before.
    pub(super) fn keep_order(&mut self) {
        self.is_ordered = true;
    }

    /// Begins a transaction with it. Nothing is sent before it is known that there is one: without one, each of the statements
    /// would be a transaction of its own.
    pub(super) async fn begin(self) -> Result<Landed, Failure> {
        self.link.begin().await?;
        self.land().await
    }

    /// Sends all of it and waits for the answers. Where a statement fails, the server refuses all after it.
    pub(super) async fn land(self) -> Result<Landed, Failure> {
        let is_fenced = self.is_fenced();
        let landed = Landed(self.send().await.into_iter().collect::<Result<_, _>>()?);
        if is_fenced && landed.rows(Place(0)).is_empty() {
            return Err(Failure::Refused(StoreError::Fenced));
        }
        Ok(landed)
    }

    /// Sends all of it and the commit, and waits for both to be done.
    pub(super) async fn commit(self) -> Result<(), Failure> {
        let link = self.link;
        let is_fenced = self.is_fenced();
        let (answers, committed) = futures_util::join!(self.send(), link.commit());
        // After a statement that failed the commit was none: the server has undone everything, and said so of the statement.
        let answers: Vec<_> = answers.into_iter().collect::<Result<_, _>>().map_err(Failure::at_commit)?;
        committed.map_err(Failure::at_commit)?;
        // There was nothing to undo: whoever is fenced out has written nothing.
        if is_fenced && answers[0].is_empty() {
            return Err(Failure::Refused(StoreError::Fenced));
        }
        Ok(())
    }

    /// Does all of it as one statement, which is a transaction of its own, or nothing. Returns whether it did: where the order
    /// matters it cannot.
    pub(super) async fn at_once(self) -> Result<bool, Failure> {
        let Flight { link, statements, is_ordered } = self;
        if is_ordered {
            return Ok(false);
        }
        // Those that decide are done first, in order, and the others after that from the last to the first. Rows are to be taken
        // in one order always, or two transactions wait for each other.
        let (mut ordered, others): (Vec<_>, Vec<_>) =
            statements.into_iter().partition(|(sql, _)| sql.is_whole.is_some());
        ordered.extend(others.into_iter().rev());
        let parts: Vec<&'static Sql> = ordered.iter().map(|(sql, _)| *sql).collect();
        let values: Vec<Value<'_>> = ordered.iter().flat_map(|(_, values)| values).map(|value| &**value as _).collect();
        let done = async {
            // Behind a pooler a statement has its limits from the transaction that it is in.
            if link.is_pooled() {
                link.begin().await?;
            }
            link.query_united(&parts, &values).await.map_err(Failure::at_commit)?;
            if link.is_pooled() {
                link.commit().await.map_err(Failure::at_commit)?;
            }
            Ok(())
        };
        match done.await {
            Ok(()) => Ok(true),
            Err(failure) if Failure::is_doubt(&failure) => {
                link.roll_back().await;
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    fn is_fenced(&self) -> bool {
        self.statements.first().is_some_and(|(sql, _)| sql.name == FENCE.name)
    }

    async fn send(self) -> Vec<Result<Vec<Row>, Error>> {
        let link = self.link;
        let statements = self.statements.into_iter().map(|(sql, values)| async move {
            let values: Vec<Value<'_>> = values.iter().map(|value| &**value as _).collect();
            link.query(sql, &values).await
        });
        join_all(statements).await
    }
}

impl Landed {
    pub(super) fn rows(&self, place: Place) -> &[Row] {
        &self.0[place.0]
    }
}
