//! Every way in which a write can be cut off and a byte can go bad, one after the other.
//!
//! The promise for two copies: whatever happens to the newer one, what is read is the older or the
//! newer record, never anything else and never nothing. Where a code has no checksum (GRUB's block)
//! the tests say exactly what is left of that promise.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops where a promise is broken, its helpers included"
)]

use std::ops::Range;

use switchback_boot_env::cmdline::CommandLine;
use switchback_boot_env::fw_env_config::FwEnvConfig;
use switchback_boot_env::uboot::{
    Environment, FlagScheme, OBSOLETE, encode_redundant, encode_single,
};
use switchback_boot_env::{Copy, Entry, Vars, grub, grub_pair};

const SECTOR: usize = 512;

fn record(order: &str, left: &str, id: &str) -> Vars {
    let pairs = [
        ("BOOT_ORDER", order),
        ("BOOT_B_LEFT", left),
        ("switchback_id", id),
    ];
    pairs.into_iter().collect()
}

/// Three records that follow one another: the third is written over the first.
fn records() -> [Vars; 3] {
    [
        record("A B", "0", "0ldest"),
        record("A", "0", "01d"),
        record("B A", "3", "0badcafe"),
    ]
}

/// One write of `new` over the copy that holds `before`, while the other copy holds `old`.
struct Write {
    before: Vec<u8>,
    old: Vec<u8>,
    new: Vec<u8>,
    /// Where `new` goes.
    over: Copy,
    scheme: FlagScheme,
    records: [Vars; 3],
}

impl Write {
    fn read(&self, written: &[u8]) -> Environment {
        let copies = match self.over {
            Copy::First => [written, &self.old],
            Copy::Second => [&self.old, written],
        };
        Environment::redundant(copies[0], copies[1], self.scheme).unwrap()
    }

    /// Whether the newer record is read; panics if neither is.
    fn newer(&self, written: &[u8], context: &dyn std::fmt::Debug) -> bool {
        let vars = self.read(written).vars;
        let [_, old, new] = &self.records;
        assert!(
            vars == *old || vars == *new,
            "{:?} {:?} {context:?}: {vars:?}",
            self.over,
            self.scheme
        );
        vars == *new
    }

    fn context(&self, what: &str, place: usize) -> String {
        let (size, flags) = (self.new.len(), self.new[4]);
        format!("{what} {place} of {size:#x}, flags {flags}")
    }
}

/// The writes that a board sees: both places, numbers that wrap, over an old record, over nothing,
/// and over the very same variables.
fn writes(size: usize) -> Vec<Write> {
    let mut all = Vec::new();
    let [oldest, old, new] = records();
    for over in [Copy::First, Copy::Second] {
        for flags in [0u8, 1, 127, 254, 255] {
            for before in [
                encode_redundant(&oldest, flags.wrapping_sub(1), size).unwrap(),
                encode_redundant(&new, flags.wrapping_sub(1), size).unwrap(),
                vec![0xff; size],
                vec![0; size],
            ] {
                all.push(Write {
                    before,
                    old: encode_redundant(&old, flags, size).unwrap(),
                    new: encode_redundant(&new, flags.wrapping_add(1), size).unwrap(),
                    over,
                    scheme: FlagScheme::Incremental,
                    records: records(),
                });
            }
        }
    }
    all
}

const SMALL: usize = 0x80;
const LARGE: usize = 0x1000;

#[test]
fn the_writes_are_those_that_the_codec_makes() {
    for write in writes(SMALL) {
        let mut environment = write.read(&write.before);
        assert_eq!(environment.vars, write.records[1]);
        environment.vars = write.records[2].clone();
        let next = environment.successor().unwrap();
        assert_eq!((next.copy, next.bytes), (write.over, write.new.clone()));
        assert_eq!(next.then_obsolete, None);
        assert!(write.newer(&write.new, &"whole"));
    }
}

#[test]
fn uboot_each_prefix_of_a_write_reads_as_old_or_new() {
    for write in writes(SMALL).iter().chain(&writes(LARGE)[..8]) {
        let mut turned = None;
        for length in 0..=write.new.len() {
            let over = [&write.new[..length], &write.before[length..]].concat();
            let newer = write.newer(&over, &write.context("over", length));
            // What is whole stays so while the padding behind it is written.
            assert!(newer || turned.is_none(), "{length}");
            turned = turned.or(newer.then_some(length));
            let short = &write.new[..length];
            let newer = write.newer(short, &write.context("short", length));
            assert_eq!(newer, length == write.new.len());
        }
        assert!(turned.is_some(), "the whole write is read");
    }
}

#[test]
fn uboot_each_subset_of_sectors_reads_as_old_or_new() {
    for write in writes(LARGE) {
        for subset in 0..1u32 << (LARGE / SECTOR) {
            let mut torn = write.before.clone();
            for sector in (0..LARGE / SECTOR).filter(|sector| subset >> sector & 1 == 1) {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                torn[range.clone()].copy_from_slice(&write.new[range]);
            }
            write.newer(&torn, &subset);
        }
    }
}

