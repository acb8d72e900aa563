//! The daemon as a client on the bus finds it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use switchback_dbus_api::{JobProxy, MANAGER_PATH, ManagerProxy, Options};
use tokio::runtime::Runtime;
use zbus::Connection;

/// Until something that takes long must have happened.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two calls whose time is taken.
const PAUSE: Duration = Duration::from_millis(5);
const MANAGER: &str = "org.switchback.Update1.Manager";

/// A client.
pub(super) struct Client {
    runtime: Runtime,
    connection: Connection,
    manager: ManagerProxy<'static>,
}

/// Times of calls that read all properties of the manager, in microseconds, shortest first.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<u64>);

impl Latencies {
    /// So many of a hundred calls took no longer.
    pub(super) fn percentile(&self, percent: usize) -> u64 {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(at).copied().unwrap_or_default()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    fn sorted(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self(times)
    }
}

impl Client {
    /// Connects and waits for the daemon.
    pub(super) fn connect(address: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (connection, manager) = runtime.block_on(async {
            let begun = Instant::now();
            loop {
                let found = connect(address).await;
                match found {
                    Ok(found) => return Ok(found),
                    Err(error) if begun.elapsed() > Duration::from_secs(60) => return Err(error),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        })?;
        Ok(Self {
            runtime,
            connection,
            manager,
        })
    }

    /// Waits until the five questions were answered once.
    pub(super) fn wait_for_decision(&self) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let begun = Instant::now();
            while self.manager.decision().await?.at.is_empty() {
                if begun.elapsed() > PATIENCE {
                    bail!("the daemon never asked the repository");
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(())
        })
    }

    /// Asks the repository and waits for the answer.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let job = self.manager.check(Options::default()).await?;
            let job = JobProxy::builder(&self.connection)
                .path(job)
                .cache_properties(zbus::proxy::CacheProperties::No)
                .build()
                .await?;
            let begun = Instant::now();
            while job.state().await? == "running" {
                if begun.elapsed() > PATIENCE {
                    bail!("the check does not end");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        })
    }

    /// Installs what is offered and takes the time of calls until the slot is armed; `each` is called beside.
    pub(super) fn install(&self, mut each: impl FnMut()) -> anyhow::Result<(Duration, Latencies)> {
        self.runtime.block_on(async {
            let begun = Instant::now();
            self.manager.install(Options::default()).await?;
            let mut times = Vec::new();
            loop {
                times.push(self.call().await?);
                each();
                match self.manager.phase().await?.as_str() {
                    "on-trial" => return Ok((begun.elapsed(), Latencies::sorted(times))),
                    "idle" if begun.elapsed() > Duration::from_secs(30) => {
                        let decision = self.manager.decision().await?;
                        bail!("nothing is installed: {decision:?}");
                    }
                    _ if begun.elapsed() > PATIENCE => bail!("the installation does not end"),
                    _ => tokio::time::sleep(PAUSE).await,
                }
            }
        })
    }

    /// The same while nothing is under way.
    pub(super) fn at_rest(&self, calls: usize) -> anyhow::Result<Latencies> {
        self.runtime.block_on(async {
            let mut times = Vec::new();
            for _ in 0..calls {
                times.push(self.call().await?);
                tokio::time::sleep(PAUSE).await;
            }
            Ok(Latencies::sorted(times))
        })
    }

    /// All properties; how long that took, in microseconds.
    async fn call(&self) -> anyhow::Result<u64> {
        let begun = Instant::now();
        self.connection
            .call_method(
                Some(switchback_dbus_api::BUS_NAME),
                MANAGER_PATH,
                Some("org.freedesktop.DBus.Properties"),
                "GetAll",
                &(MANAGER,),
            )
            .await
            .context("GetAll")?;
        Ok(u64::try_from(begun.elapsed().as_micros())?)
    }
}

async fn connect(address: &str) -> anyhow::Result<(Connection, ManagerProxy<'static>)> {
    let connection = zbus::connection::Builder::address(address).build().await?;
    let manager = ManagerProxy::builder(&connection)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await?;
    // Answered only once the daemon is there.
    manager.version().await?;
    Ok((connection, manager))
}
