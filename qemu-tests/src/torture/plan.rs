//! When the power goes, drawn from a seed: the same seed and round give the same plan.

use crate::nbd::Survive;

/// What a round begins with: a disk that was kept when the device was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Version 1 runs and is committed; version 2 is offered.
    Offered,
    /// Version 2 is armed; the next start is its trial.
    Armed,
    /// An unhealthy version 2 is armed.
    Unhealthy,
    /// Version 2 is committed.
    Committed,
}

/// Where in an update the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// While the inactive slot is written.
    SlotWrite,
    /// After the slot was written, before the boot environment is.
    BeforeFlip,
    /// Inside the write of the boot environment that arms the trial.
    InFlip,
    /// Between that write and the restart.
    AfterFlip,
    /// In the bootloader, at any time.
    Loader,
    /// Inside the bootloader's own write of the environment.
    LoaderSave,
    /// In the kernel and the initramfs.
    EarlyBoot,
    /// While the health of the trial is not known yet.
    Health,
    /// Inside the write of the environment that commits.
    InCommit,
    /// In what is written down after that.
    CommitReport,
    /// While an unhealthy version is found out.
    FallbackHealth,
    /// Inside the write of the environment that goes back.
    InFallback,
    /// Between that write and the restart.
    AfterFallback,
    /// While the old version writes down that it is back.
    FallbackReport,
    /// After the commit, again and again: power cycles eat the tries of a good slot.
    Blips,
    /// At any durable change of a whole update.
    AnyChange,
    /// At any time of a whole update.
    AnyTime,
}

impl Class {
    /// All classes, in the order of an update.
    pub const ALL: [Self; 17] = [
        Self::SlotWrite,
        Self::BeforeFlip,
        Self::InFlip,
        Self::AfterFlip,
        Self::Loader,
        Self::LoaderSave,
        Self::EarlyBoot,
        Self::Health,
        Self::InCommit,
        Self::CommitReport,
        Self::FallbackHealth,
        Self::InFallback,
        Self::AfterFallback,
        Self::FallbackReport,
        Self::Blips,
        Self::AnyChange,
        Self::AnyTime,
    ];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlotWrite => "during slot write",
            Self::BeforeFlip => "between sync and flip",
            Self::InFlip => "inside the flip's write",
            Self::AfterFlip => "between flip and restart",
            Self::Loader => "in the bootloader",
            Self::LoaderSave => "inside the bootloader's write",
            Self::EarlyBoot => "in early boot",
            Self::Health => "during health",
            Self::InCommit => "inside the commit's write",
            Self::CommitReport => "between commit and report",
            Self::FallbackHealth => "unhealthy: before the verdict",
            Self::InFallback => "unhealthy: inside the fallback's write",
            Self::AfterFallback => "unhealthy: between fallback and restart",
            Self::FallbackReport => "unhealthy: while the return is noted",
            Self::Blips => "committed: power blips",
            Self::AnyChange => "any durable change",
            Self::AnyTime => "any time",
        }
    }

    /// What a round of this class begins with.
    #[must_use]
    pub const fn start(self) -> Start {
        match self {
            Self::SlotWrite
            | Self::BeforeFlip
            | Self::InFlip
            | Self::AfterFlip
            | Self::AnyChange
            | Self::AnyTime => Start::Offered,
            Self::Loader
            | Self::LoaderSave
            | Self::EarlyBoot
            | Self::Health
            | Self::InCommit
            | Self::CommitReport => Start::Armed,
            Self::FallbackHealth
            | Self::InFallback
            | Self::AfterFallback
            | Self::FallbackReport => Start::Unhealthy,
            Self::Blips => Start::Committed,
        }
    }

    /// A cut of this class; the sizes of writes differ from board to board.
    fn cut(self, dice: &mut Dice, writes_per_save: u64) -> Cut {
        let save = Point::EnvWrite(1 + dice.below(writes_per_save));
        let (from, point) = match self {
            Self::SlotWrite => (From::PowerOn, Point::SlotWrite(dice.below(1000))),
            Self::BeforeFlip => (From::SlotWritten, Point::Change(1 + dice.below(8))),
            Self::InFlip => (From::SlotWritten, save),
            Self::AfterFlip => (From::Line("is armed: "), Point::Millis(dice.below(1500))),
            Self::Loader | Self::Blips => (From::PowerOn, Point::LoaderShare(dice.below(1000))),
            Self::LoaderSave => (From::PowerOn, save),
            Self::EarlyBoot => (From::Line("SB: slot="), Point::BootShare(dice.below(1000))),
            Self::Health => (From::Line("is on trial, "), Point::Millis(dice.below(1200))),
            Self::InCommit => (From::Line("is on trial, "), save),
            Self::CommitReport if dice.below(2) == 0 => (
                From::Line("is healthy and "),
                Point::Change(1 + dice.below(6)),
            ),
            Self::CommitReport => (
                From::Line("is on trial, "),
                Point::DataWrite(1 + dice.below(16)),
            ),
            Self::FallbackHealth => (From::Line("is on trial, "), Point::Millis(dice.below(2500))),
            Self::InFallback => (From::Line("is on trial, "), save),
            Self::AfterFallback => (From::Line("lost its trial"), Point::Millis(dice.below(800))),
            Self::FallbackReport => (
                From::Line("TINY-UP slot=A"),
                Point::DataWrite(1 + dice.below(12)),
            ),
            Self::AnyChange => (From::PowerOn, Point::ChangeShare(dice.below(1000))),
            Self::AnyTime => (From::PowerOn, Point::TimeShare(dice.below(1000))),
        };
        Cut {
            class: self,
            from,
            point,
            survive: dice.survive(),
        }
    }
}

