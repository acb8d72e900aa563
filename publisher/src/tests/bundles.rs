//! Bundles: what is in them, in which order, and that a device needs nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

use switchback_types::Version;

use crate::bundle::{BundleRequest, Bundled, MAX_HEAD_BYTES, bundle};
use crate::channel::{self, ChannelRequest};
use crate::error::RepoError;
use crate::keys::Keys;
use crate::refresh::refresh;
use crate::repository::Repository;
use crate::role::Role;

use super::deltas::{apply, image, line};
use super::images;
use super::world::{Device, World};

/// Reads a bundle as a device does: headers in a row, nothing but regular files.
fn entries(bundle: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0);
        String::from_utf8(field[..end.unwrap_or(field.len())].to_vec()).unwrap()
    };
    let mut found = Vec::new();
    let mut at = 0;
    while bundle[at] != 0 {
        let header = &bundle[at..at + 512];
        assert_eq!(&header[257..265], b"ustar\x0000");
        assert_eq!(header[156], b'0');
        let length = usize::from_str_radix(&text(&header[124..136]), 8).unwrap();
        let prefix = text(&header[345..500]);
        let name = text(&header[..100]);
        let name = match prefix.as_str() {
            "" => name,
            prefix => format!("{prefix}/{name}"),
        };
        found.push((name, bundle[at + 512..at + 512 + length].to_vec()));
        at += 512 + length.next_multiple_of(512);
    }
    assert_eq!(bundle[at..], [0; 1024]);
    found
}

fn request(world: &World, version: &str, from: &[&str], full: bool) -> BundleRequest {
    BundleRequest {
        product: None,
        version: version.parse().unwrap(),
        from: from.iter().map(|from| from.parse().unwrap()).collect(),
        full,
        output: world.path("update.bundle"),
    }
}

fn make(world: &World, request: &BundleRequest) -> Result<Bundled, RepoError> {
    let root = Keys::new(world.place().keys).pinned_root().unwrap();
    let repository = Repository::open(world.place().repo, &root).unwrap();
    bundle(&repository, request, world.now)
}

