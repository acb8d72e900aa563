//! The same documents as CBOR, for clients that ask for it, as hawkBit has it.
//!
//! Inside everything is JSON: what comes as CBOR is said again as JSON, and what goes out the other way round.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use switchback_ddi::{MAX_BODY_BYTES, from_cbor, to_cbor};

use super::Refused;

const CBOR: &str = "application/cbor";
/// Largest answer that is turned into CBOR, in bytes; no document is that long.
const MOST_ANSWER: usize = 4 << 20;

/// Turns a body that is CBOR into JSON, and the answer into CBOR where that is asked for.
pub(super) async fn speak(request: Request, next: Next) -> Response {
    let wants = names(request.headers(), &ACCEPT);
    let request = match understood(request).await {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    let mut response = next.run(request).await;
    if !wants || !is_json(response.headers()) {
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

async fn understood(request: Request) -> Result<Request, Response> {
    if !names(request.headers(), &CONTENT_TYPE) {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let bytes = to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| StatusCode::PAYLOAD_TOO_LARGE.into_response())?;
    if bytes.is_empty() {
        return Ok(Request::from_parts(parts, Body::empty()));
    }
    let json = from_cbor(&bytes).map_err(|why| Refused::Body(why).into_response())?;
    parts.headers.remove(CONTENT_LENGTH);
    let kind = HeaderValue::from_static("application/json");
    parts.headers.insert(CONTENT_TYPE, kind);
    Ok(Request::from_parts(parts, Body::from(json)))
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
