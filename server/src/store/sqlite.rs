//! Whole databases of SQLite: copied while somebody writes, and looked through.

use std::path::Path;

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, Connection as _, Row as _};

use super::StoreError;

async fn open(path: &Path) -> Result<AnyConnection, StoreError> {
    install_default_drivers();
    let url = format!("sqlite://{}?mode=rw", path.display());
    let mut connection = AnyConnection::connect(&url).await?;
    sqlx::query("PRAGMA busy_timeout = 10000")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Copies a database into an empty file, as one transaction sees it: everything that was committed
/// before, and nothing in halves. Writers are not held up.
///
/// # Errors
/// It cannot be read, or the copy not be written.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut connection = open(from).await?;
    sqlx::query("VACUUM INTO $1")
        .bind(to.display().to_string())
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

/// Looks through a copy, and goes on counting actions so many later.
///
/// # Errors
/// It is damaged, or of something else.
pub async fn check(path: &Path, skip_actions: i64) -> Result<(), StoreError> {
    let mut connection = open(path).await?;
    let row = sqlx::query("PRAGMA integrity_check")
        .fetch_one(&mut connection)
        .await?;
    let word: String = row.try_get(0)?;
    if word != "ok" {
        return Err(StoreError::Damaged { what: word });
    }
    sqlx::query("UPDATE counters SET value = value + $1 WHERE name = 'action'")
        .bind(skip_actions)
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}
