//! A client with a directory of its own and plain HTTP, around the device's sans-IO one: what the public
//! conformance suite for TUF clients asks for. Nothing of it runs on a device.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use switchback_tuf::{
    Answer, Exchange, Freshness, Limits, Refresh, Refreshed, Role, TargetInfo, TrustedState, Want,
};
use switchback_types::{TargetPath, Timestamp};

/// The memory of the device's client; not `*.json`, as the suite takes all of those for metadata.
const STATE: &str = "trusted.state";
/// What stays as it is in the name of a file.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~');

/// A client, and where it keeps what it trusts.
#[derive(Debug)]
pub struct Client {
    directory: PathBuf,
    /// Where metadata is served, with a slash at the end.
    metadata_url: String,
    now: Timestamp,
}

impl Client {
    /// `now` is the clock's time.
    #[must_use]
    pub fn new(directory: &Path, metadata_url: &str, now: Timestamp) -> Self {
        Self {
            directory: directory.into(),
            metadata_url: with_slash(metadata_url),
            now,
        }
    }

    /// Begins to trust a root.
    ///
    /// # Errors
    /// It is not one that vouches for itself, or cannot be kept.
    pub fn init(&self, root: &[u8]) -> anyhow::Result<()> {
        self.store(&TrustedState::from_root(root, Timestamp::EPOCH)?)
    }

    /// Brings the four top-level roles up to date.
    ///
    /// # Errors
    /// Any of them is missing, not trusted, or has expired.
    pub fn refresh(&self) -> anyhow::Result<Refreshed> {
        let file = self.directory.join(STATE);
        let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
        let state = TrustedState::from_bytes(&bytes)?;
        let mut refresh = Refresh::start(state, Limits::default(), Some(self.now));
        let driven = self.drive(&mut refresh);
        self.store(refresh.state())?;
        driven?;
        let refreshed = refresh.finish()?;
        if let Freshness::Stale(staleness) = refreshed.freshness() {
            bail!("{staleness}");
        }
        Ok(refreshed)
    }

    /// Finds artifacts, one after another, fetches those that are not there, and keeps them in `directory`.
    ///
    /// # Errors
    /// As soon as one of them is not found, not trusted or cannot be kept.
    pub fn download(&self, names: &[String], url: &str, directory: &Path) -> anyhow::Result<()> {
        let mut refreshed = self.refresh()?;
        for name in names {
            let path: TargetPath = name.parse()?;
            let found = self.find(&mut refreshed, path);
            self.store(refreshed.state())?;
            let found = found?.with_context(|| format!("{name}: nobody speaks about it"))?;
            let file = directory.join(quoted(name));
            if fs::read(&file).is_ok_and(|bytes| found.verify(bytes).is_ok()) {
                continue;
            }
            let address = format!("{}{}", with_slash(url), found.url_path()?);
            let bytes = get(&address, found.length())?
                .with_context(|| format!("{address}: is not there"))?;
            let verified = found.verify(bytes)?;
            replace(&file, verified.bytes())?;
        }
        Ok(())
    }

    fn find(
        &self,
        refreshed: &mut Refreshed,
        path: TargetPath,
    ) -> anyhow::Result<Option<TargetInfo>> {
        let mut lookup = refreshed.lookup(path)?;
        self.drive(&mut lookup)?;
        Ok(lookup.finish()?)
    }

    fn drive(&self, exchange: &mut dyn Exchange) -> anyhow::Result<()> {
        while let Want::File(request) = exchange.poll() {
            let url = format!("{}{}", self.metadata_url, request.name);
            exchange.feed(match get(&url, request.max_length)? {
                Some(bytes) => Answer::File(bytes),
                None => Answer::Missing,
            })?;
        }
        Ok(())
    }

    /// Writes the state, and each document that is trusted, as it came; no others stay.
    fn store(&self, state: &TrustedState) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory)?;
        replace(&self.directory.join(STATE), &state.to_bytes())?;
        let mut names = Vec::new();
        for (role, bytes) in state.documents() {
            let name = document(&role);
            replace(&self.directory.join(&name), bytes)?;
            names.push(name);
        }
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".json") && !names.iter().any(|kept| *kept == name) {
                fs::remove_file(self.directory.join(&*name))?;
            }
        }
        Ok(())
    }
}

/// The name of the file that holds what is trusted of a role.
#[must_use]
pub fn document(role: &Role) -> String {
    format!("{}.json", quoted(role.as_str()))
}

fn quoted(name: &str) -> String {
    utf8_percent_encode(name, KEPT).to_string()
}

fn with_slash(url: &str) -> String {
    format!("{}/", url.trim_end_matches('/'))
}

/// Nothing of a half-written file is ever seen under its name.
fn replace(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let said = || file.display().to_string();
    let parent = file.parent().with_context(said)?;
    fs::create_dir_all(parent).with_context(said)?;
    let beside = parent.join(".new");
    fs::write(&beside, bytes).with_context(said)?;
    fs::rename(&beside, file).with_context(said)
}

/// What is served there: a byte more than `most` at the longest, so that too much is seen; nothing if it is
/// not there.
fn get(url: &str, most: u64) -> anyhow::Result<Option<Vec<u8>>> {
    // The suite's server is on this machine, whatever the environment says about proxies.
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into();
    let answer = agent.get(url).call()?;
    match answer.status().as_u16() {
        200 => {
            let mut bytes = Vec::new();
            let reader = answer.into_body().into_reader();
            reader
                .take(most.saturating_add(1))
                .read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        404 => Ok(None),
        status => bail!("{url}: the server answered with status {status}"),
    }
}
