//! The models do what the real bootloaders did: every recorded case, every byte.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use switchback_boot_env::contract::{BootNames, Contract, ContractKind};
use switchback_boot_env::grub_pair::Pair;
use switchback_boot_env::uboot::{Environment, FlagScheme};
use switchback_testkit::bootloader::{Act, Loader, SlotState, Start, run};
use switchback_types::SlotName;

/// As many as the models are trusted for.
const FEWEST_CASES: usize = 40;

const TABLES: [&str; 4] = [
    "switchback-grub",
    "rauc-grub",
    "rauc-uboot",
    "bootcount-uboot",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn table(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recorded/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| {
        panic!(
            "{}: {why}; record it: cargo xtask record-bootloaders",
            path.display()
        )
    });
    serde_json::from_str(&text).unwrap()
}

/// Bytes from the notation of `qemu-tests/src/record/notation.rs`.
fn bytes(copy: &Value) -> Vec<u8> {
    let size = usize::try_from(copy["size"].as_u64().unwrap()).unwrap();
    let fill = hex::decode(copy["fill"].as_str().unwrap()).unwrap()[0];
    if let Some(strings) = copy["strings"].as_array() {
        let mut data = Vec::new();
        for string in strings {
            data.extend_from_slice(string.as_str().unwrap().as_bytes());
            data.push(0);
        }
        data.push(0);
        data.resize(size - 5, fill);
        let flags = u8::try_from(copy["flags"].as_u64().unwrap()).unwrap();
        let checksum = crc32fast::hash(&data).to_le_bytes();
        return [checksum.as_slice(), &[flags], &data].concat();
    }
    let mut content = match copy["hex"].as_str() {
        Some(digits) => hex::decode(digits).unwrap(),
        None => copy["text"].as_str().unwrap().as_bytes().to_vec(),
    };
    content.resize(size, fill);
    content
}

fn copies(list: &Value) -> Vec<Vec<u8>> {
    list.as_array().unwrap().iter().map(bytes).collect()
}

fn slots(list: &Value) -> [SlotState; 2] {
    [0, 1].map(|index| match list[index].as_str().unwrap() {
        "loads" => SlotState::Loads,
        "none" => SlotState::Unloadable,
        "broken" => SlotState::Broken,
        "no initrd" => SlotState::NoInitrd,
        "bad initrd" => SlotState::BadInitrd,
        other => panic!("a slot that is `{other}`"),
    })
}

/// What a kernel with this command line knows.
fn told(line: &str) -> Start {
    let value = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
    let bootname = value("switchback.slot=").or_else(|| value("rauc.slot="));
    let slot = match bootname {
        Some("A" | "2") => SlotName::A,
        Some("B" | "3") => SlotName::B,
        _ => panic!("{line}"),
    };
    assert_eq!(
        value("root="),
        Some(format!("PARTLABEL=slot-{slot}").as_str()),
        "the kernel is told another slot than its root: {line}"
    );
    let contact = value("switchback.env=").filter(|id| !id.is_empty());
    Start {
        slot,
        environment_bad: value("switchback.env_state=") == Some("bad"),
        contact: contact.map(str::to_owned),
    }
}

fn recorded_acts(case: &Value) -> Vec<Act> {
    let saves = case["saves"].as_array().unwrap().iter();
    let mut acts: Vec<Act> = saves
        .map(|save| Act::Save {
            copy: usize::try_from(save["copy"].as_u64().unwrap()).unwrap(),
            bytes: bytes(&save["after"]),
        })
        .collect();
    acts.extend(case["kernel"].as_str().map(|line| Act::Start(told(line))));
    acts
}

