//! What the boot environment may hold after a cut: what one of the whole saves before it left, the
//! one under way included, and never a mixture.

use std::collections::BTreeMap;
use std::path::Path;

use crate::board::{Board, Disk};
use crate::disk::{DiskImage, Extent};
use crate::error::Result;
use crate::nbd::{CutServer, Written};

const SECTOR: u64 = 512;

type Variables = BTreeMap<String, String>;

/// The place of the environment and what it held when the power came on.
#[derive(Debug)]
pub(super) struct Ledger {
    extent: Extent,
    before: Vec<u8>,
}

impl Ledger {
    /// Reads the environment of a device that is off.
    pub(super) fn open(board: &dyn Board, disk: &Disk) -> Result<Self> {
        let extent = board.env_extent(disk)?;
        let before = drive(disk).read(extent.offset, extent.length)?;
        Ok(Self { extent, before })
    }

    /// What was written to the environment since, oldest first; the request under way is last.
    pub(super) fn writes(&self, server: &CutServer) -> Vec<Written> {
        let mut writes = server.writes();
        writes.extend(server.write_under_way());
        writes.retain(|write| span(&self.extent, write).is_some());
        writes
    }

    /// Says what is wrong with the environment of a device that was cut after `writes`.
    pub(super) fn judge(
        &self,
        board: &dyn Board,
        disk: &Disk,
        writes: &[Written],
    ) -> Result<Option<String>> {
        let drive = drive(disk);
        let after = drive.read(self.extent.offset, self.extent.length)?;
        let found = board.read_env(disk)?;
        // The saves are replayed on the device's own drive, which gets back what the cut left.
        let replayed = self.replay(board, disk, &drive, writes);
        drive.write(self.extent.offset, &after)?;
        Ok(match replayed? {
            Replay::Torn(number) => Some(format!(
                "write {number} of {} since power on left no copy of the environment whole",
                writes.len()
            )),
            Replay::States(states) if states.contains(&found) => None,
            Replay::States(states) => Some(format!(
                "the environment after a cut is none of the {} that were saved: {found:?}, not one \
                 of {states:?}",
                states.len()
            )),
        })
    }

    fn replay(
        &self,
        board: &dyn Board,
        disk: &Disk,
        drive: &DiskImage,
        writes: &[Written],
    ) -> Result<Replay> {
        let mut view = self.before.clone();
        drive.write(self.extent.offset, &view)?;
        let mut states: Vec<Variables> = vec![board.read_env(disk)?];
        for (number, write) in (1..).zip(writes) {
            if let Some((at, part)) = span(&self.extent, write)
                && let Some(target) = view.get_mut(at..at + part.len())
            {
                target.copy_from_slice(part);
            }
            drive.write(self.extent.offset, &view)?;
            match board.whole_copies(disk)? {
                0 => return Ok(Replay::Torn(number)),
                // In the middle of a save: the other copy is what counts, as it did before.
                1 => {}
                _ => {
                    let state = board.read_env(disk)?;
                    if !states.contains(&state) {
                        states.push(state);
                    }
                }
            }
        }
        Ok(Replay::States(states))
    }
}

enum Replay {
    /// The environments that whole saves made, and the one before them.
    States(Vec<Variables>),
    /// After this write no copy was whole.
    Torn(u64),
}

/// The part of a write that lies in the environment, and where in it.
fn span<'a>(extent: &Extent, write: &'a Written) -> Option<(usize, &'a [u8])> {
    let start = write.lba * SECTOR;
    let length = u64::try_from(write.bytes.len()).ok()?;
    let first = start.max(extent.offset);
    let end = (start + length).min(extent.offset + extent.length);
    let part = usize::try_from(first.checked_sub(start)?).ok()?
        ..usize::try_from(end.checked_sub(start)?).ok()?;
    let part = write.bytes.get(part).filter(|part| !part.is_empty())?;
    Some((usize::try_from(first - extent.offset).ok()?, part))
}

/// The drive that the environment is on.
fn drive(disk: &Disk) -> DiskImage {
    let path: &Path = disk.env.as_deref().unwrap_or(&disk.main);
    DiskImage::open(path)
}

#[cfg(test)]
mod tests {
    use super::{Ledger, SECTOR, span};
    use crate::board::{Board, Disk, DiskSpec};
    use crate::disk::{DiskImage, Extent};
    use crate::error::{Error, Result};
    use crate::machine::MachineBuilder;
    use crate::nbd::Written;
    use std::collections::BTreeMap;
    use std::path::Path;

    /// Two copies of two sectors, behind each other: a number in both makes a copy whole, the
    /// higher number counts, and what the copy says stands beside it.
    #[derive(Debug)]
    struct TwoCopies;

