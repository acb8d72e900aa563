//! What is kept: SQLite in a directory, or PostgreSQL by its address.
//!
//! Everything that changes goes through [`Store::write`]. One task collects what many requests
//! want to write and commits it at once; nobody is answered before that commit is durable. Each
//! request's statements hold together or not at all, and a statement that does not touch as many
//! rows as it expects undoes its request alone: that is the compare-and-set.

mod rows;
pub mod sqlite;
mod writer;

use std::path::Path;
use std::sync::Arc;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{AnyPool, Row as _};

pub use rows::{AttemptRow, DeliveryRow, DeviceRow, PersonRow, RolloutRow};
use writer::Writer;

/// Why something could not be kept or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Somebody else changed it in between.
    #[error("somebody else changed it in between")]
    Conflict,
    /// The database does not answer, or refuses.
    #[error("the database is not available")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// There is no space for it.
    #[error("the database has no space left on its disk")]
    Full,
    /// The schema could not be brought up to date.
    #[error("the schema of the database could not be brought up to date")]
    Migrate(#[source] Arc<sqlx::migrate::MigrateError>),
    /// A row holds what this program cannot read.
    #[error("the row {what} of the database cannot be read")]
    Row {
        /// Which row.
        what: String,
    },
    /// The database is damaged.
    #[error("the database is damaged: {what}")]
    Damaged {
        /// What its own check says.
        what: String,
    },
    /// The server is about to end.
    #[error("the server is about to end")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // SQLITE_FULL and its like among input and output errors; PostgreSQL's disk_full.
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            Some("13" | "53100") => Self::Full,
            _ => Self::Unavailable(Arc::new(error)),
        }
    }
}

/// A value of a statement.
#[derive(Debug, Clone)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// One statement that changes something.
#[derive(Debug, Clone)]
pub struct Statement {
    sql: &'static str,
    values: Vec<Value>,
    /// How many rows it must touch, where that matters.
    expect: Option<u64>,
}

impl Statement {
    /// A statement with the values of its `$1`, `$2`, …
    #[must_use]
    pub fn new(sql: &'static str, values: Vec<Value>) -> Self {
        Self {
            sql,
            values,
            expect: None,
        }
    }

    /// It must touch exactly one row; else all of its request is undone and a conflict.
    #[must_use]
    pub fn of_one_row(mut self) -> Self {
        self.expect = Some(1);
        self
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    writer: Writer,
    is_postgres: bool,
}

/// Names the lock of the planner among PostgreSQL's advisory locks.
const PLANNER_LOCK: i64 = 0x5357_4241_434b;

impl Store {
    /// Opens `fleet.db` in a directory.
    ///
    /// # Errors
    /// It cannot be opened or brought up to date.
    pub async fn sqlite(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("fleet.db");
        let url = format!("sqlite://{}?mode=rwc", path.display());
        Self::open(&url, 4).await
    }

    /// Connects to PostgreSQL.
    ///
    /// # Errors
    /// It does not answer or cannot be brought up to date.
    pub async fn postgres(url: &str) -> Result<Self, StoreError> {
        Self::open(url, 8).await
    }

    async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        install_default_drivers();
        let is_postgres = !url.starts_with("sqlite:");
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(std::time::Duration::from_secs(5))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if !is_postgres {
                        // Full: what was acknowledged survives a power cut.
                        for pragma in [
                            "PRAGMA journal_mode = WAL",
                            "PRAGMA synchronous = FULL",
                            "PRAGMA busy_timeout = 10000",
                        ] {
                            sqlx::query(pragma).execute(&mut *connection).await?;
                        }
                    }
                    Ok(())
                })
            })
            .connect(url)
            .await?;
        sqlx::migrate!("./migrations")
            .run(&pool)
            .await
            .map_err(|why| StoreError::Migrate(Arc::new(why)))?;
        let writer = Writer::start(pool.clone());
        Ok(Self {
            pool,
            writer,
            is_postgres,
        })
    }

    /// Whether other replicas may be at the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_postgres
    }

    /// Keeps all of these statements or none. Returns when they are durable.
    ///
    /// # Errors
    /// A conflict, or the database does not answer: then nothing was acknowledged.
    pub async fn write(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        self.writer.write(statements).await
    }

    /// Takes `count` numbers for actions and returns the first.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn action_numbers(&self, count: i64) -> Result<i64, StoreError> {
        let row = sqlx::query(
            "UPDATE counters SET value = value + $1 WHERE name = 'action' RETURNING value",
        )
        .bind(count)
        .fetch_one(&self.pool)
        .await?;
        let last: i64 = row.try_get(0)?;
        Ok(last - count + 1)
    }

    /// Tries to become the one that plans; holds until the returned lock is dropped or lost.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn try_lead(&self) -> Result<Option<Leadership>, StoreError> {
        if !self.is_postgres {
            // The data directory is locked: nobody else is there.
            return Ok(Some(Leadership(None)));
        }
        let mut connection = self.pool.acquire().await?.detach();
        let row = sqlx::query("SELECT pg_try_advisory_lock($1)")
            .bind(PLANNER_LOCK)
            .fetch_one(&mut connection)
            .await?;
        let got: bool = row.try_get(0)?;
        Ok(got.then_some(Leadership(Some(connection))))
    }
}

/// The right to plan, as long as its connection lives.
#[derive(Debug)]
pub struct Leadership(Option<sqlx::AnyConnection>);

impl Leadership {
    /// Whether it still holds.
    pub async fn holds(&mut self) -> bool {
        match &mut self.0 {
            None => true,
            Some(connection) => sqlx::query("SELECT 1").execute(connection).await.is_ok(),
        }
    }
}
