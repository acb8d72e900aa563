//! All of it in this process.

use std::fmt;
use std::io::{BufReader, Read};

use switchback_types::{ProductName, Version};
use switchback_update_core::InstallFailure;

use super::{Fetcher, Order};
use crate::fetch::{Bundle, BundlePlace, FetchError, Files, Source};
use crate::install::{Installed, Installer};
use crate::report::chain;

/// Opens a bundle's address.
pub type Opener = dyn Fn(&str) -> Result<Box<dyn Read + Send>, FetchError> + Send;

/// A repository, and a bundle if one is open.
pub struct Inside {
    source: Box<dyn Source>,
    opener: Box<Opener>,
    bundle: Option<Bundle>,
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside")
            .field("bundle", &self.bundle)
            .finish_non_exhaustive()
    }
}

impl Inside {
    /// Fetches from `source`; bundles have no addresses.
    #[must_use]
    pub fn new(source: Box<dyn Source>) -> Self {
        Self::with(
            source,
            Box::new(|url| {
                Err(FetchError::Missing {
                    url: url.into(),
                    status: 404,
                })
            }),
        )
    }

    /// Fetches from `source`, and bundles by `opener`.
    #[must_use]
    pub fn with(source: Box<dyn Source>, opener: Box<Opener>) -> Self {
        Self {
            source,
            opener,
            bundle: None,
        }
    }

    /// The bundle that is open, or the repository.
    pub(super) fn content(&self, bundled: bool) -> &dyn Source {
        match &self.bundle {
            Some(bundle) if bundled => bundle,
            _ => &*self.source,
        }
    }
}

impl Fetcher for Inside {
    fn repository(&self) -> &dyn Files {
        &*self.source
    }

    fn open_bundle(&mut self, place: BundlePlace) -> Result<(ProductName, Version), String> {
        self.bundle = None;
        let (name, reader): (_, Box<dyn Read + Send>) = match place {
            BundlePlace::File { name, file } => (name, Box::new(BufReader::new(file))),
            BundlePlace::Url(url) => {
                let reader = (self.opener)(&url).map_err(|error| chain(&error))?;
                (url, reader)
            }
        };
        let bundle = Bundle::open(&name, reader).map_err(|error| chain(&error))?;
        let brings = bundle.release().map_err(|error| chain(&error))?;
        self.bundle = Some(bundle);
        Ok(brings)
    }

    fn bundle(&self) -> Option<&dyn Files> {
        self.bundle.as_ref().map(|bundle| bundle as &dyn Files)
    }

    fn close_bundle(&mut self) {
        self.bundle = None;
    }

    fn install(&mut self, order: Order<'_>) -> Result<Installed, InstallFailure> {
        let mut proof = None;
        let cancel = order.cancel;
        let fetched = Installer {
            source: self.content(order.bundled),
            cancel,
            chosen: order.chosen,
            progress: order.progress,
            pause: order.pause,
            layout: order.layout,
            running: order.running,
            begun: order.begun,
            lost: None,
            prove: &mut |synced, image, progress| {
                proof = Some(synced.verify(image, cancel, progress)?);
                Ok(())
            },
        }
        .run(order.release.document())?;
        Installed::proven(proof, fetched)
    }
}
