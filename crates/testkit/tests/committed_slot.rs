//! What each boot contract promises about a slot that breaks after it was committed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use switchback_testkit::board::Bench;
use switchback_testkit::bootloader::Loader;
use switchback_testkit::machine::Machine;
use switchback_testkit::repository::Repository;
use switchback_testkit::scenario::{BOARDS, scenarios};
use switchback_testkit::world::{Session, World};
use switchback_types::SlotName;

/// More than any contract has tries for both slots.
const BOOTS: usize = 24;

/// How it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// Its kernel cannot be loaded.
    DoesNotLoad,
    /// Its kernel starts, and the daemon never does.
    DiesEarly,
}

/// The loader alone, again and again; the first slot that starts and is not the broken one.
fn another_slot(bench: &Bench, machine: &mut Machine, broken: SlotName) -> Option<SlotName> {
    (0..BOOTS).find_map(|_| {
        let slot = bench.run_loader(machine).start()?.slot;
        (slot != broken).then_some(slot)
    })
}

#[test]
fn it_is_left_where_every_boot_is_counted_and_started_for_ever_where_only_trials_are() {
    let repository = Arc::new(Repository::publish().unwrap());
    for (loader, tries) in BOARDS {
        let scenario = scenarios(loader, tries).remove(0);
        let repository = Arc::clone(&repository);
        let bench = Bench::new(repository, scenario);
        let world = World::new(
            bench.factory().unwrap(),
            Session::default(),
            bench.scenario.faults,
        );
        bench.live(&world).unwrap();
        let settled = world.live().machine.clone();
        assert_eq!(settled.truth.good, [Some(1), Some(2)], "{loader:?}");
        for broken in [Broken::DoesNotLoad, Broken::DiesEarly] {
            let mut machine = settled.clone();
            if broken == Broken::DoesNotLoad {
                let [_, b] = &mut machine.slots;
                b.write(0, &[0; 512]);
                b.sync();
            }
            // U-Boot's own boot count guards trials only: boot/u-boot/README.md.
            let expected = (loader != Loader::Bootcount).then_some(SlotName::A);
            assert_eq!(
                another_slot(&bench, &mut machine, SlotName::B),
                expected,
                "{loader:?}, {tries} tries, {broken:?}"
            );
        }
    }
}
