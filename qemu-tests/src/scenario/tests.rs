//! What must happen on the board happens in the simulator.

use std::sync::Arc;

use switchback_testkit::board::Bench;
use switchback_testkit::repository::Repository;
use switchback_testkit::world::{Session, World};
use switchback_update_core::Outcome;

use super::{End, scenarios_for};
use crate::product::Contract;

#[test]
fn simulator_and_board_must_end_alike() {
    let repository = Arc::new(Repository::publish().unwrap());
    for contract in [
        Contract::SwitchbackGrub,
        Contract::RaucGrub,
        Contract::RaucUboot,
    ] {
        let scenarios = scenarios_for(contract);
        let uncut = scenarios.iter().filter(|scenario| scenario.cut.is_none());
        for scenario in uncut {
            let name = format!("{} ({contract:?})", scenario.story.name);
            let bench = Bench::new(Arc::clone(&repository), scenario.story.clone());
            let machine = bench.factory().unwrap();
            let world = World::new(machine, Session::default(), scenario.story.faults);
            let state = bench.live(&world).unwrap();
            let running = world.live().session.version;
            let last = state.history.last().map(|entry| &entry.outcome);
            let agrees = match &scenario.end {
                End::Committed { on_try: 1 } => running == 2 && last == Some(&Outcome::Committed),
                End::Committed { .. } | End::Returned => false,
                End::RolledBack { because, .. } => {
                    let why = last.map(ToString::to_string).unwrap_or_default();
                    running == 1 && why.starts_with("rolled back") && why.contains(because)
                }
                // Tried or not even that, nothing was armed.
                End::Refused { .. } => {
                    let only_failed = state
                        .history
                        .iter()
                        .all(|entry| matches!(entry.outcome, Outcome::Failed(_)));
                    running == 1 && only_failed && state.failed.is_empty()
                }
            };
            assert!(agrees, "{name}: version {running}, {last:?}");
        }
    }
}
