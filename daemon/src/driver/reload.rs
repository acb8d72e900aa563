//! A configuration that was read anew, while the daemon runs.

use super::Driver;
use crate::fetcher::Fetcher;
use crate::settings::Settings;
use crate::worker::Job;

/// A configuration that was read anew, and who fetches by it.
pub struct Reloaded {
    /// Validated.
    pub settings: Settings,
    /// By these settings.
    pub fetcher: Box<dyn Fetcher>,
}

impl std::fmt::Debug for Reloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloaded")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Takes it at once, or when what is under way is done: an install goes on as it began.
    pub(super) fn reload(&mut self, reloaded: Box<Reloaded>) {
        self.reloaded = Some(reloaded);
        self.take_reloaded();
    }

    /// Takes what waits, if nothing is under way.
    pub(super) fn take_reloaded(&mut self) {
        if self.polling || self.working {
            return;
        }
        let Some(reloaded) = self.reloaded.take() else {
            return;
        };
        let Reloaded {
            mut settings,
            fetcher,
        } = *reloaded;
        let now = &self.parts.settings;
        let mut kept = Vec::new();
        // What the daemon found with them when it started stays found: devices, files, locks.
        if settings.slots != now.slots {
            kept.push("slots");
            settings.slots = now.slots.clone();
        }
        if settings.boot != now.boot {
            kept.push("boot");
            settings.boot = now.boot.clone();
        }
        if settings.state_directory != now.state_directory {
            kept.push("state.directory");
            settings.state_directory.clone_from(&now.state_directory);
        }
        if settings.bus_group != now.bus_group {
            kept.push("bus.group");
            settings.bus_group.clone_from(&now.bus_group);
        }
        if settings.metrics != now.metrics {
            kept.push("metrics");
            settings.metrics = now.metrics.clone();
        }
        if settings.traces != now.traces {
            kept.push("traces");
            settings.traces.clone_from(&now.traces);
        }
        if settings.fleet != now.fleet {
            kept.push("fleet");
            settings.fleet.clone_from(&now.fleet);
        }
        if settings.repository.root_file != now.repository.root_file {
            kept.push("repository.root-file");
            let file = &now.repository.root_file;
            settings.repository.root_file.clone_from(file);
        }
        match kept.is_empty() {
            true => tracing::info!("the configuration was read anew"),
            false => tracing::warn!(
                "the configuration was read anew; what is new in {} counts after `systemctl \
                 restart switchbackd`",
                kept.join(", ")
            ),
        }
        self.parts.settings = settings;
        let device = self.parts.settings.device.clone();
        self.work(Job::Settings { device, fetcher });
        // What it says now may be wanted at once, or not any more.
        self.next_poll = self.parts.host.uptime();
    }
}
