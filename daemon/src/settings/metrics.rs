//! Where metrics are served.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::SettingsError;
use super::fragment::Metrics;
use super::validate::invalid;

/// Where metrics are served.
#[derive(Debug, Clone, Default)]
pub struct MetricsSettings {
    /// The Unix socket, if there is to be one.
    pub socket: Option<PathBuf>,
    /// The address, if a person wants one.
    pub listen: Option<SocketAddr>,
}

pub(super) fn metrics(table: Metrics) -> Result<MetricsSettings, SettingsError> {
    let socket = table
        .socket
        .unwrap_or_else(|| "/run/switchback/metrics.sock".into());
    // A socket has no longer name; the kernel says no more than that it is wrong.
    if !socket.is_empty() && (!socket.starts_with('/') || socket.len() > 100) {
        let way_out = "write a whole path of at most 100 bytes, or \"\" for none";
        return Err(invalid("metrics.socket", &socket, way_out));
    }
    let listen = table.listen.filter(|text| !text.is_empty());
    let listen = listen.map(|text| {
        let way_out = "write an address and a port, such as 127.0.0.1:9464 or [::1]:9464";
        text.parse()
            .map_err(|_| invalid("metrics.listen", &text, way_out))
    });
    Ok(MetricsSettings {
        socket: Some(PathBuf::from(socket)).filter(|path| !path.as_os_str().is_empty()),
        listen: listen.transpose()?,
    })
}
