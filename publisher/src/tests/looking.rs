//! What the publisher finds inside images.

use std::collections::BTreeMap;
use std::fs;

use crate::advice;
use crate::filesystem::tree::{Differences, Tree};

use super::images::{self, IDENTITY, Identity, erofs, ext4, squashfs, tree};
use super::world::{World, noise};

/// All bytes of the image, by owner.
fn owned(tree: &Tree, image: &[u8]) -> BTreeMap<String, u64> {
    let mut owners = BTreeMap::new();
    tree.owners(&(0..image.len() as u64), |name, bytes| {
        *owners.entry(name.to_owned()).or_default() += bytes;
    });
    owners
}

#[test]
fn every_block_of_an_ext4_image_has_an_owner() {
    let world = World::new();
    let files = tree(&world, "tree");
    for (name, features) in [
        ("extents", "^has_journal"),
        ("pointers", "^has_journal,^extent,^64bit,^metadata_csum"),
        ("journal", "has_journal"),
    ] {
        let identity = Identity {
            features,
            ..IDENTITY
        };
        let image = ext4(&files, &world.path(name), identity);
        let tree = Tree::read(&image).unwrap();
        let owners = owned(&tree, &image);
        assert_eq!(owners.values().sum::<u64>(), image.len() as u64);
        // Whole blocks, and the blocks of the map.
        let large = owners["/usr/bin/large"];
        assert!((900_096..910_000).contains(&large), "{name}: {large}");
        assert_eq!(owners["/etc/app/config"], 1024, "{name}");
        let tools = owners
            .keys()
            .filter(|path| path.starts_with("/usr/bin/tool-"));
        assert_eq!(tools.count(), 40, "{name}");
        assert!(owners["(inode tables)"] > 100_000, "{name}: {owners:?}");
        assert_eq!(owners.contains_key("(journal)"), name == "journal");
        assert!(owners.contains_key("/usr/bin"), "{name}");
    }
}

#[test]
fn a_place_in_the_image_leads_to_the_file_that_lies_there() {
    let world = World::new();
    let files = tree(&world, "tree");
    let image = ext4(&files, &world.path("image"), IDENTITY);
    let tree = Tree::read(&image).unwrap();
    let content = noise(1007, 20_000);
    let place = image
        .windows(64)
        .position(|window| window == &content[..64])
        .unwrap() as u64;
    tree.owners(&(place..place + 100), |name, bytes| {
        assert_eq!((name, bytes), ("/usr/bin/tool-07", 100));
    });
}

#[test]
fn damaged_images_are_read_without_panic_and_in_bounded_time() {
    let world = World::new();
    let files = tree(&world, "tree");
    let features = "^has_journal,^extent,^64bit,^metadata_csum";
    for identity in [
        IDENTITY,
        Identity {
            features,
            ..IDENTITY
        },
    ] {
        let image = ext4(&files, &world.path("image"), identity);
        let good = Tree::read(&image).unwrap();
        let mut bytes = noise(5, 40_000).into_iter();
        // Superblock, descriptors, bitmaps, inode tables, directories.
        for round in 0..150_u8 {
            let mut image = image.clone();
            let reach = if round % 3 == 0 { 2048 } else { 600_000 };
            for _ in 0..40 {
                let place = [0; 4].map(|_: u8| bytes.next().unwrap_or(round));
                let place = 1024 + u32::from_le_bytes(place) as usize % reach;
                image[place] = bytes.next().unwrap_or(0xff);
            }
            let _ = advice::on(&image, &image, u64::MAX);
            if let Some(tree) = Tree::read(&image) {
                let sum: u64 = owned(&tree, &image).values().sum();
                assert_eq!(sum, image.len() as u64);
                let _ = good.differences(&image, &tree, &image);
            }
        }
        for length in [0, 1023, 1080, 1082, 2048, 10_000, 1_000_000] {
            if let Some(tree) = Tree::read(&image[..length]) {
                let _ = owned(&tree, &image[..length]);
            }
        }
    }
}

#[test]
fn differences_between_trees_are_counted_in_files_and_bytes() {
    let world = World::new();
    let files = tree(&world, "tree");
    let old = ext4(&files, &world.path("old"), IDENTITY);
    fs::write(files.join("etc/app/config"), b"speed = 2\n".repeat(30)).unwrap();
    fs::write(files.join("etc/new"), b"new").unwrap();
    let new = ext4(&files, &world.path("new"), IDENTITY);
    let before = Tree::read(&old).unwrap();
    let after = Tree::read(&new).unwrap();
    let differences = before.differences(&old, &after, &new);
    let wanted = Differences {
        files: 43,
        changed: 2,
        bytes: 303,
        retimed: 0,
    };
    assert_eq!(differences, Some(wanted));
}

