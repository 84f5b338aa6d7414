//! Writes transitions to PostgreSQL. What gathers while statements are on their way is the next one, and each statement is a
//! transaction of its own.

use super::Waiting;
use std::rc::Rc;
use tokio::sync::{Mutex, mpsc};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, NoTls, Statement};
use uuid::Uuid;

/// How many statements are on their way at once, each on a connection of its own. Of one, two, three and four this was the
/// fastest at 64 sagas in flight. Two on one connection are slower than one: the server flushes for each of them by itself,
/// while those of several connections share a flush.
const CONNECTIONS: usize = 4;

const TABLE: &str = "
    CREATE TABLE transition (saga uuid, sequence int, what bytea, PRIMARY KEY (saga, sequence))";

/// It is planned once for batches of every size.
const SETTINGS: &str = "SET plan_cache_mode = force_generic_plan";

const PUT: &str = "
    INSERT INTO transition (saga, sequence, what) SELECT * FROM unnest($1::uuid[], $2::int4[], $3::bytea[])";

/// Makes the table and begins to write what comes.
pub async fn start(url: &str, waiting: mpsc::UnboundedReceiver<Waiting>) -> anyhow::Result<()> {
    connect(url).await?.batch_execute(TABLE).await?;
    // Whoever is free takes all that has gathered.
    let waiting = Rc::new(Mutex::new(waiting));
    for _ in 0..CONNECTIONS {
        let (writer, waiting) = (Writer::open(url).await?, waiting.clone());
        tokio::task::spawn_local(async move { writer.write_what_comes(&waiting).await });
    }
    Ok(())
}

struct Writer {
    client: Client,
    put: Statement,
}

impl Writer {
    async fn open(url: &str) -> Result<Writer, Error> {
        let client = connect(url).await?;
        client.batch_execute(SETTINGS).await?;
        let put = client.prepare_typed(PUT, &[Type::UUID_ARRAY, Type::INT4_ARRAY, Type::BYTEA_ARRAY]).await?;
        Ok(Writer { client, put })
    }

    async fn write_what_comes(&self, waiting: &Mutex<mpsc::UnboundedReceiver<Waiting>>) {
        loop {
            let mut batch = Vec::new();
            if waiting.lock().await.recv_many(&mut batch, usize::MAX).await == 0 {
                return;
            }
            self.write(&batch).await.expect("the floor has a database that works");
            for (_, reply) in batch {
                // Its caller has hung up.
                reply.send(()).unwrap_or_default();
            }
        }
    }

    async fn write(&self, batch: &[Waiting]) -> Result<(), Error> {
        let sagas: Vec<Uuid> = batch.iter().map(|(transition, _)| transition.saga).collect();
        let sequences: Vec<i32> = batch.iter().map(|(transition, _)| transition.sequence).collect();
        let whats: Vec<&[u8]> = batch.iter().map(|(transition, _)| transition.what.as_ref()).collect();
        self.client.execute(&self.put, &[&sagas, &sequences, &whats]).await?;
        Ok(())
    }
}

async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Its error is that of the statement in flight, which is told there.
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    Ok(client)
}