/// From when on a point counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The device is switched on.
    PowerOn,
    /// The console shows a line with this in it.
    Line(&'static str),
    /// The last part of the image is being written into the inactive slot.
    SlotWritten,
}

/// The point of a cut. Shares are in thousandths of what the reference run took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// So many milliseconds later.
    Millis(u64),
    /// A share of the time from power on to the bootloader's choice.
    LoaderShare(u64),
    /// A share of the time from that choice to the guest's first line.
    BootShare(u64),
    /// A share of the time of a whole update.
    TimeShare(u64),
    /// The n-th write, zeroing or flush on the main drive, from 1.
    Change(u64),
    /// A share of the changes of a whole update.
    ChangeShare(u64),
    /// The first write at or behind this share of the image, in the inactive slot.
    SlotWrite(u64),
    /// The n-th write to a copy of the boot environment, from 1.
    EnvWrite(u64),
    /// The n-th write to the data partition, from 1.
    DataWrite(u64),
}

/// One power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// What it is counted as.
    pub(super) class: Class,
    /// From when on the point counts.
    pub(super) from: From,
    /// The point.
    pub(super) point: Point,
    /// What the disks keep of what was not durable.
    pub(super) survive: Survive,
}

/// One round: a start, and cuts one after the other, each after the power came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The number of the round.
    pub(super) round: u64,
    /// What it begins with.
    pub(super) start: Start,
    /// The cuts.
    pub(super) cuts: Vec<Cut>,
}

impl Plan {
    /// The plan of a round. Classes take turns; everything else is drawn.
    #[must_use]
    pub(super) fn draw(seed: u64, round: u64, writes_per_save: u64) -> Self {
        let mut dice = Dice::new(seed, round);
        let turns = u64::try_from(Class::ALL.len()).unwrap_or(1);
        let index = usize::try_from(round % turns).unwrap_or(0);
        let class = Class::ALL.get(index).copied().unwrap_or(Class::AnyTime);
        let start = class.start();
        let mut cuts = vec![class.cut(&mut dice, writes_per_save)];
        let more = match class {
            Class::Blips => 2 + dice.below(6),
            // Most that follow come in the bootloader, where one costs a second and, as a rule, no
            // try; the more there are, the likelier they eat the last one and cut the way back.
            _ => [1, 2, 3, 4, 6, 8].get(dice.index(6)).copied().unwrap_or(1),
        };
        for _ in 0..more {
            let next = dice.follow_up(class);
            cuts.push(next.cut(&mut dice, writes_per_save));
        }
        Self { round, start, cuts }
    }
}

