//! What the publisher refuses, and that it then changed nothing.

use std::fs;

use switchback_manifest::ImageFormat;
use switchback_types::Timestamp;

use crate::channel::{self, ChannelRequest};
use crate::error::RepoError;
use crate::exit::ExitKind;
use crate::init::init;
use crate::inspect::{FileReport, inspect_file};
use crate::refresh::refresh;
use crate::release::PublishRequest;
use crate::role::{Lifetime, Lifetimes, Role};
use crate::store::Store;

use super::world::{Device, World, noise, now, two_releases};

fn channel_request(version: Option<&str>) -> ChannelRequest {
    ChannelRequest {
        product: None,
        channel: "stable".parse().unwrap(),
        version: version.map(|version| version.parse().unwrap()),
        allow_downgrade: false,
        halted: None,
        expires: None,
    }
}

#[test]
fn papers_are_looked_at_signed_and_kept() {
    use sha2::{Digest as _, Sha256};
    let world = two_releases();
    let write = |name: &str, value: serde_json::Value| {
        let path = world.path(name);
        fs::write(&path, value.to_string()).unwrap();
        path
    };
    let statement = |digest: &str| {
        serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "image", "digest": {"sha256": digest}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {},
        })
    };
    let digest = hex::encode(Sha256::digest(b"3"));
    let sbom = write("sbom", serde_json::json!({"spdxVersion": "SPDX-2.3"}));
    let about_it = write("about it", statement(&digest));
    let no_json = world.path("no json");
    fs::write(&no_json, "SPDX").unwrap();
    let request = |sbom: &std::path::Path, provenance: &std::path::Path| PublishRequest {
        sbom: Some(sbom.into()),
        provenance: Some(provenance.into()),
        ..world.request("3", b"3")
    };
    for (sbom, provenance, part) in [
        (
            &sbom,
            &write("other", statement(&"0".repeat(64))),
            "the image is",
        ),
        (
            &sbom,
            &write("payload", serde_json::json!({"payload": ""})),
            "a signed envelope",
        ),
        (&sbom, &sbom, "no in-toto statement"),
        (&about_it, &about_it, "neither SPDX nor CycloneDX"),
        (&no_json, &about_it, "is not JSON"),
    ] {
        let error = world.publish(&request(sbom, provenance)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.exit_kind(), ExitKind::Input);
    }
    let release = world.publish(&request(&sbom, &about_it)).unwrap().release;
    for (paper, file) in [(release.sbom, &sbom), (release.provenance, &about_it)] {
        let stored = world.path("repo").join(paper.unwrap().path());
        assert_eq!(fs::read(stored).unwrap(), fs::read(file).unwrap());
    }
    // What is named is not collected, and missing it is noticed.
    crate::gc::gc(
        &world.place(),
        &crate::gc::GcRequest {
            keep: 1,
            dry_run: false,
        },
    )
    .unwrap();
    assert_eq!(world.inspect().problems, Vec::<String>::new());
    fs::remove_file(world.path("repo").join(release.sbom.unwrap().path())).unwrap();
    assert_eq!(world.inspect().problems.len(), 1);
}

#[test]
fn what_a_release_requires_must_be_an_older_release() {
    let world = two_releases();
    let request = |version: &str, requires: &str, sequence| PublishRequest {
        requires: Some(requires.parse().unwrap()),
        sequence,
        force_sequence: None,
        ..world.request(version, version.as_bytes())
    };
    let error = world.publish(&request("3", "9", None)).unwrap_err();
    assert!(matches!(error, RepoError::NoSuchRelease { .. }), "{error}");
    let published = world.publish(&request("3", "2", None)).unwrap();
    let requires = published.release.requires.unwrap();
    assert_eq!((requires.version.as_str(), requires.sequence), ("2", 20));
    // The same again is no change, another one would be.
    assert!(world.publish(&request("3", "2", None)).unwrap().unchanged);
    let error = world.publish(&request("3", "1", None)).unwrap_err();
    assert!(matches!(error, RepoError::VersionTaken { .. }), "{error}");
}

#[test]
fn a_published_version_never_changes() {
    type Change = fn(&mut PublishRequest);
    let world = two_releases();
    let changes: [(&str, Change); 5] = [
        ("sequence", |request| request.sequence = Some(30)),
        ("security epoch", |request| request.security_epoch = Some(7)),
        ("format", |request| request.format = Some(ImageFormat::Ext4)),
        ("compatible", |request| {
            request.compatible.push("other".parse().unwrap());
        }),
        ("kernel id", |request| {
            request.kernel_id = Some("ab".repeat(32).parse().unwrap());
        }),
    ];
    let before = world.files();
    for (field, change) in changes {
        let mut request = world.request("2", b"2");
        change(&mut request);
        let error = world.publish(&request).unwrap_err();
        assert!(
            matches!(error, RepoError::VersionTaken { .. }),
            "{field}: {error}"
        );
        assert!(error.to_string().contains(field), "{field}: {error}");
    }
    let error = world
        .publish(&world.request("2", b"other bytes"))
        .unwrap_err();
    assert!(error.to_string().contains("its image is"), "{error}");
    assert_eq!(error.exit_kind(), ExitKind::Refused);
    assert_eq!(world.files(), before);
}