#[test]
fn uboot_each_damaged_byte_reads_as_old_or_new() {
    for size in [SMALL, 0x200, LARGE] {
        for write in &writes(size)[..if size == LARGE { 4 } else { 40 }] {
            for place in 0..size {
                // The header and the beginning of the text with each value, the rest with one.
                let every = place < 16 && size == SMALL;
                for change in if every { 1..=255 } else { 1..=1 } {
                    let mut damaged = write.new.clone();
                    damaged[place] ^= change;
                    let newer = write.newer(&damaged, &write.context("byte", place));
                    // Only the flags byte is outside of the checksum.
                    assert!(!newer || place == 4, "{place}");
                }
            }
        }
    }
}

#[test]
fn uboot_on_nor_flash_each_step_of_the_exchange_reads_as_old_or_new() {
    let [_, old, new] = records();
    for over in [Copy::First, Copy::Second] {
        let mut write = Write {
            // NOR is erased first.
            before: vec![0xff; SMALL],
            old: encode_redundant(&old, 1, SMALL).unwrap(),
            new: encode_redundant(&new, 1, SMALL).unwrap(),
            over,
            scheme: FlagScheme::Boolean,
            records: records(),
        };
        for length in 0..=SMALL {
            let torn = [&write.new[..length], &write.before[length..]].concat();
            write.newer(&torn, &write.context("over", length));
        }
        // Both whole and both active: the first one, whichever that is.
        write.newer(&write.new, &"both active");
        write.old[4] = OBSOLETE;
        assert!(write.newer(&write.new, &"exchanged"));
        for place in 0..SMALL {
            for change in 1..=255 {
                let mut damaged = write.new.clone();
                damaged[place] ^= change;
                write.newer(&damaged, &write.context("byte", place));
            }
        }
    }
}

/// With one copy there is no older record: a torn write is seen and nothing is made up.
#[test]
fn uboot_with_a_single_copy_reads_the_old_the_new_or_nothing() {
    let [_, old, new] = records();
    for size in [SMALL, LARGE] {
        let (before, after) = (
            encode_single(&old, size).unwrap(),
            encode_single(&new, size).unwrap(),
        );
        let check = |bytes: &[u8], context: &dyn std::fmt::Debug| match Environment::single(bytes) {
            Ok(found) => assert!(
                found.vars == old || found.vars == new,
                "{context:?}: {found:?}"
            ),
            Err(fault) => assert!(
                fault.to_string().contains("corrupt"),
                "{context:?}: {fault}"
            ),
        };
        for length in 0..=size {
            check(&[&after[..length], &before[length..]].concat(), &length);
            check(&after[..length.max(1)], &length);
        }
        for place in 0..size {
            let mut damaged = after.clone();
            damaged[place] ^= 1;
            let fault = Environment::single(&damaged).unwrap_err();
            assert!(fault.to_string().contains("checksum"), "{place}: {fault}");
        }
    }
}

/// A pair of blocks in which `over` is the one to be written next, and what is written.
fn pair_write(rounds: usize) -> ([Vec<u8>; 2], grub_pair::Successor, [Vars; 2]) {
    let mut copies = grub_pair::new_pair(&records()[0]).unwrap().map(Vec::from);
    let mut write = |vars: &Vars| {
        let mut pair = grub_pair::Pair::read(&copies[0], &copies[1]).unwrap();
        pair.vars = vars.clone();
        let next = pair.successor().unwrap();
        let before = copies.clone();
        copies[next.copy.index()] = next.block.to_vec();
        let read = grub_pair::Pair::read(&copies[0], &copies[1]).unwrap();
        (before, next, read.vars)
    };
    for _ in 0..rounds {
        write(&records()[0]);
    }
    let (_, _, old) = write(&records()[1]);
    let (before, next, new) = write(&records()[2]);
    (before, next, [old, new])
}

fn read_pair(copies: &[Vec<u8>; 2], over: Copy, written: &[u8]) -> Vars {
    let mut copies = [copies[0].as_slice(), copies[1].as_slice()];
    copies[over.index()] = written;
    grub_pair::Pair::read(copies[0], copies[1]).unwrap().vars
}

#[test]
fn grub_pair_each_prefix_and_each_torn_sector_reads_as_old_or_new() {
    // The number goes round after four writes, and both places take turns.
    for rounds in 0..8 {
        let (copies, next, [old, new]) = pair_write(rounds);
        let before = &copies[next.copy.index()];
        let check = |written: &[u8], context: usize| {
            let vars = read_pair(&copies, next.copy, written);
            assert!(vars == old || vars == new, "{rounds} {context}: {vars:?}");
        };
        for length in 0..=grub::BLOCK_SIZE {
            let over = [&next.block[..length], &before[length..]].concat();
            check(&over, length);
            check(&next.block[..length], length);
        }
        let (front, back) = (..SECTOR, SECTOR..);
        check(&[&next.block[front], &before[back.clone()]].concat(), 1);
        check(&[&before[front], &next.block[back]].concat(), 2);
    }
}

