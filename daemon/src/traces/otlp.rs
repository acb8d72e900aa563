//! Writes a trace as OTLP/HTTP in JSON (opentelemetry-proto, `ExportTraceServiceRequest`).

use serde_json::{Value, json};

use super::record::{Span, Trace};

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;
/// `STATUS_CODE_OK` and `STATUS_CODE_ERROR`.
const OK: u8 = 1;
const ERROR: u8 = 2;

/// What this device is, for the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The line of releases.
    pub product: String,
    /// The kind of hardware.
    pub compatible: String,
    /// Its name.
    pub host: String,
}

/// The body of the request.
#[must_use]
pub fn encode(trace: &Trace, resource: &Resource) -> String {
    let about = [
        ("service.name", "switchbackd"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("host.name", &resource.host),
        ("switchback.product", &resource.product),
        ("switchback.compatible", &resource.compatible),
    ];
    let update = [
        ("switchback.action", trace.action.as_str()),
        ("switchback.kind", &trace.kind),
        ("switchback.version", &trace.version),
        ("switchback.from", &trace.from),
        ("switchback.slot", &trace.slot),
        ("switchback.way", &trace.way),
        ("switchback.outcome", &trace.outcome),
    ];
    let mut root = span(trace, &trace.span, &trace.parent, &update);
    if let Some(Value::Array(attributes)) = root.get_mut("attributes") {
        let received = trace.received.to_string();
        attributes.push(json!({"key": "switchback.received", "value": {"intValue": received}}));
    }
    let parts = trace.parts.iter();
    let parts = parts.map(|part| span(trace, part, &trace.span.id, &[]));
    let spans: Vec<Value> = std::iter::once(root).chain(parts).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": attributes(&about)},
        "scopeSpans": [{
            "scope": {"name": "switchbackd", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans,
        }],
    }]})
    .to_string()
}

fn span(trace: &Trace, span: &Span, parent: &str, about: &[(&str, &str)]) -> Value {
    let end = span.end.unwrap_or(span.start);
    let status = match &span.error {
        None => json!({"code": OK}),
        Some(message) => json!({"code": ERROR, "message": message}),
    };
    json!({
        "traceId": trace.id,
        "spanId": span.id,
        "parentSpanId": parent,
        "name": span.name,
        "kind": INTERNAL,
        // 64 bits do not fit into the numbers of JSON.
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes(about),
        "status": status,
    })
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<Value> {
    let known = pairs.iter().filter(|(_, value)| !value.is_empty());
    known
        .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}))
        .collect()
}
