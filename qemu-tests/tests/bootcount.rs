//! The contract `bootcount` under a real U-Boot: its own counter, its own `saveenv`, its own choice
//! between `bootcmd` and `altbootcmd`, and our codec and verbs on the same card.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its equipment does, its helpers included"
)]

use std::time::Duration;

use qemu_tests::board::{Board as _, Disk, DiskSpec, ENV_DRIVE};
use qemu_tests::cache::Cache;
use qemu_tests::image::Image;
use qemu_tests::machine::MachineBuilder;
use qemu_tests::nbd::{CutPoint, CutServer, LoggedRequest, Survive};
use qemu_tests::rootfs::{Ingredients, RootfsSpec, TinyRootfs, tiny};
use qemu_tests::uboot::{COPY_SIZE, UbootBoard};
use switchback_boot_env::contract::{
    Applied, BootChange, BootNames, BootView, Contract, ContractKind, SlotBoot,
};
use switchback_boot_env::uboot::{Environment, FlagScheme};
use switchback_boot_env::{Copy, Vars};
use switchback_types::SlotName::{self, A, B};

const SOON: Duration = Duration::from_secs(60);

const ARM_B: BootChange<'_> = BootChange::Arm {
    slot: B,
    tries: 2,
    contact_id: "0badcafe",
};

/// A board with two slots that hold nothing: the script says which one it would have started.
struct Bench {
    board: UbootBoard,
    disk: Disk,
    work: tempfile::TempDir,
}

/// Our codec and verbs over the card's two copies.
impl Bench {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let zeros = work.path().join("zeros");
        std::fs::write(&zeros, vec![0; 1 << 20]).unwrap();
        Self::with(&Image::at(zeros).unwrap(), work)
    }

    fn with(image: &Image, work: tempfile::TempDir) -> Self {
        let board = UbootBoard::with_bootcount(&Cache::open().unwrap()).unwrap();
        let spec = DiskSpec::new(image, work.path()).slot_b(image);
        let disk = board.build_disk(&spec).unwrap();
        Self { board, disk, work }
    }

    fn machine(&self) -> MachineBuilder {
        self.board
            .machine(&self.disk, "bootcount", self.work.path())
            .no_network()
    }

    /// Starts once from a card with these bytes, and cuts the power after `point` changes of it.
    fn cut_in_a_start(&self, card: &[u8], point: u64, survive: Survive) -> LoggedRequest {
        let path = self.disk.env.as_ref().unwrap();
        std::fs::write(path, card).unwrap();
        let server = CutServer::start_without_cache(path, &self.work.path().join("s")).unwrap();
        let reached = server.cut_at(CutPoint::Change(point));
        let machine = self
            .machine()
            .backend(ENV_DRIVE, &server.backend())
            .start()
            .unwrap();
        let request = reached.recv_timeout(SOON).unwrap();
        machine.power_cut().unwrap();
        server.cut(survive).unwrap();
        request
    }

    /// Starts once; what the script said of the slot, and whether U-Boot gave a trial up.
    fn start(&self) -> (String, bool) {
        let mut machine = self.machine().start().unwrap();
        let line = machine.wait_line("SB: slot=", SOON).unwrap();
        let exceeded = machine
            .lines()
            .iter()
            .any(|line| line.text.contains("Bootlimit") && line.text.contains("exceeded"));
        machine.power_cut().unwrap();
        (line.trim_start_matches("SB: ").trim().to_owned(), exceeded)
    }

    fn environment(&self) -> Environment {
        let [first, second] = self.board.read_copies(&self.disk).unwrap();
        Environment::redundant(&first, &second, FlagScheme::Incremental).unwrap()
    }

    fn observe(&self) -> BootView {
        contract().observe(&self.environment().vars)
    }

    fn apply(&self, change: &BootChange<'_>, booted: SlotName) -> Applied {
        let mut environment = self.environment();
        let applied = contract().apply(&mut environment.vars, change, booted);
        if applied == Applied::Changed {
            let next = environment.successor().unwrap();
            let copy = next.copy.index();
            self.board
                .write_copy(&self.disk, copy, 0, &next.bytes)
                .unwrap();
        }
        applied
    }
}

fn contract() -> Contract {
    Contract::new(ContractKind::Bootcount, BootNames::new("2", "3").unwrap())
}

fn left(left: u8) -> SlotBoot {
    SlotBoot::Ready { left }
}

