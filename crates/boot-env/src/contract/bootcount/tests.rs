use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::super::tests::{ARM_B, BACK_TO_A, GIVE_BACK_B, GOOD_A, GOOD_B, PRIMARY_B};
use super::super::{Applied, BootChange, Contract, ContractKind, SlotBoot};
use super::*;

use SlotName::{A, B};

/// Partitions 9 and 10, so that decimal and hexadecimal differ.
fn contract() -> Contract {
    Contract::new(ContractKind::Bootcount, BootNames::new("9", "10").unwrap())
}

/// Variables from words: `p` and `h` stand for Mender's two, `u`, `c` and `l` for the counters.
const SHORT: [(&str, &str); 6] = [
    ("p", "mender_boot_part"),
    ("h", "mender_boot_part_hex"),
    ("u", TRIAL),
    ("c", COUNT),
    ("l", LIMIT),
    ("id", CONTACT),
];

fn vars(text: &str) -> Vars {
    let long = |short: &str| {
        SHORT
            .iter()
            .find(|(s, _)| *s == short)
            .map(|(_, long)| *long)
    };
    text.split(' ')
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (long(name).unwrap_or(name).to_owned(), value.to_owned()))
        .collect()
}

fn text(vars: &Vars) -> String {
    let short = |name: &[u8]| {
        let name = String::from_utf8(name.to_vec()).unwrap();
        let known = SHORT.iter().find(|(_, long)| *long == name);
        known.map_or(name.clone(), |(short, _)| (*short).to_owned())
    };
    let words: Vec<_> = vars
        .iter()
        .map(|(name, value)| format!("{}={}", short(name), String::from_utf8_lossy(value)))
        .collect();
    words.join(" ")
}

#[test]
fn every_verb_is_one_change_of_all_variables() {
    let cases = [
        (
            "p=9 h=9 u=0 c=0 l=1 x=y",
            A,
            ARM_B,
            "p=10 h=a u=1 c=0 l=3 x=y id=new",
        ),
        ("", A, ARM_B, "p=10 h=a u=1 c=0 l=3 id=new"),
        // The inactive slot is not selected: nothing to write, the most frequent case.
        (
            "p=9 h=9 u=0 c=0",
            A,
            BootChange::Invalidate(B),
            "p=9 h=9 u=0 c=0",
        ),
        ("p=9 h=9", A, BootChange::Invalidate(B), "p=9 h=9"),
        // Armed and not yet started.
        (
            "p=10 h=a u=1 c=0 l=3",
            A,
            BootChange::Invalidate(B),
            "p=9 h=9 u=0 c=0 l=3",
        ),
        // A trial could fall back to it.
        (
            "p=9 h=9 u=1 c=2 l=3",
            A,
            BootChange::Invalidate(B),
            "p=9 h=9 u=0 c=0 l=3",
        ),
        ("", A, BootChange::Invalidate(B), "p=9 h=9"),
        ("p=10 h=a u=1 c=2 l=3", B, GOOD_B, "p=10 h=a u=0 c=0 l=3"),
        ("p=10 h=a u=0 c=0 l=3", B, GOOD_B, "p=10 h=a u=0 c=0 l=3"),
        // What runs is healthy, and another slot waits for its trial.
        ("p=10 h=a u=1 c=0 l=3", A, GOOD_A, "p=10 h=a u=1 c=0 l=3"),
        ("x=1", A, GOOD_A, "x=1 p=9 h=9"),
        ("x=1", A, GOOD_B, "x=1"),
        ("p=10 h=a u=1 c=2 l=3", B, BACK_TO_A, "p=9 h=9 u=0 c=0 l=3"),
        // After altbootcmd, which leaves the count.
        ("p=9 h=9 u=0 c=4 l=3", A, BACK_TO_A, "p=9 h=9 u=0 c=0 l=3"),
        ("p=9 h=9 u=0 c=0 l=3", A, PRIMARY_B, "p=10 h=a u=1 c=0 l=2"),
        ("p=10 h=a u=0 c=0 l=3", B, PRIMARY_B, "p=10 h=a u=0 c=0 l=3"),
        (
            "p=10 h=a u=1 c=2 l=3",
            B,
            GIVE_BACK_B,
            "p=10 h=a u=1 c=1 l=3",
        ),
        (
            "p=10 h=a u=1 c=0 l=3",
            B,
            GIVE_BACK_B,
            "p=10 h=a u=1 c=0 l=3",
        ),
        (
            "p=10 h=a u=0 c=2 l=3",
            B,
            GIVE_BACK_B,
            "p=10 h=a u=0 c=2 l=3",
        ),
        ("p=9 h=9 u=1 c=2 l=3", B, GIVE_BACK_B, "p=9 h=9 u=1 c=2 l=3"),
        // Two variables that disagree are put right.
        ("p=9 h=a u=0", A, GOOD_A, "p=9 h=9 u=0"),
    ];
    for (before, booted, change, after) in cases {
        let mut vars = vars(before);
        let applied = contract().apply(&mut vars, &change, booted);
        assert_eq!(text(&vars), after, "{before} {change:?}");
        assert_eq!(
            applied == Applied::AlreadySo,
            before == after,
            "{before} {change:?}"
        );
    }
}

