//! Files that this server has itself: those of other formats than ours.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::OwnedSemaphorePermit;

use super::deployment::content;
use super::{Asking, Refused, hal};
use crate::app::App;
use crate::ranges::Ranges;
use crate::releases::{File, Release};
use crate::secret::random_hex;

/// Bytes that are read at once.
const PIECE: u64 = 64 * 1024;

#[derive(Debug, Deserialize)]
pub(super) struct OfModule {
    module: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct OfFile {
    module: String,
    file: String,
}

/// The release that an address means, if the device was ever offered it.
fn module(app: &App, device: &str, module: &str) -> Result<Arc<Release>, Refused> {
    let name = module.replacen(':', "/", 1);
    let release = app.releases().get(&name).cloned().ok_or(Refused::Missing)?;
    let book = app.book();
    let theirs = book.rollouts.values().any(|live| {
        live.attempts.get(device).is_some_and(|attempt| {
            live.rollout.definition.target.release == name
                || attempt.previous.as_deref() == Some(&release.identity)
        })
    });
    if theirs {
        Ok(release)
    } else {
        Err(Refused::Missing)
    }
}

/// The files of a release.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asking: Asking,
    Path(of): Path<OfModule>,
) -> Result<Response, Refused> {
    let release = module(&app, &asking.id, &of.module)?;
    let deployment = content(&release, &asking.base);
    let files: Vec<_> = deployment
        .chunks
        .into_iter()
        .flat_map(|chunk| chunk.artifacts)
        .collect();
    Ok(hal(&files))
}

/// A file, or parts of it, or its MD5. The name only chooses among the files of the release; on
/// the disk each lies under its digest.
pub(super) async fn file(
    State(app): State<Arc<App>>,
    asking: Asking,
    Path(of): Path<OfFile>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let release = module(&app, &asking.id, &of.module)?;
    let named = |name: &str| {
        let mut files = release.files.iter();
        files
            .find(|file| file.filename == name && file.url.is_none())
            .cloned()
    };
    if let Some(file) = of.file.strip_suffix(".MD5SUM").and_then(named) {
        return Ok(format!("{}  {}\n", file.md5, file.filename).into_response());
    }
    let file = named(&of.file).ok_or(Refused::Missing)?;
    // Who cannot begin now is told when to come: no crowd waits on open connections.
    let Ok(permit) = app.downloads.clone().try_acquire_owned() else {
        app.metrics.downloads_deferred.add(1);
        return Err(Refused::Later(10 + app.pause(&asking.id, 0) % 20));
    };
    app.metrics.downloads.add(1);
    serve(&app, &file, &headers, permit).await
}

async fn serve(
    app: &App,
    file: &File,
    headers: &HeaderMap,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Refused> {
    let path = app.settings.data.join("artifacts").join(&file.sha256);
    let Ok(opened) = tokio::fs::File::open(path).await else {
        return Err(Refused::Gone);
    };
    let tag = format!("\"{}\"", file.sha256);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let names_it = |value: &str| {
        value == "*" || value.contains(&tag) || value.contains(&format!("\"{}\"", file.sha1))
    };
    if text(IF_MATCH).is_some_and(|value| !names_it(value)) {
        return Ok(StatusCode::PRECONDITION_FAILED.into_response());
    }
    let range = text(RANGE).filter(|_| text(IF_RANGE).is_none_or(names_it));
    let kind = "application/octet-stream";
    let common = [(ACCEPT_RANGES, "bytes".to_owned()), (ETAG, tag)];
    match Ranges::parse(range, file.size) {
        Ranges::Unsatisfiable => Ok((
            StatusCode::RANGE_NOT_SATISFIABLE,
            [(CONTENT_RANGE, format!("bytes */{}", file.size))],
        )
            .into_response()),
        Ranges::Whole => {
            let pieces = vec![Piece::File(0, file.size)];
            let own = [
                (CONTENT_TYPE, kind.to_owned()),
                (CONTENT_LENGTH, file.size.to_string()),
            ];
            Ok((common, own, body(opened, pieces, permit)).into_response())
        }
        Ranges::Parts(parts) => {
            if let [(first, last)] = parts.as_slice() {
                let own = [
                    (CONTENT_TYPE, kind.to_owned()),
                    (CONTENT_LENGTH, (last - first + 1).to_string()),
                    (CONTENT_RANGE, format!("bytes {first}-{last}/{}", file.size)),
                ];
                let pieces = vec![Piece::File(*first, last - first + 1)];
                let answer = (StatusCode::PARTIAL_CONTENT, common, own);
                return Ok(
                    (answer.0, answer.1, answer.2, body(opened, pieces, permit)).into_response()
                );
            }
            let boundary = random_hex::<10>().map_err(|_| Refused::Unavailable)?;
            let pieces = multipart(&parts, &boundary, kind, file.size);
            let length: u64 = pieces.iter().map(Piece::length).sum();
            let own = [
                (
                    CONTENT_TYPE,
                    format!("multipart/byteranges; boundary={boundary}"),
                ),
                (CONTENT_LENGTH, length.to_string()),
            ];
            Ok((
                StatusCode::PARTIAL_CONTENT,
                common,
                own,
                body(opened, pieces, permit),
            )
                .into_response())
        }
    }
}

/// The layout that nginx has: some readers of it are strict.
fn multipart(parts: &[(u64, u64)], boundary: &str, kind: &str, size: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (first, last) in parts {
        pieces.push(Piece::Text(format!(
            "\r\n--{boundary}\r\nContent-Type: {kind}\r\n\
             Content-Range: bytes {first}-{last}/{size}\r\n\r\n"
        )));
        pieces.push(Piece::File(*first, last - first + 1));
    }
    pieces.push(Piece::Text(format!("\r\n--{boundary}--\r\n")));
    pieces
}

enum Piece {
    Text(String),
    /// From this byte, so many.
    File(u64, u64),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

fn body(file: tokio::fs::File, pieces: Vec<Piece>, permit: OwnedSemaphorePermit) -> Body {
    Body::from_stream(bytes(file, pieces, permit))
}

fn bytes(
    file: tokio::fs::File,
    pieces: Vec<Piece>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let state = (file, pieces.into_iter(), None::<(u64, u64)>, permit);
    stream::try_unfold(state, |(mut file, mut pieces, mut at, permit)| async move {
        loop {
            if let Some((from, left)) = at.filter(|(_, left)| *left > 0) {
                file.seek(SeekFrom::Start(from)).await?;
                let now = left.min(PIECE);
                let mut buffer = Vec::with_capacity(usize::try_from(now).unwrap_or(0));
                (&mut file).take(now).read_to_end(&mut buffer).await?;
                if buffer.len() as u64 != now {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                let rest = Some((from + now, left - now));
                return Ok(Some((Bytes::from(buffer), (file, pieces, rest, permit))));
            }
            match pieces.next() {
                None => return Ok(None),
                Some(Piece::Text(text)) => {
                    return Ok(Some((Bytes::from(text), (file, pieces, None, permit))));
                }
                Some(Piece::File(from, length)) => at = Some((from, length)),
            }
        }
    })
}
