//! Questions to other services on the system bus, from a thread that may wait.

use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use zbus::names::{BusName, InterfaceName, MemberName};
use zbus::proxy::MethodFlags;
use zbus::{Connection, ObjectPath, OwnedVariant, Proxy, Type};

use crate::report::chain;

/// They answer at once, or something is very wrong.
const LIMIT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BusError {
    /// There is no such service, or no bus at all.
    Absent,
    /// Anything else, in words.
    Failed(String),
}

/// The system bus, connected to when it is first needed.
#[derive(Debug)]
pub struct SystemBus {
    handle: Option<Handle>,
    /// Another bus, in tests.
    address: Option<String>,
    connection: Mutex<Option<Connection>>,
}

impl SystemBus {
    /// The system's; `handle` is that of a runtime on another thread than the one that asks.
    #[must_use]
    pub const fn new(handle: Handle) -> Self {
        Self {
            handle: Some(handle),
            address: None,
            connection: Mutex::new(None),
        }
    }

    /// The bus at this address.
    #[must_use]
    pub fn at(handle: Handle, address: &str) -> Self {
        Self {
            address: Some(address.into()),
            ..Self::new(handle)
        }
    }

    /// None: every service is absent.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            handle: None,
            address: None,
            connection: Mutex::new(None),
        }
    }

    /// A property of a service that runs; it is not started for this.
    pub(crate) fn property<T>(
        &self,
        service: &str,
        path: &str,
        interface: &str,
        name: &str,
    ) -> Result<T, BusError>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: std::fmt::Display,
    {
        let properties = "org.freedesktop.DBus.Properties";
        let value: OwnedVariant =
            self.call(service, path, properties, "Get", &(interface, name))?;
        T::try_from(value).map_err(|error| BusError::Failed(error.to_string()))
    }

    /// Calls a method of a service that runs; it is not started for this.
    pub(crate) fn call<B, R>(
        &self,
        service: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<R, BusError>
    where
        B: Serialize + Type + Sync,
        R: DeserializeOwned + Type,
    {
        let handle = self.handle.as_ref().ok_or(BusError::Absent)?;
        let work = self.ask(service, path, interface, method, body);
        let answer = handle.block_on(within(LIMIT, work));
        answer.map_err(|error| {
            let absent = match &error {
                zbus::Error::FDO(error) => matches!(
                    **error,
                    zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_)
                ),
                // No bus at all.
                zbus::Error::InputOutput(_) => true,
                _ => false,
            };
            if !matches!(error, zbus::Error::MethodError(..) | zbus::Error::FDO(_)) {
                // It may be gone: the next question connects again.
                *self.lock() = None;
            }
            match absent {
                true => BusError::Absent,
                false => BusError::Failed(chain(&error)),
            }
        })
    }

    /// Whether somebody owns a name.
    ///
    /// # Errors
    /// There is no bus, or it gives no answer within `limit`; in words.
    pub(crate) fn has_owner(&self, name: &str, limit: Duration) -> Result<bool, String> {
        let handle = self.handle.as_ref().ok_or("there is none")?;
        let work = async {
            let connection = self.connect().await?;
            let bus = zbus::fdo::DBusProxy::new(&connection).await?;
            Ok(bus.name_has_owner(BusName::try_from(name)?).await?)
        };
        handle.block_on(within(limit, work)).map_err(|error| {
            // It may be gone: the next question connects again.
            *self.lock() = None;
            chain(&error)
        })
    }

    async fn ask<B, R>(
        &self,
        service: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> zbus::Result<R>
    where
        B: Serialize + Type + Sync,
        R: DeserializeOwned + Type,
    {
        let connection = self.connect().await?;
        let proxy = Proxy::new(
            &connection,
            BusName::try_from(service)?,
            ObjectPath::try_from(path)?,
            InterfaceName::try_from(interface)?,
        )
        .await?;
        let flags = MethodFlags::NO_AUTO_START;
        let method = MemberName::try_from(method)?;
        let answer = proxy.call_with_flags(method, flags, body).await?;
        answer.ok_or(zbus::Error::InvalidReply)
    }

    async fn connect(&self) -> zbus::Result<Connection> {
        if let Some(connection) = self.lock().clone() {
            return Ok(connection);
        }
        let connection = match &self.address {
            Some(address) => {
                let builder = zbus::connection::Builder::address(address.as_str());
                builder.build().await?
            }
            None => Connection::system().await?,
        };
        *self.lock() = Some(connection.clone());
        Ok(connection)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        // What is in there is a connection or nothing, whole either way.
        self.connection
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = zbus::Result<T>>,
) -> zbus::Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer,
        Err(_) => Err(zbus::Error::Failure(format!(
            "no answer within {} s",
            limit.as_secs()
        ))),
    }
}