#[test]
fn observes_a_trial_its_end_and_a_committed_slot() {
    use SlotBoot::{Bad, Exhausted, Missing, Uncounted};
    let ready = |left| SlotBoot::Ready { left };
    let cases = [
        ("p=9 h=9 u=0 c=0 l=3", Some(A), Uncounted, Bad, vec![A]),
        ("p=9 h=9", Some(A), Uncounted, Bad, vec![A]),
        (
            "p=10 h=a u=1 c=0 l=3",
            Some(B),
            Uncounted,
            ready(3),
            vec![B, A],
        ),
        (
            "p=10 h=a u=1 c=2 l=3",
            Some(B),
            Uncounted,
            ready(1),
            vec![B, A],
        ),
        // The next start adds one: that is beyond the limit.
        (
            "p=10 h=a u=1 c=3 l=3",
            Some(A),
            Uncounted,
            Exhausted,
            vec![B, A],
        ),
        (
            "p=10 h=a u=1 c=9 l=3",
            Some(A),
            Uncounted,
            Exhausted,
            vec![B, A],
        ),
        (
            "p=10 h=a u=1 c=1 l=999",
            Some(B),
            Uncounted,
            ready(255),
            vec![B, A],
        ),
        // What altbootcmd leaves behind.
        (
            "p=9 h=9 u=0 c=4 l=3",
            Some(A),
            Uncounted,
            Exhausted,
            vec![A],
        ),
        // No limit: U-Boot never gives up.
        (
            "p=10 h=a u=1 c=7",
            Some(B),
            Uncounted,
            Uncounted,
            vec![B, A],
        ),
        (
            "p=10 h=a u=1 c=7 l=0",
            Some(B),
            Uncounted,
            Uncounted,
            vec![B, A],
        ),
        // As U-Boot reads numbers.
        (
            "p=10 h=a u=1x c=1z l=3,",
            Some(B),
            Uncounted,
            ready(2),
            vec![B, A],
        ),
        (
            "p=10 h=a u=0x1 c=0X2 l=0xA",
            Some(B),
            Uncounted,
            ready(8),
            vec![B, A],
        ),
        (
            "p=10 h=a u=01 c=010 l=12",
            Some(B),
            Uncounted,
            ready(2),
            vec![B, A],
        ),
        ("p=10 h=a u=no c=1 l=3", Some(B), Bad, Uncounted, vec![B]),
        ("p=9 h=a u=0", None, Missing, Missing, vec![]),
        ("p=7 u=0", None, Missing, Missing, vec![]),
        ("x=1", None, Missing, Missing, vec![]),
    ];
    for (before, primary, a, b, order) in cases {
        let view = contract().observe(&vars(before));
        assert_eq!((view.primary, view.a, view.b), (primary, a, b), "{before}");
        assert_eq!(view.order, order, "{before}");
        assert_eq!(view.unset, before == "x=1", "{before}");
    }
}

