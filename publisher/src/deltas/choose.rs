//! Which older releases get a delta to a new one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use switchback_manifest::{MAX_DELTAS, Release};
use switchback_types::{Compatible, Digest, Version};

use super::field::Field;

/// The release that deltas lead to, as far as the choice depends on it.
#[derive(Debug)]
pub(crate) struct Goal<'a> {
    pub(crate) compatible: &'a [Compatible],
    pub(crate) sequence: u64,
    pub(crate) image: Digest,
}

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Wish<'a, 'f> {
    /// How many releases get a delta without being named.
    pub(crate) last: usize,
    /// Releases that get one in any case.
    pub(crate) named: Vec<&'a Release>,
    /// How many devices run which version.
    pub(crate) field: Option<&'f Field>,
}

/// A release that a delta leads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base<'a> {
    pub(crate) release: &'a Release,
    /// Whether a person named it: then it must work.
    pub(crate) named: bool,
}

/// Why no delta can lead from a release.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// No release has this version.
    Unknown(Version),
    /// No device runs both.
    Incompatible(Version),
}

/// The releases of these versions, all of which must run on hardware of `compatible`.
pub(crate) fn named<'a>(
    releases: &'a [Release],
    compatible: &[Compatible],
    versions: &[Version],
) -> Result<Vec<&'a Release>, Unfit> {
    let find = |version: &Version| {
        let mut all = releases.iter();
        match all.find(|release| release.version == *version) {
            None => Err(Unfit::Unknown(version.clone())),
            Some(release) if shares(release, compatible) => Ok(release),
            Some(_) => Err(Unfit::Incompatible(version.clone())),
        }
    };
    versions.iter().map(find).collect()
}

fn shares(release: &Release, compatible: &[Compatible]) -> bool {
    let mut names = release.compatible.iter();
    names.any(|name| compatible.contains(name))
}

/// Chooses among the releases of the product. Named ones come first, as they were named. Of the
/// others those come first that most devices run, as far as that is known, then the newest; a
/// release that is newer than the goal, that runs on other hardware, or whose image was chosen
/// already, is passed over.
pub(crate) fn choose<'a>(
    releases: &'a [Release],
    goal: &Goal<'_>,
    wish: &Wish<'a, '_>,
) -> Vec<Base<'a>> {
    let mut images = BTreeSet::from([goal.image]);
    let mut bases = Vec::new();
    for release in &wish.named {
        if images.insert(release.image.sha256) {
            bases.push(Base {
                release,
                named: true,
            });
        }
    }
    // Two releases may have one image: their devices hold the same bytes.
    let mut devices: BTreeMap<Digest, u64> = BTreeMap::new();
    for release in releases {
        let count = wish
            .field
            .map_or(0, |field| field.devices(&release.version));
        let sum = devices.entry(release.image.sha256).or_default();
        *sum = sum.saturating_add(count);
    }
    let mut others: Vec<&Release> = releases
        .iter()
        .filter(|release| release.sequence < goal.sequence && shares(release, goal.compatible))
        .collect();
    others.sort_by_key(|release| {
        let count = devices.get(&release.image.sha256).copied().unwrap_or(0);
        (Reverse(count), Reverse(release.sequence))
    });
    let others = others
        .into_iter()
        .filter(|release| images.insert(release.image.sha256))
        .map(|release| Base {
            release,
            named: false,
        });
    bases.extend(others.take(wish.last));
    bases.truncate(MAX_DELTAS);
    bases
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../docs/schema/examples/release.json");

    /// Releases with sequence numbers 1, 2, …, whose images are told by a letter.
    fn line(images: &str) -> Vec<Release> {
        let example = Release::parse(EXAMPLE.as_bytes()).unwrap();
        (1..)
            .zip(images.bytes())
            .map(|(sequence, image)| {
                let mut release = example.clone();
                release.sequence = sequence;
                release.version = sequence.to_string().parse().unwrap();
                release.image.sha256 = Digest::from_bytes([image; 32]);
                release
            })
            .collect()
    }

    fn chosen<'a>(releases: &'a [Release], wish: &Wish<'a, '_>) -> String {
        let goal = Goal {
            compatible: &releases[0].compatible,
            sequence: 100,
            image: Digest::from_bytes([b'!'; 32]),
        };
        let bases = choose(releases, &goal, wish);
        let names = bases.iter().map(|base| base.release.version.to_string());
        names.collect::<Vec<_>>().join(" ")
    }

    fn last(last: usize) -> Wish<'static, 'static> {
        Wish {
            last,
            ..Wish::default()
        }
    }

    fn by_name<'a>(releases: &'a [Release], names: &[&str]) -> Result<Vec<&'a Release>, Unfit> {
        let versions: Vec<Version> = names.iter().map(|name| name.parse().unwrap()).collect();
        named(releases, &releases[0].compatible, &versions)
    }

    #[test]
    fn takes_the_newest_first_and_no_more_than_asked() {
        let releases = line("abcdef");
        assert_eq!(chosen(&releases, &last(3)), "6 5 4");
        assert_eq!(chosen(&releases, &last(0)), "");
        assert_eq!(chosen(&releases, &last(99)), "6 5 4 3 2 1");
    }

    #[test]
    fn named_ones_come_first_and_beside_the_others() {
        let releases = line("abcdef");
        let wish = Wish {
            last: 2,
            named: by_name(&releases, &["2", "5"]).unwrap(),
            field: None,
        };
        assert_eq!(chosen(&releases, &wish), "2 5 6 4");
        assert_eq!(
            by_name(&releases, &["2", "9"]),
            Err(Unfit::Unknown("9".parse().unwrap()))
        );
    }

    #[test]
    fn most_devices_first_where_that_is_known() {
        let releases = line("abcdef");
        let field = Field::parse(br#"{"versions": {"2": 70, "4": 300, "nowhere": 9}}"#).unwrap();
        let wish = Wish {
            field: Some(&field),
            ..last(3)
        };
        assert_eq!(chosen(&releases, &wish), "4 2 6");
    }

    #[test]
    fn an_image_gets_one_delta_however_many_releases_have_it() {
        let releases = line("abbac!");
        assert_eq!(chosen(&releases, &last(9)), "5 4 3");
    }

    #[test]
    fn passes_over_newer_releases_and_other_hardware() {
        let mut releases = line("abc");
        releases[2].sequence = 200;
        releases[1].compatible = vec!["other-board".parse().unwrap()];
        assert_eq!(chosen(&releases, &last(9)), "1");
        // Who names a newer one has a reason: devices may go back.
        let wish = Wish {
            named: by_name(&releases, &["3"]).unwrap(),
            ..Wish::default()
        };
        assert_eq!(chosen(&releases, &wish), "3");
        assert_eq!(
            by_name(&releases, &["2"]),
            Err(Unfit::Incompatible("2".parse().unwrap()))
        );
    }
}
