//! The repository's server, as the device meets it.

use std::io::Read;

use switchbackd::fetch::{FetchError, Files, Source};

use crate::board::Bench;
use crate::repository::{self, ServerFault};
use crate::world::World;

/// Polls during which a fault of the server lasts.
pub(crate) const FAULTY_POLLS: u32 = 3;
/// The repository's server, as it is at the moment of each request.
#[derive(Debug)]
pub(super) struct Server {
    bench: Bench,
    world: World,
}

impl Server {
    pub(super) const fn new(bench: Bench, world: World) -> Self {
        Self { bench, world }
    }

    fn now(&self) -> repository::Server {
        let (published, polls) = {
            let truth = &self.world.live().machine.truth;
            (truth.published, truth.polls)
        };
        let faults = &self.bench.scenario.faults;
        let fault = match faults.server_stays || polls <= FAULTY_POLLS {
            true => faults.server,
            false => ServerFault::None,
        };
        let deltas = self.bench.scenario.deltas;
        self.bench.repository.server(published, deltas, fault)
    }
}

impl Files for Server {
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        // Each poll begins by asking for the next root.
        if path.ends_with(".root.json") {
            self.world.live().machine.truth.polls += 1;
        }
        self.now().file(path, limit)
    }

    fn url(&self, path: &str) -> String {
        self.now().url(path)
    }
}

impl Source for Server {
    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        self.now().stream(path, offset)
    }
}