#[test]
fn a_trial_counted_by_uboot_and_given_up() {
    let contract = contract();
    let mut vars = contract.defaults(3);
    assert_eq!(text(&vars), "p=9 h=9 u=0 c=0 l=3");
    contract.apply(&mut vars, &ARM_B, A);
    for boot in 1..=3u8 {
        assert_eq!(contract.observe(&vars).primary, Some(B), "boot {boot}");
        vars.set(COUNT, &format!("{boot}"));
        let left = 3 - boot;
        let expected = if left == 0 {
            SlotBoot::Exhausted
        } else {
            SlotBoot::Ready { left }
        };
        assert_eq!(contract.observe(&vars).b, expected);
    }
    assert_eq!(contract.observe(&vars).primary, Some(A));
}

/// Every change, from every start, leaves the same promises behind.
#[test]
fn promises_hold_after_every_change() {
    let contract = contract();
    for slots in ["", "p=9 ", "p=9 h=9 ", "p=10 h=a ", "p=9 h=a ", "p=x "] {
        for counters in [
            "",
            "u=0 c=0 l=3 ",
            "u=1 c=1 l=3 ",
            "u=1 c=4 l=3 ",
            "u=0 c=4 l=3 ",
            "u=1 ",
        ] {
            for slot in SlotName::ALL {
                for booted in SlotName::ALL {
                    let start = format!("{slots}{counters}foreign=x");
                    let after = |change: &BootChange<'_>| {
                        let mut vars = vars(&start);
                        contract.apply(&mut vars, change, booted);
                        assert_eq!(vars.text("foreign"), Some("x"), "{start}");
                        let mut again = vars.clone();
                        let applied = contract.apply(&mut again, change, booted);
                        assert_eq!(applied, Applied::AlreadySo, "{start} {change:?}");
                        contract.observe(&vars)
                    };
                    let view = after(&BootChange::Invalidate(slot));
                    assert_eq!(
                        (view.slot(slot), view.primary),
                        (SlotBoot::Bad, Some(slot.other()))
                    );
                    assert_eq!(view.order, [slot.other()]);
                    let contact_id = "n";
                    let view = after(&BootChange::Arm {
                        slot,
                        tries: 3,
                        contact_id,
                    });
                    assert_eq!(
                        (view.slot(slot), view.primary),
                        (SlotBoot::Ready { left: 3 }, Some(slot))
                    );
                    assert_eq!(view.order, [slot, slot.other()]);
                    assert_eq!(view.contact_id.as_deref(), Some("n"));
                    let view = after(&BootChange::FallBack {
                        bad: slot,
                        to: slot.other(),
                        tries: 3,
                    });
                    assert_eq!(
                        (view.slot(slot), view.primary),
                        (SlotBoot::Bad, Some(slot.other()))
                    );
                    let view = after(&BootChange::SetPrimary { slot, tries: 0 });
                    assert_eq!(view.primary, Some(slot), "{start}");
                    let before = contract.observe(&vars(&start));
                    let view = after(&BootChange::MarkGood { slot, tries: 3 });
                    if before.order.first() == Some(&slot) {
                        assert_eq!(
                            (view.slot(slot), view.order),
                            (SlotBoot::Uncounted, vec![slot])
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn boards_with_a_variable_of_their_own() {
    let names = BootNames::new("rootfs1", "rootfs2").unwrap();
    let variables = SlotVariables::new("rootpart", None, &names).unwrap();
    let contract =
        Contract::new(ContractKind::Bootcount, names.clone()).with_slot_variables(variables);
    let mut vars = vars("rootpart=rootfs1 h=9");
    contract.apply(&mut vars, &ARM_B, A);
    assert_eq!(text(&vars), "rootpart=rootfs2 h=9 u=1 c=0 l=3 id=new");

    for name in [
        "",
        "a b",
        "x=",
        "bootcount",
        "upgrade_available",
        "bootlimit",
        "switchback_id",
    ] {
        let expected = SlotVariableError::Name { name: name.into() };
        assert_eq!(SlotVariables::new(name, None, &names), Err(expected));
    }
    let twice = SlotVariableError::Name { name: "p".into() };
    assert_eq!(SlotVariables::new("p", Some("p"), &names), Err(twice));
    for bootname in ["rootfs1", "0x2", "02", "+2", "99999"] {
        let names = BootNames::new("2", &bootname.replace('+', "-")).unwrap();
        let error = SlotVariables::new("p", Some("h"), &names).unwrap_err();
        assert!(
            matches!(error, SlotVariableError::NoNumber { .. }),
            "{bootname}: {error}"
        );
    }
}
