//! From a command line to a server that answers.

use std::fs::{DirBuilder, File};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use axum::http::HeaderName;
use clap::Args;
use ipnet::IpNet;
use tokio::net::TcpListener;

use crate::access::Role;
use crate::api::{NewToken, give};
use crate::app::{App, Settings};
use crate::proxy::{self, Proxies};
use crate::serve;
use crate::store::Store;
use crate::tls::{Files, Tls};

/// How the server is to behave.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Where the database and files are kept.
    #[arg(long, env = "SWITCHBACK_DATA", default_value = "switchback-data")]
    pub data: PathBuf,
    /// Where to listen.
    #[arg(long, env = "SWITCHBACK_LISTEN", default_value = "127.0.0.1:8480")]
    pub listen: SocketAddr,
    /// `postgres://…`, in the place of the database in the data directory.
    #[arg(long, env = "SWITCHBACK_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// The base of all addresses that devices are given, such as `https://fleet.example/updates`;
    /// without it, what each came by.
    #[arg(long, env = "SWITCHBACK_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// The server's certificate and those that lead to its CA, its own first, in PEM form: then
    /// HTTPS alone is spoken. Read again when it changes.
    #[arg(
        long,
        env = "SWITCHBACK_TLS_CERTIFICATE",
        requires = "tls_key",
        value_name = "FILE"
    )]
    pub tls_certificate: Option<PathBuf>,
    /// Its key in PEM form. Read again when it changes.
    #[arg(
        long,
        env = "SWITCHBACK_TLS_KEY",
        requires = "tls_certificate",
        value_name = "FILE"
    )]
    pub tls_key: Option<PathBuf>,
    /// Certificates of CAs in PEM form: a device with a certificate of theirs needs no token; its
    /// name is the subject's common name. Read again when it changes.
    #[arg(
        long,
        env = "SWITCHBACK_DEVICE_CA",
        requires = "tls_certificate",
        value_name = "FILE"
    )]
    pub device_ca: Option<PathBuf>,
    /// A proxy, or a network of proxies, whose `X-Forwarded-For` and `X-Forwarded-Proto` are
    /// believed; may be given more than once.
    #[arg(long, value_parser = proxy::network, value_name = "ADDRESS")]
    pub trusted_proxy: Vec<IpNet>,
    /// The header in which those proxies say which device's certificate they checked; they must
    /// take it out of what clients send.
    #[arg(long, requires = "trusted_proxy", value_name = "HEADER")]
    pub proxy_device_header: Option<HeaderName>,
    /// The signed repository, as a directory on this machine.
    #[arg(long, requires = "repository_root", requires = "content_url")]
    pub repository: Option<PathBuf>,
    /// The `1.root.json` that the repository is trusted by.
    #[arg(long)]
    pub repository_root: Option<PathBuf>,
    /// Where devices find the repository.
    #[arg(long)]
    pub content_url: Option<String>,
    /// Seconds between polls of a device that has nothing to do.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_399))]
    pub poll_seconds: u32,
    /// Polls in one second to pace devices for: a larger fleet is told to come less often.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    pub polls_per_second: u32,
    /// Downloads from this server at the same time.
    #[arg(long, default_value_t = 256)]
    pub downloads: usize,
    /// A person lets each new device in.
    #[arg(long)]
    pub approve_devices: bool,
    /// Seconds between two looks of the planner when nothing happens.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub turn_seconds: u64,
    /// Devices to put into memory, for measuring only: `device-0`, `device-1`, …, each with its name
    /// as token.
    #[arg(long, hide = true, default_value_t = 0)]
    pub fill: u32,
}

/// A server that is ready to answer.
#[derive(Debug)]
pub struct Ready {
    app: Arc<App>,
    listener: TcpListener,
    /// Nobody else is at the data directory as long as this is open.
    _lock: File,
    /// Where it listens.
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The token of the first start.
    pub first_token: Option<String>,
}

/// Opens everything.
///
/// # Errors
/// Names what cannot be opened.
pub async fn prepare(options: Serve) -> anyhow::Result<Ready> {
    let tls = tls(&options)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let artifacts = options.data.join("artifacts");
    make_data_directory(&artifacts)?;
    let lock = lock(&options.data)?;
    let store = match &options.database {
        Some(url) => Store::postgres(url)
            .await
            .context("the PostgreSQL database")?,
        None => Store::sqlite(&options.data)
            .await
            .context("the database fleet.db")?,
    };
    let settings = Settings {
        data: options.data,
        public_url: options.public_url,
        repository: options.repository,
        repository_root: options.repository_root,
        content_url: options.content_url,
        poll_seconds: options.poll_seconds,
        polls_per_second: options.polls_per_second,
        downloads: options.downloads,
        approve_devices: options.approve_devices,
        turn_seconds: options.turn_seconds,
        proxies: Arc::new(Proxies {
            networks: options.trusted_proxy,
            device_header: options.proxy_device_header,
        }),
    };
    let app = App::load(settings, store, tls).await?;
    let first_token = if app.people().is_empty() {
        let admin = NewToken {
            name: "admin".into(),
            role: Role::Admin,
            days: None,
        };
        let token = give(&app, &admin, "first start").await;
        Some(token.map_err(|why| anyhow::anyhow!("the first token: {why:?}"))?)
    } else {
        None
    };
    app.fill(options.fill);
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = listener.local_addr()?;
    Ok(Ready {
        app,
        listener,
        scheme,
        _lock: lock,
        address,
        first_token,
    })
}

fn tls(options: &Serve) -> anyhow::Result<Option<Arc<Tls>>> {
    let (Some(certificate), Some(key)) = (&options.tls_certificate, &options.tls_key) else {
        return Ok(None);
    };
    let files = Files {
        certificate: certificate.clone(),
        key: key.clone(),
        device_ca: options.device_ca.clone(),
    };
    Ok(Some(Tls::open(files)?))
}

/// For its owner alone: webhooks' keys are in it. One that is there stays as it is.
pub(crate) fn make_data_directory(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("{} cannot be made", path.display()))
}

/// Nobody else may be at the same directory.
pub(crate) fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
    file.try_lock()
        .with_context(|| format!("another server is at {}", data.display()))?;
    Ok(file)
}

impl Ready {
    /// Answers until the process ends.
    ///
    /// # Errors
    /// The listener is broken.
    pub async fn run(self) -> anyhow::Result<()> {
        serve::start_tasks(&self.app);
        if let Some(tls) = &self.app.tls {
            tokio::spawn(tls.clone().follow());
        }
        Ok(serve::serve(self.app, self.listener).await?)
    }
}