#[test]
fn advice_names_the_option_that_mends_it() {
    let world = World::new();
    let files = tree(&world, "tree");
    let old = ext4(&files, &world.path("old"), IDENTITY);
    assert_eq!(advice::on(&old, &old, 0), Vec::<String>::new());
    let cases = [
        (
            Identity {
                uuid: "11111111-2222-4333-8444-555555555555",
                ..IDENTITY
            },
            "`mke2fs -U 6d2f1c3e-0a5b-4c7d-9e8f-123456789abc`",
        ),
        (
            Identity {
                hash_seed: "11111111-2222-4333-8444-555555555555",
                ..IDENTITY
            },
            "`mke2fs -E hash_seed=0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff`",
        ),
        (
            Identity {
                time: "1795000001",
                ..IDENTITY
            },
            "SOURCE_DATE_EPOCH",
        ),
        (
            Identity {
                features: "has_journal",
                ..IDENTITY
            },
            "`mke2fs -O ^has_journal`",
        ),
    ];
    for (identity, wanted) in cases {
        let new = ext4(&files, &world.path("new"), identity);
        let found = advice::on(&old, &new, 0);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(wanted), "{found:?}");
    }
    // A copy of the tree: every file has the time of copying.
    let copy = world.path("copy");
    images::run(
        "cp",
        "coreutils",
        &["-r", files.to_str().unwrap(), copy.to_str().unwrap()],
        "0",
    );
    for file in fs::read_dir(copy.join("usr/bin")).unwrap() {
        let file = file.unwrap().path();
        images::run(
            "touch",
            "coreutils",
            &["-d", "@1000000", file.to_str().unwrap()],
            "0",
        );
    }
    let new = ext4(&copy, &world.path("new"), IDENTITY);
    let found = advice::on(&old, &new, 0);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("of 42 files have the same content, but other times"),
        "{found:?}"
    );
    // Nothing but the order of blocks differs, and the delta is large.
    let found = advice::on(&old, &old, 500_000);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("only 0 of 42 files differ"),
        "{found:?}"
    );
}

#[test]
fn advice_on_squashfs_and_erofs() {
    let world = World::new();
    let files = tree(&world, "tree");
    let image = world.path("image");
    let plain = ["-mkfs-time", "1795000000", "-b", "128K", "-comp", "gzip"];
    let old = squashfs(&files, &image, &plain);
    assert_eq!(advice::on(&old, &old, 0), Vec::<String>::new());
    for (place, value, wanted) in [
        (1, "1795000001", "`mksquashfs -mkfs-time`"),
        (3, "64K", "`mksquashfs -b 131072`"),
        (
            5,
            "xz",
            "is xz and was gzip; build with `mksquashfs -comp gzip`",
        ),
    ] {
        let mut other = plain;
        other[place] = value;
        let new = squashfs(&files, &image, &other);
        let found = advice::on(&old, &new, 0);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(wanted), "{found:?}");
    }
    let uuid = "-U6d2f1c3e-0a5b-4c7d-9e8f-123456789abc";
    let old = erofs(&files, &image, &[uuid, "-T1795000000"]);
    assert_eq!(advice::on(&old, &old, 0), Vec::<String>::new());
    for (options, wanted) in [
        (
            ["-U11111111-2222-4333-8444-555555555555", "-T1795000000"],
            "`mkfs.erofs -U 6d2f1c3e-0a5b-4c7d-9e8f-123456789abc`",
        ),
        ([uuid, "-T1795000001"], "`mkfs.erofs -T`"),
    ] {
        let new = erofs(&files, &image, &options);
        let found = advice::on(&old, &new, 0);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(wanted), "{found:?}");
    }
}

#[test]
fn advice_on_blocks_that_a_device_cannot_pack() {
    use switchback_delta::Repacked;
    let world = World::new();
    let files = tree(&world, "tree");
    let image = world.path("image");
    let repacked = Repacked {
        changed: 5,
        reproduced: 5,
        sent: 0,
    };
    for (options, fits) in [
        (["-comp", "lzo", "-b", "128K"], false),
        (["-comp", "zstd", "-b", "1M"], false),
        (["-comp", "gzip", "-b", "128K"], true),
        (["-comp", "xz", "-b", "128K"], true),
        (["-comp", "zstd", "-b", "128K"], true),
    ] {
        let new = squashfs(&files, &image, &options);
        let found = advice::on_blocks(&new, &repacked);
        assert_eq!(found.is_none(), fits, "{found:?}");
        let wanted = "`mksquashfs -comp zstd -b 128K`";
        assert!(found.is_none_or(|text| text.contains(wanted)));
        if fits {
            let repacked = Repacked {
                reproduced: 3,
                sent: 70_000,
                ..repacked
            };
            let found = advice::on_blocks(&new, &repacked).unwrap();
            assert!(found.starts_with("2 of 5 changed blocks"), "{found}");
        }
    }
    let ext4 = ext4(&files, &world.path("ext4"), IDENTITY);
    assert_eq!(advice::on_blocks(&ext4, &repacked), None);
    let mut erofs = erofs(&files, &image, &["-zlz4hc"]);
    assert_eq!(advice::on_blocks(&erofs, &repacked), None);
    // As if others were in it: the compressors that it lists.
    erofs[1024 + 80] |= 2;
    for (compressors, wanted) in [(8, "zstd 1.5.7"), (1, "lz4 1.10.0"), (2, "-zlz4hc")] {
        erofs[1024 + 84] = compressors;
        let some = Repacked {
            reproduced: 3,
            ..repacked
        };
        let found = advice::on_blocks(&erofs, &some).unwrap();
        assert!(found.contains(wanted), "{found}");
    }
}
