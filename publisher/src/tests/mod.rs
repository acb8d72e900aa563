//! Tests over whole repositories: what devices see, which rules hold, and what is left when the
//! power goes.

mod bundles;
mod chunks;
mod collecting;
mod crash;
mod deltas;
mod device;
pub(crate) mod images;
mod keys;
mod looking;
mod rules;
mod world;
