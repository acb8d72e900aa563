//! Whose keys sign what, and where they may lie.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::error::RepoError;
use crate::exit::ExitKind;
use crate::init::init;
use crate::keys::{KeyError, Keys};
use crate::refresh::refresh;
use crate::role::{Lifetimes, Role};

use super::world::{Device, World, two_releases};

#[test]
fn publishing_needs_no_offline_key() {
    let world = two_releases();
    let keys = Keys::new(world.place().keys);
    for role in [Role::Root, Role::Targets] {
        fs::remove_file(keys.path(role)).unwrap();
    }
    world.publish(&world.request("3", b"3")).unwrap();
    let error = refresh(&world.place(), &[Role::Targets]).unwrap_err();
    assert!(
        matches!(
            error,
            RepoError::KeyMissing {
                role: Role::Targets,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.exit_kind(), ExitKind::Keys);
}

#[test]
fn keys_that_are_open_foreign_or_broken_are_refused() {
    let world = two_releases();
    let path = Keys::new(world.place().keys).path(Role::Releases);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = world.publish(&world.request("3", b"3")).unwrap_err();
    assert!(
        matches!(error, RepoError::KeyMode { mode: 0o640, .. }),
        "{error}"
    );

    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(Keys::new(world.place().keys).path(Role::Snapshot), &path).unwrap();
    let before = Device::poll(&world).follow("stable").1.version.clone();
    let error = world.publish(&world.request("3", b"3")).unwrap_err();
    assert!(
        matches!(
            error,
            RepoError::Keys(KeyError::TooFewSignatures {
                role: Role::Releases,
                have: 0,
                need: 1,
            })
        ),
        "{error}"
    );
    assert_eq!(Device::poll(&world).follow("stable").1.version, before);

    fs::write(&path, "not a key").unwrap();
    let error = world.publish(&world.request("3", b"3")).unwrap_err();
    assert!(matches!(error, RepoError::KeyUnusable { .. }), "{error}");
}

#[test]
fn new_keys_are_closed_to_others_and_are_not_shown() {
    let world = World::new();
    let keys = Keys::new(world.place().keys);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(world.place().keys), 0o700);
    for role in Role::ALL {
        assert_eq!(mode(&keys.path(role)), 0o600, "{role}");
        let text = fs::read_to_string(keys.path(role)).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----"), "{role}");
    }
    let shown = format!("{:?}", keys.load(Role::Root).unwrap());
    assert!(
        shown.contains("root.pem") && !shown.contains("bytes"),
        "{shown}"
    );
}

#[test]
fn init_protects_keys_and_repositories_that_exist() {
    let world = World::new();
    let products = ["gw".parse().unwrap()];
    let lifetimes = Lifetimes::default();
    let error = init(&world.place(), &products, &lifetimes).unwrap_err();
    assert!(
        matches!(error, RepoError::RepositoryExists { .. }),
        "{error}"
    );

    let second = world.path("second");
    let mut place = world.place();
    place.repo = &second;
    let error = init(&place, &products, &lifetimes).unwrap_err();
    assert!(matches!(error, RepoError::KeysTaken { .. }), "{error}");

    let inside = second.join("private/keys");
    place.keys = &inside;
    let error = init(&place, &products, &lifetimes).unwrap_err();
    assert!(
        matches!(error, RepoError::KeysInsideRepository { .. }),
        "{error}"
    );
    assert!(!inside.exists());
}

#[test]
fn a_repository_with_another_root_is_not_signed_for() {
    let ours = two_releases();
    let theirs = World::new();
    fs::remove_dir_all(ours.path("repo")).unwrap();
    fs::rename(theirs.path("repo"), ours.path("repo")).unwrap();
    let before = ours.files();
    let error = ours.publish(&ours.request("3", b"3")).unwrap_err();
    assert!(matches!(error, RepoError::Metadata { .. }), "{error}");
    assert_eq!(error.exit_kind(), ExitKind::Repository);
    assert_eq!(ours.files(), before);
}

#[test]
fn the_lifetimes_given_to_init_hold_for_later_verbs() {
    let world = World::empty();
    let lifetimes = Lifetimes {
        timestamp: "12h".parse().unwrap(),
        ..Lifetimes::default()
    };
    init(&world.place(), &["gw".parse().unwrap()], &lifetimes).unwrap();
    let refreshed = refresh(&world.place(), &[Role::Timestamp]).unwrap();
    assert_eq!(refreshed.roles.len(), 1);
    assert_eq!(
        refreshed.roles[0].expires,
        world.now.plus_seconds(12 * 3600)
    );
}
