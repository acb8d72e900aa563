//! Many requests, one commit.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyPool, Connection as _};
use tokio::sync::{mpsc, oneshot};

use super::{Statement, StoreError, Value};

/// Most requests of one commit.
const MAX_BATCH: usize = 512;
/// Most requests that wait; more are held up at the door.
const MAX_WAITING: usize = 4096;

type Answer = oneshot::Sender<Result<(), StoreError>>;

struct Request {
    statements: Vec<Statement>,
    answer: Answer,
}

/// A handle to the task that writes.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Request>);

impl Writer {
    pub(super) fn start(pool: AnyPool) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        tokio::spawn(run(pool, receiver));
        Self(sender)
    }

    pub(super) async fn write(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        let (answer, result) = oneshot::channel();
        let request = Request { statements, answer };
        self.0.send(request).await.map_err(|_| StoreError::Closed)?;
        result.await.map_err(|_| StoreError::Closed)?
    }
}

async fn run(pool: AnyPool, mut receiver: mpsc::Receiver<Request>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let requests = std::mem::take(&mut batch);
        match commit(&pool, &requests).await {
            Ok(results) => {
                for (request, result) in requests.into_iter().zip(results) {
                    // Whoever asked may be gone.
                    let _ = request.answer.send(result);
                }
            }
            Err(why) => {
                for request in requests {
                    let _ = request.answer.send(Err(why.clone()));
                }
            }
        }
    }
}

async fn commit(
    pool: &AnyPool,
    requests: &[Request],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut connection = pool.acquire().await?;
    let results = in_one(&mut connection, requests).await;
    let failed = |result: &Result<(), StoreError>| matches!(result, Err(why) if !matches!(why, StoreError::Conflict));
    let is_broken = match &results {
        Ok(results) => results.iter().any(failed),
        Err(_) => true,
    };
    if is_broken {
        // After a full disk a transaction may be open still, or over already, without anybody
        // knowing: what came next would be acknowledged within it, and never be durable.
        let _ = connection.detach().close_hard().await;
    }
    results
}

/// All requests in one transaction, each within a savepoint of its own.
async fn in_one(
    connection: &mut AnyConnection,
    requests: &[Request],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut transaction = connection.begin().await?;
    let mut results = Vec::with_capacity(requests.len());
    for request in requests {
        sqlx::query("SAVEPOINT one")
            .execute(&mut *transaction)
            .await?;
        let result = all(&mut transaction, &request.statements).await;
        let end = match &result {
            Ok(()) => "RELEASE SAVEPOINT one",
            Err(StoreError::Conflict) => "ROLLBACK TO SAVEPOINT one",
            Err(_) => {
                // A constraint, or the connection: the latter shows at once.
                "ROLLBACK TO SAVEPOINT one"
            }
        };
        sqlx::query(end).execute(&mut *transaction).await?;
        results.push(result);
    }
    transaction.commit().await?;
    Ok(results)
}

async fn all(connection: &mut AnyConnection, statements: &[Statement]) -> Result<(), StoreError> {
    for statement in statements {
        let done = bound(statement).execute(&mut *connection).await?;
        if statement
            .expect
            .is_some_and(|rows| rows != done.rows_affected())
        {
            return Err(StoreError::Conflict);
        }
    }
    Ok(())
}

fn bound(statement: &Statement) -> Query<'_, Any, AnyArguments> {
    let mut query = sqlx::query(statement.sql);
    for value in &statement.values {
        query = match value {
            Value::Int(number) => query.bind(*number),
            Value::Text(text) => query.bind(text.as_str()),
        };
    }
    query
}
