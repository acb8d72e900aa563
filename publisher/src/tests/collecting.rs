//! `gc`: what goes, what stays, and what is left when the power goes meanwhile.

use crate::channel::{self, ChannelRequest};
use crate::edit::Edit;
use crate::error::RepoError;
use crate::gc::{Collected, Freed, GcRequest, gc, gc_in};
use crate::store::Cut;

use super::deltas::{apply, image, line};
use super::world::{Device, World};

fn collect(world: &World, keep: u32) -> Collected {
    let request = GcRequest {
        keep,
        dry_run: false,
    };
    gc(&world.place(), &request).unwrap()
}

fn removed(collected: &Collected) -> Vec<String> {
    let removed = collected.removed.iter();
    removed.map(|release| release.version.to_string()).collect()
}

fn count(world: &World, directory: &str) -> usize {
    let files = world.files().into_keys();
    files.filter(|path| path.starts_with(directory)).count()
}

/// Everything that is signed is there, and the newest release can be installed.
fn check(world: &World, newest: u64) {
    assert_eq!(world.inspect().problems, Vec::<String>::new());
    let (_, release) = Device::poll(world).follow("stable");
    assert_eq!(release.version.as_str(), newest.to_string());
    let delta = release.deltas.first().unwrap();
    assert!(apply(world, &release, delta, &image(newest - 1)) == image(newest));
}

#[test]
fn old_releases_go_with_all_that_only_they_need() {
    let world = line(5);
    let before = count(&world, "content");
    let collected = collect(&world, 2);
    assert_eq!(removed(&collected), ["1", "2", "3"]);
    assert_eq!(collected.kept, 2);
    // Segment list, frame table and pack of each; 3 = 0 + 1 + 2 deltas to them.
    assert_eq!(collected.blobs.files, 12);
    assert_eq!(count(&world, "content"), before - 12);
    // Three releases, and four older versions of the channel.
    assert_eq!(collected.documents.files, 7);
    assert_eq!(count(&world, "targets"), 3);
    // Two versions of four roles, one root, the flags and the timestamp.
    assert_eq!(count(&world, "metadata"), 10);
    check(&world, 5);

    let again = collect(&world, 2);
    assert_eq!(removed(&again), Vec::<String>::new());
    assert_eq!(again.blobs, Freed::default());
    assert_eq!(again.documents, Freed::default());
}

#[test]
fn what_a_channel_names_stays() {
    let world = line(3);
    let request = ChannelRequest {
        product: None,
        channel: "old".parse().unwrap(),
        version: Some("1".parse().unwrap()),
        allow_downgrade: false,
        halted: None,
        expires: None,
    };
    channel::set(&world.place(), &request).unwrap();
    assert_eq!(removed(&collect(&world, 1)), ["2"]);
    let (_, release) = Device::poll(&world).follow("old");
    assert_eq!(release.version.as_str(), "1");
    check(&world, 3);
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let world = line(4);
    let before = world.files();
    let request = GcRequest {
        keep: 1,
        dry_run: true,
    };
    let mut said = gc(&world.place(), &request).unwrap();
    assert_eq!(world.files(), before);
    said.dry_run = false;
    let done = collect(&world, 1);
    assert_eq!((said.removed, said.blobs), (done.removed, done.blobs));
    assert_eq!((said.kept, said.documents), (done.kept, done.documents));
}

#[test]
fn a_blob_that_two_releases_share_stays_for_the_other() {
    let world = line(2);
    world.publish(&world.request("3", &image(1))).unwrap();
    assert_eq!(removed(&collect(&world, 1)), ["1", "2"]);
    assert_eq!(world.inspect().problems, Vec::<String>::new());
}

#[test]
fn files_of_others_and_every_root_stay() {
    let world = line(2);
    let mine = world.path("repo/content/robots.txt");
    std::fs::write(&mine, "none").unwrap();
    collect(&world, 1);
    assert!(mine.exists());
    assert!(world.path("repo/metadata/1.root.json").exists());
}

#[test]
fn nothing_goes_when_a_document_cannot_be_read() {
    let world = line(3);
    let files = world.files();
    let document = files
        .keys()
        .find(|path| path.to_string_lossy().ends_with("release.json"))
        .unwrap();
    std::fs::write(world.path("repo").join(document), "{}").unwrap();
    let before = world.files();
    let request = GcRequest {
        keep: 1,
        dry_run: false,
    };
    let error = gc(&world.place(), &request).unwrap_err();
    assert!(matches!(error, RepoError::Damaged { .. }), "{error}");
    assert_eq!(world.files(), before);
}

/// Collects and dies at a step; says whether it got through instead.
fn interrupted(world: &World, step: u32, cut: Cut) -> bool {
    let mut edit = Edit::begin(&world.place()).unwrap();
    edit.store().cut_at(step, cut);
    let request = GcRequest {
        keep: 1,
        dry_run: false,
    };
    match gc_in(&mut edit, &request) {
        Ok(_) => true,
        Err(RepoError::Io {
            doing: "go on after",
            ..
        }) => false,
        Err(error) => panic!("step {step}, {cut:?}: {error}"),
    }
}

#[test]
fn a_run_that_dies_leaves_a_whole_repository_and_the_next_one_finishes() {
    let base = line(3);
    let done = base.copy();
    collect(&done, 1);
    for cut in [Cut::Before, Cut::After] {
        for step in 0.. {
            let world = base.copy();
            if interrupted(&world, step, cut) {
                // Three roles are signed, then files go one by one.
                assert!(step > 12, "{step}");
                break;
            }
            check(&world, 3);
            collect(&world, 1);
            check(&world, 3);
            let names = |world: &World, directory: &str| -> Vec<_> {
                let files = world.files().into_keys();
                files.filter(|path| path.starts_with(directory)).collect()
            };
            assert_eq!(names(&world, "content"), names(&done, "content"));
            assert_eq!(names(&world, "targets"), names(&done, "targets"));
        }
    }
}

#[test]
fn a_device_in_the_middle_of_a_refresh_finds_what_it_asks_for() {
    let world = line(3);
    let mut device = Device::poll(&world);
    collect(&world, 1);
    let (_, release) = device.follow("stable");
    assert_eq!(release.version.as_str(), "3");
    let pack = world.path("repo").join(release.full.blob.path());
    assert!(pack.exists());
}