#[test]
#[ignore = "starts virtual machines"]
fn uboots_own_counter_ends_a_trial_and_altbootcmd_brings_the_old_slot_back() {
    let bench = Bench::new();
    assert_eq!(bench.start().0, "slot=2 trial=0 count=1 limit=3");
    assert_eq!(bench.apply(&ARM_B, A), Applied::Changed);
    assert_eq!(bench.observe().b, left(2));
    assert_eq!(bench.board.read_env(&bench.disk).unwrap()["bootlimit"], "2");

    for count in 1..=2u8 {
        let said = format!("slot=3 trial=1 count={count} limit=2");
        assert_eq!(bench.start(), (said, false));
        let expected = if count == 2 {
            SlotBoot::Exhausted
        } else {
            left(1)
        };
        assert_eq!(bench.observe().b, expected);
    }
    assert_eq!(bench.observe().primary, Some(A), "the next start gives up");
    assert_eq!(
        bench.start(),
        ("slot=2 trial=0 count=3 limit=2".into(), true)
    );
    let view = bench.observe();
    assert_eq!(
        (view.primary, view.a, view.b),
        (Some(A), SlotBoot::Uncounted, SlotBoot::Exhausted)
    );
    // It stays so, and the system's own words settle it.
    assert!(!bench.start().1);
    let back = BootChange::FallBack {
        bad: B,
        to: A,
        tries: 2,
    };
    assert_eq!(bench.apply(&back, A), Applied::Changed);
    assert_eq!(bench.observe().b, SlotBoot::Bad);
    let (said, exceeded) = bench.start();
    assert!(said.starts_with("slot=2 trial=0") && !exceeded, "{said}");
}

#[test]
#[ignore = "starts virtual machines"]
fn a_committed_slot_is_not_counted_and_nothing_is_written() {
    let bench = Bench::new();
    bench.apply(&ARM_B, A);
    bench.start();
    let good = BootChange::MarkGood { slot: B, tries: 2 };
    assert_eq!(bench.apply(&good, B), Applied::Changed);
    let copies = bench.board.read_copies(&bench.disk).unwrap();
    for _ in 0..4 {
        let (said, exceeded) = bench.start();
        assert!(said.starts_with("slot=3 trial=0") && !exceeded, "{said}");
        assert_eq!(bench.apply(&good, B), Applied::AlreadySo);
    }
    assert!(copies == bench.board.read_copies(&bench.disk).unwrap());
    assert_eq!(bench.observe().b, SlotBoot::Uncounted);
}

#[test]
#[ignore = "starts virtual machines"]
fn a_try_given_back_is_one_more_start() {
    let bench = Bench::new();
    bench.apply(&ARM_B, A);
    for _ in 0..4 {
        assert_eq!(bench.start().0, "slot=3 trial=1 count=1 limit=2");
        assert_eq!(bench.observe().b, left(1));
        bench.apply(&BootChange::GiveBackTry { slot: B }, B);
        assert_eq!(bench.observe().b, left(2));
    }
}

/// The variables that U-Boot read are those that our codec wrote, and it says so in writing.
#[test]
#[ignore = "starts virtual machines"]
fn our_codec_and_uboot_read_each_other_for_ever() {
    let bench = Bench::new();
    let strangers = [("serial", "0815"), ("ethaddr", "52:54:00:12:34:56")];
    bench.board.set(&bench.disk, &strangers).unwrap();
    let mut places = Vec::new();
    for round in 0..4u8 {
        bench.apply(&ARM_B, A);
        places.push(bench.environment().current());
        assert_eq!(bench.start().0, "slot=3 trial=1 count=1 limit=2", "{round}");
        places.push(bench.environment().current());
        let vars: Vars = bench.environment().vars;
        for (name, value) in strangers.into_iter().chain([("switchback_id", "0badcafe")]) {
            assert_eq!(vars.text(name), Some(value), "{round}");
        }
        assert!(vars.text("bootcmd").is_some());
        bench.apply(&BootChange::Invalidate(B), A);
        places.push(bench.environment().current());
    }
    let turns = places.windows(2).all(|pair| pair[0] == pair[1].other());
    assert!(turns && places.contains(&Copy::First), "{places:?}");
}

/// Cuts the power at each sector that U-Boot's own counter writes: the card has no cache, each
/// sector is durable by itself, so this is every state that a cut can leave.
#[test]
#[ignore = "starts virtual machines"]
fn a_power_cut_inside_its_own_saveenv_leaves_the_older_or_the_newer_record() {
    let bench = Bench::new();
    bench.apply(&ARM_B, A);
    let armed = std::fs::read(bench.disk.env.as_ref().unwrap()).unwrap();
    let older = bench.environment().vars;
    bench.start();
    let newer = bench.environment().vars;
    assert_eq!(
        (older.text("bootcount"), newer.text("bootcount")),
        (Some("0"), Some("1"))
    );

    let (mut old, mut new) = (0, 0);
    let sectors = COPY_SIZE / 512;
    for point in 1..=sectors {
        for survive in [Survive::Nothing, Survive::Everything] {
            // What survives of the last sector is what is left of the next one's nothing.
            if survive == Survive::Everything && point != sectors {
                continue;
            }
            let request = bench.cut_in_a_start(&armed, point, survive);
            assert_eq!(request.sectors, 1, "{request:?}");

            let context = format!("cut at sector {point}, {survive:?}");
            let found = bench.environment().vars;
            assert!(found == older || found == newer, "{context}: {found:?}");
            let counted = u8::from(found == newer);
            old += u32::from(counted == 0);
            new += u32::from(counted == 1);
            // U-Boot itself reads the same one and counts on from there, in the slot on trial.
            let expected = format!("slot=3 trial=1 count={} limit=2", counted + 1);
            assert_eq!(bench.start(), (expected, false), "{context}");
        }
    }
    println!(
        "{} cuts: {old} left the older record, {new} the newer",
        old + new
    );
    assert!(old > 0 && new > 0);
}

