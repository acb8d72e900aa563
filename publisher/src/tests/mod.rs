//! Tests over whole repositories: what devices see, which rules hold, and what is left when the
//! power goes.

mod crash;
mod device;
mod keys;
mod rules;
mod world;