    impl TwoCopies {
        fn copies(disk: &Disk) -> Result<Vec<Option<(u8, String)>>> {
            let bytes = DiskImage::open(&disk.main).read(0, 4 * SECTOR)?;
            let copy = |copy: &[u8]| {
                let says = format!("{}{}", char::from(copy[1]), char::from(copy[513]));
                (copy[0] == copy[512]).then_some((copy[0], says))
            };
            Ok(bytes.chunks(1024).map(copy).collect())
        }
    }

    impl Board for TwoCopies {
        fn name(&self) -> &'static str {
            "two copies"
        }

        fn build_disk(&self, spec: &DiskSpec<'_>) -> Result<Disk> {
            Err(Error::Server {
                why: format!("no disk is made in {}", spec.out.display()),
            })
        }

        fn machine(&self, _disk: &Disk, name: &str, work: &Path) -> MachineBuilder {
            MachineBuilder::new(name, work)
        }

        fn read_env(&self, disk: &Disk) -> Result<BTreeMap<String, String>> {
            let newest = Self::copies(disk)?.into_iter().flatten().max();
            Ok(newest
                .map(|(_, says)| ("says".to_owned(), says))
                .into_iter()
                .collect())
        }

        fn env_extent(&self, _disk: &Disk) -> Result<Extent> {
            Ok(Extent {
                offset: 0,
                length: 4 * SECTOR,
            })
        }

        fn whole_copies(&self, disk: &Disk) -> Result<usize> {
            Ok(Self::copies(disk)?.iter().flatten().count())
        }

        fn writes_per_save(&self) -> u64 {
            2
        }
    }

    fn sector(number: u8, says: u8) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..2].copy_from_slice(&[number, says]);
        bytes
    }

    #[test]
    fn old_or_new_is_right_and_anything_else_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let disk = Disk {
            main: scratch.path().join("disk"),
            env: None,
        };
        let old = [
            sector(1, b'a'),
            sector(1, b'b'),
            sector(2, b'c'),
            sector(2, b'd'),
        ]
        .concat();
        std::fs::write(&disk.main, &old).unwrap();
        let ledger = Ledger::open(&TwoCopies, &disk).unwrap();
        let write = |lba, bytes: Vec<u8>| Written { lba, bytes };
        let saved = [write(0, sector(3, b'e')), write(1, sector(3, b'f'))];
        let judged = |left: &[&Written], saved: &[Written]| {
            std::fs::write(&disk.main, &old).unwrap();
            for write in left {
                let drive = DiskImage::open(&disk.main);
                drive.write(write.lba * SECTOR, &write.bytes).unwrap();
            }
            let left = std::fs::read(&disk.main).unwrap();
            let judged = ledger.judge(&TwoCopies, &disk, saved).unwrap();
            assert!(std::fs::read(&disk.main).unwrap() == left, "left as it was");
            judged
        };

        assert_eq!(judged(&[], &saved), None, "old");
        assert_eq!(
            judged(&[&saved[0]], &saved),
            None,
            "torn: the old one counts"
        );
        assert_eq!(judged(&[&saved[1]], &saved), None, "torn the other way");
        assert_eq!(judged(&[&saved[0], &saved[1]], &saved), None, "new");

        let never_saved = [write(0, sector(3, b'e')), write(1, sector(3, b'x'))];
        let told = judged(&[&never_saved[0], &never_saved[1]], &saved);
        assert!(told.unwrap().contains("none of the 2 that were saved"));
        let over_the_last_whole = [write(0, sector(3, b'e')), write(2, sector(4, b'g'))];
        let told = judged(&[], &over_the_last_whole);
        assert!(
            told.unwrap()
                .starts_with("write 2 of 2 since power on left no copy")
        );
    }

    #[test]
    fn part_of_a_write_in_the_environment_is_found() {
        let extent = Extent {
            offset: 1024,
            length: 1024,
        };
        let write = |lba, sectors: u8| Written {
            lba,
            bytes: (0..sectors).flat_map(|number| [number; 512]).collect(),
        };
        for (lba, sectors, expected) in [
            (0, 2, None),
            (4, 1, None),
            (2, 2, Some((0, [0, 1].as_slice()))),
            (3, 9, Some((512, &[0]))),
            (0, 9, Some((0, &[2, 3]))),
            (1, 2, Some((0, &[1]))),
        ] {
            let write = write(lba, sectors);
            let found = span(&extent, &write).map(|(at, part)| {
                let firsts: Vec<u8> = part.chunks(512).map(|sector| sector[0]).collect();
                (at, firsts)
            });
            let expected = expected.map(|(at, firsts)| (at, firsts.to_vec()));
            assert_eq!(found, expected, "{lba} {sectors}");
        }
    }
}
