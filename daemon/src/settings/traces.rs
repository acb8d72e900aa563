//! Where traces are sent.

use std::path::{Path, PathBuf};

use super::SettingsError;
use super::fragment::Traces;
use super::validate::invalid;

/// Where traces are sent.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// A collector's address for traces, OTLP over HTTP.
    pub endpoint: String,
    /// Certificates that it is checked against (PEM).
    pub ca_file: PathBuf,
}

pub(super) fn traces(
    table: Traces,
    ca_file: &Path,
) -> Result<Option<TraceSettings>, SettingsError> {
    let Some(endpoint) = table.endpoint.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let uri: Option<hyper::Uri> = endpoint.parse().ok();
    let known = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if !known {
        let way_out =
            "write the address of a collector, such as https://collector.example:4318/v1/traces";
        return Err(invalid("traces.endpoint", &endpoint, way_out));
    }
    Ok(Some(TraceSettings {
        endpoint,
        ca_file: table.ca_file.map_or_else(|| ca_file.into(), PathBuf::from),
    }))
}
