//! The power goes at every durable step: devices never see half of anything, and running the
//! same verb again finishes the work.

use std::path::Path;

use crate::edit::Edit;
use crate::error::RepoError;
use crate::init::{init, init_locked};
use crate::release::publish_in;
use crate::role::Lifetimes;
use crate::store::{Cut, Store};

use super::world::{Device, World, noise};

const CUTS: [Cut; 2] = [Cut::Before, Cut::After];

/// The images of two releases that share no blob, but enough for a delta.
fn images() -> [Vec<u8>; 2] {
    let one = noise(1, 100_000);
    let two = [&one[..], &noise(2, 50_000)].concat();
    [one, two]
}

/// One release on a channel.
fn base() -> World {
    let world = World::new();
    world.publish(&world.request("1.0", &images()[0])).unwrap();
    world
}

/// Publishes 2.0 and dies at a step; says whether it got through instead.
fn interrupted_publish(world: &World, step: u32, cut: Cut) -> bool {
    let request = world.request("2.0", &images()[1]);
    let mut edit = Edit::begin(&world.place()).unwrap();
    edit.store().cut_at(step, cut);
    match publish_in(&mut edit, &request, &|_| {}) {
        Ok(_) => true,
        Err(RepoError::Io {
            doing: "go on after",
            ..
        }) => false,
        Err(error) => panic!("step {step}, {cut:?}: {error}"),
    }
}

/// Whatever happened: all that is signed is there and whole, and a device can install from it.
fn check_consistent(world: &World) -> String {
    let report = world.inspect();
    assert_eq!(report.problems, Vec::<String>::new());
    let (channel, release) = Device::poll(world).follow("stable");
    assert!(!channel.halted);
    release.version.to_string()
}

#[test]
fn a_publish_that_dies_leaves_the_old_repository_and_can_be_run_again() {
    let base = base();
    let mut steps = 0;
    for cut in CUTS {
        for step in 0.. {
            let world = base.copy();
            if interrupted_publish(&world, step, cut) {
                steps = step;
                break;
            }
            let seen = check_consistent(&world);
            assert!(
                seen == "1.0" || (cut == Cut::After && seen == "2.0"),
                "step {step}: {seen}"
            );

            world.publish(&world.request("2.0", &images()[1])).unwrap();
            assert_eq!(check_consistent(&world), "2.0", "step {step}, {cut:?}");
            let leftovers: Vec<_> = world
                .files()
                .into_keys()
                .filter(|path| path.starts_with(".staging"))
                .collect();
            assert_eq!(
                leftovers,
                Vec::<std::path::PathBuf>::new(),
                "step {step}, {cut:?}"
            );
        }
    }
    // Three blobs, a delta, two documents, two roles, snapshot and timestamp.
    assert_eq!(steps, 10);
}

#[test]
fn a_second_cut_while_finishing_changes_nothing_about_that() {
    let base = base();
    for first in 0..10 {
        for second in 0..10 {
            let world = base.copy();
            interrupted_publish(&world, first, Cut::After);
            interrupted_publish(&world, second, Cut::Before);
            check_consistent(&world);
            world.publish(&world.request("2.0", &images()[1])).unwrap();
            assert_eq!(
                check_consistent(&world),
                "2.0",
                "steps {first} and {second}"
            );
        }
    }
}

#[test]
fn an_init_that_dies_can_be_run_again() {
    let products = ["gw".parse().unwrap()];
    let lifetimes = Lifetimes::default();
    let mut steps = 0;
    for cut in CUTS {
        for step in 0.. {
            let world = World::empty();
            let place = world.place();
            let store = Store::lock(place.repo).unwrap();
            store.cut_at(step, cut);
            let done = init_locked(&store, &place, &products, &lifetimes).is_ok();
            drop(store);
            if done {
                steps = step;
                break;
            }
            let whole = Path::new(place.repo)
                .join("metadata/timestamp.json")
                .exists();
            match init(&place, &products, &lifetimes) {
                Ok(_) => assert!(!whole),
                Err(RepoError::RepositoryExists { .. }) => assert!(whole, "step {step}, {cut:?}"),
                Err(error) => panic!("step {step}, {cut:?}: {error}"),
            }
            world.publish(&world.request("1.0", b"image")).unwrap();
            assert_eq!(check_consistent(&world), "1.0");
        }
    }
    // Root, targets, releases, channels, flags, snapshot, timestamp.
    assert_eq!(steps, 7);
}