#[test]
fn publishing_the_same_again_writes_nothing() {
    let world = two_releases();
    let before = world.files();
    let published = world.publish(&world.request("2", b"2")).unwrap();
    assert!(published.unchanged);
    assert_eq!(world.files(), before);
}

#[test]
fn sequence_numbers_go_up_unless_a_reason_is_signed() {
    let world = two_releases();
    let mut request = world.request("3", b"3");
    request.sequence = Some(10);
    let error = world.publish(&request).unwrap_err();
    assert!(matches!(error, RepoError::SequenceTaken { .. }), "{error}");
    request.sequence = Some(15);
    let error = world.publish(&request).unwrap_err();
    assert!(
        matches!(error, RepoError::SequenceNotIncreasing { last: 20, .. }),
        "{error}"
    );

    request.channel = None;
    request.force_sequence = Some("maintenance of the 1 line".into());
    assert_eq!(world.publish(&request).unwrap().release.sequence, 15);
    let metadata = fs::read_to_string(world.path("repo/metadata/4.releases.json")).unwrap();
    assert!(metadata.contains("maintenance of the 1 line"));

    let next = world.publish(&world.request("4", b"4")).unwrap();
    assert_eq!(next.release.sequence, 21);
}

#[test]
fn the_security_epoch_stays_unless_it_is_raised() {
    let world = World::new();
    let mut request = world.request("1", b"1");
    assert_eq!(world.publish(&request).unwrap().release.security_epoch, 0);
    request = world.request("2", b"2");
    request.security_epoch = Some(4);
    world.publish(&request).unwrap();
    let published = world.publish(&world.request("3", b"3")).unwrap();
    assert_eq!(published.release.security_epoch, 4);
}

#[test]
fn unusable_images_and_notes_are_refused() {
    let world = World::new();
    let before = world.files();
    let error = world.publish(&world.request("1", b"")).unwrap_err();
    assert!(matches!(error, RepoError::ImageEmpty { .. }), "{error}");
    assert_eq!(error.exit_kind(), ExitKind::Input);

    let huge = world.request("1", b"x");
    let file = fs::File::options().write(true).open(&huge.image).unwrap();
    file.set_len((1 << 40) + 1).unwrap();
    let error = world.publish(&huge).unwrap_err();
    assert!(matches!(error, RepoError::ImageTooLarge { .. }), "{error}");

    let mut missing = world.request("1", b"x");
    missing.image = world.path("nothing");
    let error = world.publish(&missing).unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");

    let mut long = world.request("1", b"x");
    long.notes = Some(world.path("notes"));
    fs::write(world.path("notes"), "x".repeat(5000)).unwrap();
    let error = world.publish(&long).unwrap_err();
    assert!(
        matches!(error, RepoError::NotesTooLong { length: 5000, .. }),
        "{error}"
    );
    assert_eq!(world.files(), before);
}

#[test]
fn a_channel_goes_back_only_when_that_is_said() {
    let world = two_releases();
    let error = channel::set(&world.place(), &channel_request(Some("1"))).unwrap_err();
    assert!(
        matches!(error, RepoError::ChannelDowngrade { .. }),
        "{error}"
    );

    let mut back = channel_request(Some("1"));
    back.allow_downgrade = true;
    assert!(
        channel::set(&world.place(), &back)
            .unwrap()
            .channel
            .allow_downgrade
    );
    // The leave belongs to that release: it stays with it and ends with it.
    assert!(
        channel::set(&world.place(), &channel_request(Some("1")))
            .unwrap()
            .unchanged
    );
    let forward = channel::set(&world.place(), &channel_request(Some("2"))).unwrap();
    assert!(!forward.channel.allow_downgrade);
    assert_eq!(
        Device::poll(&world).follow("stable").1.version.as_str(),
        "2"
    );
}

#[test]
fn a_halted_channel_stays_halted_until_it_is_resumed() {
    let world = two_releases();
    let mut halt = channel_request(None);
    halt.halted = Some(true);
    channel::set(&world.place(), &halt).unwrap();
    world.publish(&world.request("3", b"3")).unwrap();
    let (channel, _) = Device::poll(&world).follow("stable");
    assert!(channel.halted && channel.release.version.as_str() == "3");
    halt.halted = Some(false);
    assert!(!channel::set(&world.place(), &halt).unwrap().channel.halted);
}