/// The same in the save of altbootcmd: the old slot comes back, at the latest at the next start.
#[test]
#[ignore = "starts virtual machines"]
fn a_power_cut_while_altbootcmd_saves_costs_nothing() {
    let bench = Bench::new();
    bench.apply(&ARM_B, A);
    bench.start();
    bench.start();
    let used_up = std::fs::read(bench.disk.env.as_ref().unwrap()).unwrap();
    let sectors = COPY_SIZE / 512;
    // The count is saved first, then altbootcmd saves.
    for point in [
        1,
        2,
        8,
        9,
        sectors,
        sectors + 1,
        sectors + 2,
        sectors + 9,
        2 * sectors,
    ] {
        for survive in [Survive::Nothing, Survive::Everything] {
            bench.cut_in_a_start(&used_up, point, survive);
            let context = format!("cut at sector {point}, {survive:?}");
            assert_eq!(bench.observe().primary, Some(A), "{context}");
            let (said, _) = bench.start();
            assert!(said.starts_with("slot=2 trial=0"), "{context}: {said}");
            let view = bench.observe();
            assert_eq!(
                (view.primary, view.b),
                (Some(A), SlotBoot::Exhausted),
                "{context}"
            );
        }
    }
}

#[test]
#[ignore = "starts virtual machines"]
fn a_lost_environment_starts_slot_a_and_a_trial_after_it_still_ends() {
    let bench = Bench::new();
    for copy in [0, 1] {
        bench
            .board
            .write_copy(&bench.disk, copy, 0, &[0xff; 512])
            .unwrap();
    }
    assert!(bench.start().0.starts_with("slot=2 trial=0"));
    bench.apply(&ARM_B, A);
    for slot in ["slot=3 trial=1", "slot=3 trial=1", "slot=2 trial=0"] {
        let (said, _) = bench.start();
        assert!(said.starts_with(slot), "{said}");
    }
}

/// What `boot/u-boot/README.md` warns of: nobody can type anything there.
#[test]
#[ignore = "starts virtual machines"]
fn without_altbootcmd_uboot_ends_at_its_prompt_when_a_trial_is_over() {
    let bench = Bench::new();
    let over = [
        ("altbootcmd", ""),
        ("mender_boot_part", "3"),
        ("upgrade_available", "1"),
        ("bootcount", "1"),
        ("bootlimit", "1"),
    ];
    bench.board.set(&bench.disk, &over).unwrap();
    let mut machine = bench.machine().start().unwrap();
    machine.wait_line("Using altbootcmd", SOON).unwrap();
    let answers = (0..20).any(|_| {
        machine.send_line("echo SB-\"PROMPT\"").unwrap();
        let answer = |line: &str| (line.trim() == "SB-PROMPT").then_some(());
        let within = Duration::from_secs(3);
        machine.wait_for("the prompt", within, answer).is_ok()
    });
    assert!(answers, "no prompt");
    let started = machine
        .lines()
        .iter()
        .any(|line| line.text.contains("SB: slot="));
    assert!(!started, "a slot was started");
    machine.power_cut().unwrap();
}

#[test]
#[ignore = "starts virtual machines"]
fn a_guest_on_trial_is_started_as_often_as_it_may_and_knows_its_slot() {
    let ingredients = Ingredients::prepare(&Cache::open().unwrap()).unwrap();
    let image = TinyRootfs::new(&ingredients)
        .unwrap()
        .image(&RootfsSpec::new("1.0"))
        .unwrap();
    let bench = Bench::with(&image, tempfile::tempdir().unwrap());
    bench.apply(&ARM_B, A);
    for slot in ["slot=3", "slot=3", "slot=2", "slot=2"] {
        let mut machine = bench.machine().start().unwrap();
        let line = machine.wait_line(tiny::UP, SOON).unwrap();
        machine.power_cut().unwrap();
        assert!(line.contains(slot), "{slot}: {line}");
    }
}