/// Makes a bundle and a world that has nothing but what lies in it.
fn unpacked(world: &World, request: &BundleRequest) -> (World, Vec<String>) {
    let bundled = make(world, request).unwrap();
    let bytes = fs::read(&bundled.output).unwrap();
    assert_eq!(bytes.len() as u64, bundled.length);
    let stick = World::empty();
    let entries = entries(&bytes);
    for (name, bytes) in &entries {
        let path = stick.path("repo").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let keys = stick.path("keys");
    fs::create_dir(&keys).unwrap();
    let pinned = Keys::new(world.place().keys).pinned_root_path();
    fs::copy(&pinned, keys.join(pinned.file_name().unwrap())).unwrap();
    (stick, entries.into_iter().map(|(name, _)| name).collect())
}

#[test]
fn a_device_updates_from_a_delta_bundle_alone() {
    let world = line(3);
    let (stick, names) = unpacked(&world, &request(&world, "3", &["1"], false));
    let (_, release) = Device::poll(&stick).follow("stable");
    assert_eq!(release.version.as_str(), "3");
    let delta = release
        .deltas
        .iter()
        .find(|delta| stick.path("repo").join(delta.blob.path()).exists());
    assert!(apply(&stick, &release, delta.unwrap(), &image(1)) == image(3));
    // One delta and the segment list.
    let content = names.iter().filter(|name| name.starts_with("content/"));
    assert_eq!(content.count(), 2);
}

#[test]
fn entries_come_in_the_order_in_which_a_device_reads_them() {
    let world = line(3);
    refresh(&world.place(), &[Role::Root]).unwrap();
    let mut beta = ChannelRequest {
        product: None,
        channel: "beta".parse().unwrap(),
        version: Some("2".parse().unwrap()),
        allow_downgrade: false,
        halted: None,
        expires: None,
    };
    channel::set(&world.place(), &beta).unwrap();
    let (stick, names) = unpacked(&world, &request(&world, "3", &["1", "2"], true));
    let (_, release) = Device::poll(&stick).follow("stable");
    let file = |path: &str| {
        let signed = stick.files();
        let name = path.rsplit('/').next().unwrap().to_owned();
        let file = signed.into_keys().find(|file| {
            let file = file.to_str().unwrap();
            file.starts_with("targets/") && file.ends_with(&format!(".{name}"))
        });
        file.unwrap().to_str().unwrap().to_owned()
    };
    let wanted = [
        "bundle/content".to_owned(),
        "metadata/1.root.json".to_owned(),
        "metadata/2.root.json".to_owned(),
        "metadata/timestamp.json".to_owned(),
        "metadata/6.snapshot.json".to_owned(),
        "metadata/1.targets.json".to_owned(),
        "metadata/4.releases.json".to_owned(),
        "metadata/5.channels.json".to_owned(),
        file("channels/gw/beta.json"),
        file("channels/gw/stable.json"),
        file(release.path().as_str()),
        release.image.segments.path(),
        release.deltas[0].blob.path(),
        release.deltas[1].blob.path(),
        release.full.frames.path(),
        release.full.blob.path(),
    ];
    let shape = |names: &[String]| -> Vec<String> {
        // How often online roles were signed is not the point here.
        let plain = |name: &String| match name.strip_prefix("metadata/") {
            Some(file) if !file.ends_with("root.json") => {
                file.trim_start_matches(|c: char| c.is_ascii_digit()).into()
            }
            _ => name.clone(),
        };
        names.iter().map(plain).collect()
    };
    assert_eq!(shape(&names), shape(&wanted));
    beta.channel = "x".repeat(40).parse().unwrap();
    channel::set(&world.place(), &beta).unwrap();
    let bundled = make(&world, &request(&world, "3", &[], true)).unwrap();
    assert!(
        bundled.warnings[0].contains("its name is too long"),
        "{bundled:?}"
    );
    assert_eq!(bundled.channels, ["stable".parse().unwrap()]);
}

#[test]
fn the_same_repository_gives_the_same_bundle_and_other_tar_readers_agree() {
    let world = line(2);
    let wanted = request(&world, "2", &["1"], true);
    let first = make(&world, &wanted).unwrap();
    let bytes = fs::read(&first.output).unwrap();
    let second = make(&world.copy(), &request(&world, "2", &["1"], true)).unwrap();
    assert_eq!((first.sha256, first.length), (second.sha256, second.length));
    let mut tar = Command::new("tar");
    tar.args(["--list", "--file"]).arg(&first.output);
    let output = images::output(&mut tar).unwrap();
    assert!(output.status.success(), "{output:?}");
    let names: Vec<_> = entries(&bytes).into_iter().map(|(name, _)| name).collect();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
}

#[test]
fn without_a_version_to_come_from_the_whole_image_is_in_it() {
    let world = line(2);
    let (stick, names) = unpacked(&world, &request(&world, "2", &[], false));
    let (_, release) = Device::poll(&stick).follow("stable");
    assert_eq!(names.last(), Some(&release.full.blob.path()));
    assert!(!names.contains(&release.deltas[0].blob.path()));
}

#[test]
fn what_devices_would_refuse_is_refused_or_said() {
    let mut world = line(3);
    let error = make(&world, &request(&world, "3", &["3"], false)).unwrap_err();
    assert!(matches!(error, RepoError::NotInRelease { .. }), "{error}");
    assert!(error.to_string().contains("deltas from: 1, 2"), "{error}");
    let error = make(&world, &request(&world, "9", &[], false)).unwrap_err();
    assert!(matches!(error, RepoError::NoSuchRelease { .. }), "{error}");

    let bundled = make(&world, &request(&world, "2", &[], false)).unwrap();
    assert!(bundled.warnings[0].starts_with("no channel names version 2"));
    world.now = bundled.expires;
    let bundled = make(&world, &request(&world, "3", &[], false)).unwrap();
    assert!(
        bundled.warnings[0].contains("devices refuse it"),
        "{bundled:?}"
    );

    let version: Version = "3".parse().unwrap();
    let (_, release) = {
        world.now = super::world::now();
        Device::poll(&world).follow("stable")
    };
    assert_eq!(release.version, version);
    let output = world.path("update.bundle");
    fs::remove_file(&output).unwrap();
    let pack = world.path("repo").join(release.full.blob.path());
    let mut bytes = fs::read(&pack).unwrap();
    bytes[77] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let error = make(&world, &request(&world, "3", &[], false)).unwrap_err();
    assert!(matches!(error, RepoError::Damaged { .. }), "{error}");
    fs::remove_file(&pack).unwrap();
    let error = make(&world, &request(&world, "3", &[], false)).unwrap_err();
    assert!(matches!(error, RepoError::Missing { .. }), "{error}");
    assert!(!Path::new(&output).exists());
}

#[test]
fn what_comes_before_the_content_fits_into_a_device_s_memory() {
    let world = line(2);
    let bundled = make(&world, &request(&world, "2", &[], false)).unwrap();
    let entries = entries(&fs::read(bundled.output).unwrap());
    let head = entries
        .iter()
        .take_while(|(name, _)| !name.starts_with("content/"));
    let length: u64 = head.map(|(_, bytes)| bytes.len() as u64 + 1024).sum();
    assert!(length < MAX_HEAD_BYTES / 100, "{length}");
}
