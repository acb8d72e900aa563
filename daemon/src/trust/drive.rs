//! Feeding the client's machines.

use switchback_tuf::{Answer, Exchange, Role, TrustedState, Want};

use super::answer::Failure;
use crate::fetch::{FetchError, Files, Named};

/// What changes with everything else.
pub(super) const TIMESTAMP: &str = "metadata/timestamp.json";

/// Feeds a machine from a repository until it wants nothing more.
pub(super) fn drive(exchange: &mut dyn Exchange, source: &dyn Files) -> Result<(), Failure> {
    feed(exchange, |path, limit| answer(source.file(path, limit)))
}

/// The same for a refresh; gives how the server names the timestamp, if it did. One that came already,
/// with the question whether it had changed, is not asked for again.
pub(super) fn drive_refresh(
    refresh: &mut dyn Exchange,
    source: &dyn Files,
    mut ahead: Option<Named>,
) -> Result<Option<String>, Failure> {
    let mut tag = None;
    feed(refresh, |path, limit| {
        if path != TIMESTAMP {
            return answer(source.file(path, limit));
        }
        let named = match ahead.take() {
            Some(named) => Ok(Some(named)),
            None => source.unless(path, limit, None),
        };
        answer(named.map(|named| {
            let named = named.unwrap_or_default();
            tag = named.tag;
            named.bytes
        }))
    })?;
    Ok(tag)
}

/// Feeds a machine from what is trusted: the repository as it is while its timestamp is the same.
pub(super) fn drive_by_memory(
    exchange: &mut dyn Exchange,
    known: &TrustedState,
) -> Result<(), Failure> {
    feed(exchange, |path, _| {
        let mut documents = known.documents();
        let timestamp = documents.find(|(role, _)| *role == Role::Timestamp);
        let asked = timestamp.filter(|_| path == TIMESTAMP);
        Ok(asked.map_or(Answer::Missing, |(_, bytes)| Answer::File(bytes.to_vec())))
    })
}

fn answer(fetched: Result<Vec<u8>, FetchError>) -> Result<Answer, Failure> {
    match fetched {
        Ok(bytes) => Ok(Answer::File(bytes)),
        Err(FetchError::Missing { .. }) => Ok(Answer::Missing),
        Err(error) => Err(Failure::Fetch(error)),
    }
}

fn feed(
    exchange: &mut dyn Exchange,
    mut fetch: impl FnMut(&str, u64) -> Result<Answer, Failure>,
) -> Result<(), Failure> {
    while let Want::File(request) = exchange.poll() {
        let path = format!("metadata/{}", request.name);
        exchange.feed(fetch(&path, request.max_length)?)?;
    }
    Ok(())
}
