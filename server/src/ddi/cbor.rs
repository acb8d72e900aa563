//! The same documents as CBOR, for clients that ask for it, as hawkBit has it.
//!
//! Inside everything is JSON: what comes as CBOR is said again as JSON, and what goes out the other way round.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use switchback_ddi::{from_cbor, to_cbor};

use super::Refused;

const CBOR: &str = "application/cbor";
/// Largest answer that is turned into CBOR, in bytes; no document is that long.
const MOST_ANSWER: usize = 4 << 20;

/// A body as JSON, in whichever form it came. Read, as every body is, once it is known who asks.
pub(super) struct Said(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Said {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let in_cbor = names(request.headers(), &CONTENT_TYPE);
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        if !in_cbor || bytes.is_empty() {
            return Ok(Self(bytes));
        }
        match from_cbor(&bytes) {
            Ok(json) => Ok(Self(json.into())),
            Err(why) => Err(Refused::Body(why).into_response()),
        }
    }
}

/// Turns the answer into CBOR where that is asked for.
pub(super) async fn answer(request: Request, next: Next) -> Response {
    let wanted = names(request.headers(), &ACCEPT);
    let mut response = next.run(request).await;
    if !wanted || !is_json(response.headers()) {
        return response;
    }
    let body = std::mem::take(response.body_mut());
    let said = to_bytes(body, MOST_ANSWER).await.ok();
    let Some(bytes) = said.and_then(|json| to_cbor(&json).ok()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CBOR));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(bytes);
    response
}

fn names(headers: &HeaderMap, which: &HeaderName) -> bool {
    let text = headers.get(which).and_then(|value| value.to_str().ok());
    text.is_some_and(|text| text.trim_start().starts_with(CBOR))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
}