#[test]
fn what_does_not_exist_is_named_together_with_what_does() {
    let world = two_releases();
    let error = channel::set(&world.place(), &channel_request(Some("9"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no release of gw has version 9; published: 1, 2"
    );
    let mut unknown = channel_request(None);
    unknown.channel = "beta".parse().unwrap();
    unknown.halted = Some(true);
    let error = channel::set(&world.place(), &unknown).unwrap_err();
    assert!(matches!(error, RepoError::NoSuchChannel { .. }), "{error}");
    let mut request = world.request("3", b"3");
    request.product = Some("toaster".parse().unwrap());
    let error = world.publish(&request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the repository has no product toaster; it has gw"
    );
}

#[test]
fn several_products_are_kept_apart() {
    let world = World::empty();
    let products = ["gw".parse().unwrap(), "toaster".parse().unwrap()];
    init(&world.place(), &products, &Lifetimes::default()).unwrap();
    let mut request = world.request("1", b"1");
    let error = world.publish(&request).unwrap_err();
    assert!(matches!(error, RepoError::WhichProduct { .. }), "{error}");
    for product in &products {
        request.product = Some(product.clone());
        assert_eq!(world.publish(&request).unwrap().release.sequence, 1);
    }
    let report = world.inspect();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(
        report
            .products
            .iter()
            .all(|product| product.releases.len() == 1)
    );
}

#[test]
fn expired_roles_stop_a_publish_until_they_are_renewed() {
    let mut world = two_releases();
    world.now = now().plus_seconds(Lifetime::days(366).seconds());
    for role in [Role::Root, Role::Targets] {
        let error = world.publish(&world.request("3", b"3")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("refresh --role {role}")),
            "{error}"
        );
        assert_eq!(error.exit_kind(), ExitKind::Refused);
        refresh(&world.place(), &[role]).unwrap();
    }
    // The channels role is renewed by the publish itself, if it sets a channel.
    let mut request = world.request("3", b"3");
    request.channel = None;
    let error = world.publish(&request).unwrap_err();
    assert!(
        matches!(
            error,
            RepoError::Expired {
                role: Role::Channels,
                ..
            }
        ),
        "{error}"
    );
    world.publish(&world.request("3", b"3")).unwrap();
    assert_eq!(
        Device::poll(&world).follow("stable").1.version.as_str(),
        "3"
    );
}

#[test]
fn only_one_process_at_a_time_changes_a_repository() {
    let world = two_releases();
    let _held = Store::lock(world.place().repo).unwrap();
    let error = world.publish(&world.request("3", b"3")).unwrap_err();
    assert!(matches!(error, RepoError::Busy { .. }), "{error}");
    assert_eq!(error.exit_kind(), ExitKind::Busy);
}

#[test]
fn inspect_lists_everything_that_is_wrong() {
    let mut world = World::new();
    world
        .publish(&world.request("1", &noise(1, 100_000)))
        .unwrap();
    let release = Device::poll(&world).follow("stable").1;
    let repo = world.path("repo");
    fs::remove_file(repo.join(release.full.frames.path())).unwrap();
    let pack = repo.join(release.full.blob.path());
    let mut bytes = fs::read(&pack).unwrap();
    bytes[500] ^= 1;
    fs::write(&pack, bytes).unwrap();
    world.now = now().plus_seconds(Lifetime::days(15).seconds());

    let problems = world.inspect().problems.join("\n");
    for expected in [
        "the snapshot role ended",
        "the timestamp role ended",
        &format!("release 1: {} is missing", release.full.frames.path()),
        &format!("release 1: {} has the SHA-256", release.full.blob.path()),
    ] {
        assert!(
            problems.contains(expected),
            "{problems:?} lacks {expected:?}"
        );
    }
    // Publishing the same image again brings its content back.
    world
        .publish(&world.request("2", &noise(1, 100_000)))
        .unwrap();
    assert_eq!(world.inspect().problems, Vec::<String>::new());
}

#[test]
fn a_damaged_document_is_found_before_anything_is_signed() {
    let world = two_releases();
    let files = world.files();
    let document = files
        .keys()
        .find(|path| path.starts_with("targets/releases/gw/1"))
        .unwrap();
    fs::write(world.path("repo").join(document), b"{}").unwrap();
    let error = world.publish(&world.request("3", b"3")).unwrap_err();
    assert!(matches!(error, RepoError::Damaged { .. }), "{error}");
    assert_eq!(world.inspect().problems.len(), 2);
}

#[test]
fn inspect_recognises_files_by_what_they_say() {
    let world = two_releases();
    let repo = world.path("repo");
    let mut kinds = Vec::new();
    for path in world
        .files()
        .into_keys()
        .filter(|path| path.extension().is_some())
    {
        kinds.push(match inspect_file(&repo.join(path)).unwrap() {
            FileReport::Release(_) => "release",
            FileReport::Channel(_) => "channel",
            FileReport::Delta(_) => "delta",
            FileReport::Metadata(_) => "metadata",
        });
    }
    for kind in ["release", "channel", "metadata"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let other = world.path("other.json");
    fs::write(&other, r#"{ "schema": 1 }"#).unwrap();
    let error = inspect_file(&other).unwrap_err();
    assert!(matches!(error, RepoError::UnknownFile { .. }), "{error}");
}

#[test]
fn a_channel_document_can_have_an_end() {
    let mut world = two_releases();
    let mut request = channel_request(None);
    request.expires = Some(Timestamp::from_unix(now().unix() + 3600));
    channel::set(&world.place(), &request).unwrap();
    assert_eq!(world.inspect().problems, Vec::<String>::new());
    world.now = now().plus_seconds(3600);
    let problems = world.inspect().problems;
    assert!(
        problems
            .iter()
            .any(|p| p.contains("channel stable expired")),
        "{problems:?}"
    );
}