/// Without a checksum a damaged byte inside a value is not seen. What is left: the older record as
/// a whole, or the newer one in which the line of that byte reads differently, and with it the next
/// one, if what was damaged is the line's end or its `=`: GRUB reads a name up to the next `=`.
#[test]
fn grub_pair_a_damaged_byte_reads_as_old_or_damages_its_own_line() {
    for rounds in 0..4 {
        let (copies, next, [old, new]) = pair_write(rounds);
        let lines = lines(&next.block);
        for place in 0..grub::BLOCK_SIZE {
            let every = place < 200 && rounds == 0;
            for change in if every { 1..=255 } else { 1..=1 } {
                let mut damaged = next.block;
                damaged[place] ^= change;
                let vars = read_pair(&copies, next.copy, &damaged);
                if vars == old {
                    continue;
                }
                let context = format!("{rounds} {place} ^ {change}: {vars:?}");
                for (number, (range, entry)) in lines.iter().enumerate() {
                    let in_front = number.checked_sub(1).map(|number| &lines[number].0);
                    let touched = range.contains(&place)
                        || in_front.is_some_and(|range| range.contains(&place));
                    let kept = vars.entries().contains(entry);
                    assert!(kept || touched, "{context} lost {entry:?}");
                }
                let foreign = vars.entries().iter().filter(|e| !new.entries().contains(e));
                assert!(foreign.count() <= 2, "{context}");
            }
        }
    }
}

/// The lines of a block that are entries, with their places; the line's end included.
fn lines(block: &[u8]) -> Vec<(Range<usize>, Entry)> {
    let mut start = 0;
    let mut found = Vec::new();
    for line in block.split_inclusive(|byte| *byte == b'\n') {
        let range = start..start + line.len();
        start = range.end;
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let equals = text.iter().position(|byte| *byte == b'=');
        if let Some(equals) = equals.filter(|_| !line.starts_with(b"#")) {
            let entry = Entry::Variable {
                name: text[..equals].into(),
                value: text[equals + 1..].into(),
            };
            found.push((range, entry));
        }
    }
    found
}

/// RAUC's contract has one block: its content keeps to the first sector, so that a sector that is
/// missing cannot be seen. Inside a sector nothing is promised but that one line at most is spliced.
#[test]
fn grub_single_block_torn_at_the_sector_reads_as_old_or_new() {
    let [_, old, new] = records();
    let (before, after) = (grub::encode(&old).unwrap(), grub::encode(&new).unwrap());
    for [first, second] in [[&before, &after], [&after, &before]] {
        let torn = [&first[..SECTOR], &second[SECTOR..]].concat();
        let vars = grub::parse(&torn).unwrap();
        assert!(vars == old || vars == new, "{vars:?}");
    }
    for length in 0..=grub::BLOCK_SIZE {
        let torn = [&after[..length], &before[length..]].concat();
        let Ok(vars) = grub::parse(&torn) else {
            panic!("{length}: both blocks begin with the same signature");
        };
        let known = |entry: &Entry| old.entries().contains(entry) || new.entries().contains(entry);
        let spliced = vars.entries().iter().filter(|entry| !known(entry)).count();
        assert!(spliced <= 1, "{length}: {vars:?}");
    }
}

#[test]
fn each_prefix_of_a_configuration_is_taken_or_refused() {
    let text = b"# where\n/dev/mmcblk0 0x100000 0x4000\n\n/dev/mmcblk0\t0x108000 0x4000 # two\n";
    let mut accepted = 0;
    for length in 0..=text.len() {
        let Ok(config) = FwEnvConfig::parse(&text[..length]) else {
            continue;
        };
        accepted += 1;
        for place in config.places() {
            assert_eq!(place.device, "/dev/mmcblk0", "{length}");
            assert!(place.size <= 0x4000 && place.offset <= 0x10_8000);
        }
    }
    assert!(accepted > 0 && accepted < text.len());
}

#[test]
fn each_prefix_of_a_command_line_is_taken_or_refused() {
    let text =
        "ro root=PARTLABEL=slot-b quiet \"a b\" switchback.slot=system1 switchback.env=0badcafe";
    for length in 0..=text.len() {
        let Ok(line) = CommandLine::parse(&text[..length]) else {
            continue;
        };
        let bootname = line.bootname.as_deref().unwrap_or_default();
        let contact = line.contact.as_deref().unwrap_or_default();
        assert!("system1".starts_with(bootname), "{length}: {bootname}");
        assert!("0badcafe".starts_with(contact), "{length}: {contact}");
    }
    let line = CommandLine::parse(text).unwrap();
    assert_eq!(line.bootname.as_deref(), Some("system1"));
    assert_eq!(line.contact.as_deref(), Some("0badcafe"));
}