/// The SplitMix64 sequence.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64, round: u64) -> Self {
        let mut dice = Self(seed);
        let mixed = dice.next() ^ round.wrapping_mul(0xd134_2543_de82_ef95);
        Self(mixed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is small: the bias of the remainder is nothing here.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn index(&mut self, length: usize) -> usize {
        let limit = u64::try_from(length).unwrap_or(1);
        usize::try_from(self.below(limit)).unwrap_or(0)
    }

    fn survive(&mut self) -> Survive {
        match self.below(6) {
            0 | 1 => Survive::Nothing,
            2 => Survive::Everything,
            3 | 4 => Survive::Random { seed: self.next() },
            _ => Survive::TornLast {
                sectors: 1 + self.below(7),
            },
        }
    }

    /// A cut after the first: one that can come wherever the device then is.
    fn follow_up(&mut self, first: Class) -> Class {
        const UNHEALTHY: [Class; 10] = [
            Class::Loader,
            Class::Loader,
            Class::LoaderSave,
            Class::LoaderSave,
            Class::EarlyBoot,
            Class::FallbackHealth,
            Class::InFallback,
            Class::AfterFallback,
            Class::AfterFallback,
            Class::FallbackReport,
        ];
        const GOOD: [Class; 10] = [
            Class::Loader,
            Class::Loader,
            Class::Loader,
            Class::LoaderSave,
            Class::LoaderSave,
            Class::LoaderSave,
            Class::EarlyBoot,
            Class::Health,
            Class::InCommit,
            Class::CommitReport,
        ];
        const COMMITTED: [Class; 4] = [
            Class::Loader,
            Class::LoaderSave,
            Class::EarlyBoot,
            Class::Loader,
        ];
        let from: &[Class] = match first.start() {
            Start::Unhealthy => &UNHEALTHY,
            Start::Committed => &COMMITTED,
            Start::Offered | Start::Armed => &GOOD,
        };
        from.get(self.index(from.len()))
            .copied()
            .unwrap_or(Class::Loader)
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Plan, Point};
    use crate::nbd::Survive;

    #[test]
    fn same_seed_and_round_give_the_same_plan() {
        for round in 0..100 {
            assert_eq!(Plan::draw(7, round, 32), Plan::draw(7, round, 32));
        }
        let differ =
            (0..100).filter(|round| Plan::draw(7, *round, 32) != Plan::draw(8, *round, 32));
        assert!(differ.count() > 90);
    }

    #[test]
    fn every_class_comes_once_in_a_turn() {
        let drawn: Vec<Class> = (0..17).map(|n| Plan::draw(1, n, 1).cuts[0].class).collect();
        assert_eq!(drawn, Class::ALL);
    }

    #[test]
    fn draws_reach_every_part_of_a_save_and_every_way_to_lose_it() {
        let mut numbers = [false; 33];
        let mut ways = [0; 4];
        for round in 0..4000 {
            for cut in Plan::draw(3, round, 32).cuts {
                if let Point::EnvWrite(number) = cut.point {
                    numbers[usize::try_from(number).unwrap()] = true;
                }
                ways[match cut.survive {
                    Survive::Nothing => 0,
                    Survive::Everything => 1,
                    Survive::Random { .. } => 2,
                    Survive::TornLast { .. } => 3,
                }] += 1;
            }
        }
        assert!(
            !numbers[0] && numbers[1..].iter().all(|seen| *seen),
            "{numbers:?}"
        );
        assert!(ways.iter().all(|count| *count > 500), "{ways:?}");
    }
}