/// Acts as a person can compare them.
fn shown(acts: &[Act]) -> String {
    let lines = acts.iter().map(|act| match act {
        Act::Save { copy, bytes } => {
            let end = bytes.iter().rposition(|byte| Some(byte) != bytes.last());
            let content = &bytes[..end.map_or(0, |end| end + 1)];
            format!("  save copy {copy}: {}", content.escape_ascii())
        }
        Act::Start(start) => format!("  {start:?}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Cases that are recorded as a warning: inputs that make U-Boot's shell stumble, and which nothing
/// of ours writes.
const BEYOND: &str = "beyond the model: ";

fn is_beyond(case: &Value) -> bool {
    case["name"].as_str().unwrap().starts_with(BEYOND)
}

fn replay(loader: Loader, name: &str) {
    let table = table(name);
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() >= FEWEST_CASES, "{name}: {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        if is_beyond(case) {
            continue;
        }
        let found = run(loader, &copies(&case["before"]), slots(&case["slots"])).acts;
        let expected = recorded_acts(case);
        if found != expected {
            wrong.push(format!(
                "{}\n the real one:\n{}\n the model:\n{}",
                case["name"],
                shown(&expected),
                shown(&found)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{name}: the model differs from the real one in {} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// A table says nothing about a script that was changed after it.
fn check_script(name: &str) {
    let recorded = &table(name)["recorded"];
    let script = recorded["script"].as_str().unwrap();
    let bytes = std::fs::read(workspace().join(script)).unwrap();
    assert_eq!(
        hex::encode(Sha256::digest(&bytes)),
        recorded["script_sha256"].as_str().unwrap(),
        "{script} is not the script that crates/testkit/recorded/{name}.json was recorded from; \
         record it again: {}",
        recorded["again"].as_str().unwrap()
    );
}

#[test]
fn switchback_grub_does_what_the_real_one_did() {
    replay(Loader::SwitchbackGrub, "switchback-grub");
}

#[test]
fn rauc_grub_does_what_the_real_one_did() {
    replay(Loader::RaucGrub, "rauc-grub");
}

#[test]
fn rauc_uboot_does_what_the_real_one_did() {
    replay(Loader::RaucUboot, "rauc-uboot");
}

#[test]
fn bootcount_does_what_the_real_one_did() {
    replay(Loader::Bootcount, "bootcount-uboot");
}

#[test]
fn tables_are_those_of_the_committed_scripts() {
    for name in TABLES {
        check_script(name);
    }
}

#[test]
fn tables_hold_starts_of_both_slots_and_runs_without_one() {
    for name in TABLES {
        let table = table(name);
        let started: Vec<Option<SlotName>> = table["cases"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|case| !is_beyond(case))
            .map(|case| Some(told(case["kernel"].as_str()?).slot))
            .collect();
        for wanted in [Some(SlotName::A), Some(SlotName::B), None] {
            assert!(
                started.contains(&wanted),
                "{name}: no case ends in {wanted:?}"
            );
        }
    }
}

/// The copy that the product's codec would take, as an index.
fn current(loader: Loader, copies: &[Vec<u8>]) -> Option<usize> {
    match loader {
        Loader::SwitchbackGrub => Pair::read(&copies[0], &copies[1])
            .ok()
            .map(|pair| pair.current().index()),
        Loader::RaucUboot | Loader::Bootcount => {
            Environment::redundant(&copies[0], &copies[1], FlagScheme::Incremental)
                .ok()
                .map(|environment| environment.current().index())
        }
        Loader::RaucGrub => Some(0),
    }
}

#[test]
fn product_takes_the_copy_that_the_real_ones_took_and_wrote() {
    for (loader, name) in [
        (Loader::SwitchbackGrub, "switchback-grub"),
        (Loader::RaucUboot, "rauc-uboot"),
        (Loader::Bootcount, "bootcount-uboot"),
    ] {
        let (mut taken, mut written) = (0, 0);
        for case in table(name)["cases"].as_array().unwrap() {
            let mut copies = copies(&case["before"]);
            let mut before = current(loader, &copies);
            for save in case["saves"].as_array().unwrap() {
                let copy = usize::try_from(save["copy"].as_u64().unwrap()).unwrap();
                copies[copy] = bytes(&save["after"]);
                // GRUB writes over the one that it took where it cannot write the other.
                if before == Some(1 - copy) {
                    taken += 1;
                } else if loader != Loader::SwitchbackGrub {
                    assert_eq!(before, None, "{}", case["name"]);
                }
                before = current(loader, &copies);
                assert_eq!(
                    before,
                    Some(copy),
                    "{name}, {}: a save that the next start does not read",
                    case["name"]
                );
                written += 1;
            }
        }
        assert!(
            taken >= FEWEST_CASES && written >= taken,
            "{name}: {taken}, {written}"
        );
    }
}

/// Where the product expects another slot than the real one started: a number of more than 32 bits,
/// which this U-Boot cuts off, and a variable of the script's own that nobody stores.
const UNFORESEEN: &[&str] = &[
    "on trial `1`, count `4294967295`, limit `9`",
    "on trial `1`, count `4294967297`, limit `3`",
    "on trial `1`, count `5`, limit `4294967297`",
    "on trial `4294967296`, count `5`, limit `3`",
    "give_up is stored, no trial",
    "give_up is stored, a trial",
];

#[test]
fn product_foresees_the_slot_that_the_real_bootcount_started() {
    let names = BootNames::new("2", "3").unwrap();
    let contract = Contract::new(ContractKind::Bootcount, names);
    let mut unforeseen = Vec::new();
    let mut foreseen = 0;
    for case in table("bootcount-uboot")["cases"].as_array().unwrap() {
        let copies = copies(&case["before"]);
        let read = Environment::redundant(&copies[0], &copies[1], FlagScheme::Incremental);
        let view = read.map(|environment| contract.observe(&environment.vars));
        let (Ok(Some(expected)), Some(line)) =
            (view.map(|view| view.primary), case["kernel"].as_str())
        else {
            continue;
        };
        if told(line).slot == expected {
            foreseen += 1;
        } else {
            unforeseen.push(case["name"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(unforeseen, UNFORESEEN);
    assert!(foreseen >= FEWEST_CASES, "{foreseen}");
}
