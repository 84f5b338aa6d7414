//! Statements that are sent together, without waiting for the answer to one before the next is sent.

use super::connect::Link;
use super::errors::Failure;
use super::statements::{FENCE, SURE_FENCE, Sql};
use crate::{Incarnation, StoreError};
use futures_util::future::{BoxFuture, join_all};
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

/// Statements of one transaction, in order. Where one fails, the server refuses all after it.
pub(super) struct Flight<'a> {
    link: &'a Link,
    statements: Vec<BoxFuture<'a, Result<Vec<Row>, Error>>>,
    /// Where the fence is, if its answer is to be looked at.
    fence: Option<usize>,
}

/// Where the answer to a statement is found among those of its flight.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

/// The answers to a flight.
pub(super) struct Landed(Vec<Vec<Row>>);

impl<'a> Flight<'a> {
    /// Goes on with a transaction.
    pub(super) fn new(link: &'a Link) -> Flight<'a> {
        Flight { link, statements: Vec::new(), fence: None }
    }

    /// Begins a transaction, and holds off whoever would declare the incarnation dead until it has ended.
    pub(super) fn begin(link: &'a Link, me: Incarnation) -> Flight<'a> {
        let mut flight = Flight::begin_unfenced(link);
        let Place(fence) = flight.add(&FENCE, values![me]);
        flight.fence = Some(fence);
        flight
    }

    /// The same for a flight that is committed at once: it fails where there is nothing to hold off from.
    pub(super) fn begin_surely(link: &'a Link, me: Incarnation) -> Flight<'a> {
        let mut flight = Flight::begin_unfenced(link);
        flight.add(&SURE_FENCE, values![me]);
        flight
    }

    fn begin_unfenced(link: &'a Link) -> Flight<'a> {
        let mut flight = Flight::new(link);
        flight.statements.push(Box::pin(async { link.begin().await.map(|()| Vec::new()) }));
        flight
    }

    pub(super) fn add(&mut self, sql: &'static Sql, values: Vec<Owned<'a>>) -> Place {
        let link = self.link;
        self.statements.push(Box::pin(async move {
            let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
            link.query(sql, &values).await
        }));
        Place(self.statements.len() - 1)
    }

    /// Sends all of it and waits for the answers.
    pub(super) async fn land(self) -> Result<Landed, Failure> {
        let fence = self.fence;
        let answers = self.send().await.map_err(Failure::Sql)?;
        match fence {
            Some(fence) if answers[fence].is_empty() => Err(Failure::Refused(StoreError::Fenced)),
            Some(_) | None => Ok(Landed(answers)),
        }
    }

    /// Sends all of it and the commit, and waits for both to be done.
    pub(super) async fn commit(mut self) -> Result<(), Failure> {
        let (link, fence) = (self.link, self.fence);
        self.statements.push(Box::pin(async { link.commit().await.map(|()| Vec::new()) }));
        // After a statement that failed the commit was none: the server has undone everything, and said so of the statement.
        let answers = self.send().await.map_err(Failure::at_commit)?;
        match fence {
            // There was nothing to undo: whoever is fenced out has written nothing.
            Some(fence) if answers[fence].is_empty() => Err(Failure::Refused(StoreError::Fenced)),
            Some(_) | None => Ok(()),
        }
    }

    /// Waits for all answers, so that the connection is not used before they have come.
    async fn send(mut self) -> Result<Vec<Vec<Row>>, Error> {
        let mut answers = Vec::with_capacity(self.statements.len());
        // There nothing refuses a statement that is sent after a transaction that did not begin.
        if self.link.is_pooled() && !self.statements.is_empty() {
            answers.push(self.statements.remove(0).await?);
        }
        for answer in join_all(self.statements).await {
            answers.push(answer?);
        }
        Ok(answers)
    }
}

impl Landed {
    pub(super) fn rows(&self, place: Place) -> &[Row] {
        &self.0[place.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::connect::Connector;
    use crate::postgres::failover::Witness;
    use crate::postgres::{PostgresOptions, PostgresStore};
    use deadpool::managed::Manager;
    use std::sync::Arc;
    use tokio_postgres::error::SqlState;
    use uuid::Uuid;

    /// Half a transaction would be left, and nobody would know which half.
    #[tokio::test]
    async fn without_a_transaction_nothing_is_written() {
        let options = PostgresOptions::new(test_postgres::database());
        PostgresStore::open(options.clone()).await.unwrap();
        let connector = Connector::new(&options.url, options.transaction_timeout, Arc::new(Witness::new(1))).unwrap();
        let link = connector.create().await.unwrap();
        let incarnation = Uuid::now_v7();
        let add = format!("INSERT INTO amends.incarnation (id, live, released) VALUES ('{incarnation}', true, false)");
        link.write_text(&add, &[]).await.unwrap();
        // As if its first statement had been refused, and the others were on their way.
        let mut flight = Flight::begin_surely(&link, incarnation);
        drop(flight.statements.remove(0));
        match flight.commit().await {
            Err(Failure::Sql(error)) => assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}
