//! Whether somebody owns a name on the system bus.

use std::time::Duration;

use zbus::fdo::DBusProxy;
use zbus::names::BusName;

use crate::bus::Bus;
use crate::report::chain;

/// Asks the bus.
///
/// # Errors
/// Nobody owns it, or the bus does not answer in time.
pub(super) fn has_owner(bus: &Bus, name: &str, limit: Duration) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let asked = async {
        let bus_name = BusName::try_from(name).map_err(|error| chain(&error))?;
        let connection = match bus {
            Bus::System => zbus::Connection::system().await,
            Bus::At(address) => {
                let builder = zbus::connection::Builder::address(address.as_str());
                builder.build().await
            }
        };
        let connection =
            connection.map_err(|error| format!("the system bus: {}", chain(&error)))?;
        let driver = DBusProxy::new(&connection)
            .await
            .map_err(|error| chain(&error))?;
        let owned = driver.name_has_owner(bus_name).await;
        owned.map_err(|error| chain(&error))
    };
    let answer = runtime.block_on(async { tokio::time::timeout(limit, asked).await });
    match answer {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(format!("{name} has no owner on the system bus")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(format!(
            "the system bus: no answer for {} s",
            limit.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_without_an_owner_and_a_bus_that_is_not_there_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bus");
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .arg(format!("--address=unix:path={}", socket.display()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is installed (apt-get install dbus-daemon)");
        let mut address = String::new();
        let mut output = BufReader::new(daemon.stdout.take().unwrap());
        output.read_line(&mut address).unwrap();
        let bus = Bus::At(address.trim().to_owned());
        let limit = Duration::from_secs(20);
        // The bus itself always has its name.
        let asked = has_owner(&bus, "org.freedesktop.DBus", limit);
        let kiosk = has_owner(&bus, "org.example.Kiosk1", limit);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        asked.unwrap();
        assert_eq!(
            kiosk.unwrap_err(),
            "org.example.Kiosk1 has no owner on the system bus"
        );
        std::fs::remove_file(&socket).ok();
        let gone = has_owner(&bus, "org.example.Kiosk1", limit).unwrap_err();
        assert!(gone.starts_with("the system bus: "), "{gone}");
    }
}
