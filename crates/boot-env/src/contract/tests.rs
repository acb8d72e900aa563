use alloc::format;
use alloc::vec;

use super::*;

use SlotName::{A, B};

pub(super) const ARM_B: BootChange<'_> = BootChange::Arm {
    slot: B,
    tries: 3,
    contact_id: "new",
};
pub(super) const GOOD_A: BootChange<'_> = BootChange::MarkGood { slot: A, tries: 3 };
pub(super) const GOOD_B: BootChange<'_> = BootChange::MarkGood { slot: B, tries: 3 };
pub(super) const PRIMARY_B: BootChange<'_> = BootChange::SetPrimary { slot: B, tries: 2 };
pub(super) const BACK_TO_A: BootChange<'_> = BootChange::FallBack {
    bad: B,
    to: A,
    tries: 3,
};
pub(super) const GIVE_BACK_B: BootChange<'_> = BootChange::GiveBackTry { slot: B };

fn contract(kind: ContractKind) -> Contract {
    Contract::new(kind, BootNames::default())
}

/// Variables from `name=value` words; `+` in a value stands for a blank.
fn vars(text: &str) -> Vars {
    let pairs = text.split(' ').filter_map(|word| word.split_once('='));
    pairs
        .map(|(name, value)| (name, value.replace('+', " ")))
        .collect()
}

fn text(vars: &Vars) -> String {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(' ', "+");
    let words: Vec<_> = vars
        .iter()
        .map(|(name, value)| format!("{}={}", shown(name), shown(value)))
        .collect();
    words.join(" ")
}

/// Applies a change and compares; a change that changes nothing must say so.
fn check(kind: ContractKind, booted: SlotName, cases: &[(&str, BootChange<'_>, &str)]) {
    for (before, change, after) in cases {
        let mut vars = vars(before);
        let applied = contract(kind).apply(&mut vars, change, booted);
        assert_eq!(text(&vars), *after, "{before} {change:?}");
        assert_eq!(
            applied == Applied::AlreadySo,
            before == after,
            "{before} {change:?}"
        );
        let again = contract(kind).apply(&mut vars, change, booted);
        let repeatable = !matches!(change, BootChange::GiveBackTry { .. });
        assert!(
            !repeatable || again == Applied::AlreadySo,
            "{before} {change:?} twice"
        );
    }
}

#[test]
fn rauc_on_uboot_from_slot_a() {
    let cases = [
        (
            "x=1 BOOT_ORDER=A+B+R BOOT_A_LEFT=3 BOOT_B_LEFT=3 y=2",
            BootChange::Invalidate(B),
            "x=1 BOOT_ORDER=A+R BOOT_A_LEFT=3 BOOT_B_LEFT=0 y=2",
        ),
        (
            "BOOT_ORDER=A+R BOOT_A_LEFT=3 BOOT_B_LEFT=0 y=2",
            ARM_B,
            "BOOT_ORDER=B+A+R BOOT_A_LEFT=3 BOOT_B_LEFT=3 y=2 switchback_id=new",
        ),
        (
            "BOOT_ORDER=R+A+B BOOT_B_LEFT=3 switchback_id=old",
            ARM_B,
            "BOOT_ORDER=B+R+A BOOT_B_LEFT=3 switchback_id=new",
        ),
        // A fresh board: the running slot must be there to fall back to.
        ("", ARM_B, "BOOT_ORDER=B+A BOOT_B_LEFT=3 switchback_id=new"),
        (
            "BOOT_ORDER=",
            ARM_B,
            "BOOT_ORDER=B+A BOOT_B_LEFT=3 switchback_id=new",
        ),
        ("BOOT_ORDER=B", PRIMARY_B, "BOOT_ORDER=B+A BOOT_B_LEFT=2"),
        (
            "BOOT_ORDER=R",
            ARM_B,
            "BOOT_ORDER=B+A+R BOOT_B_LEFT=3 switchback_id=new",
        ),
        ("", BootChange::Invalidate(B), "BOOT_ORDER=A BOOT_B_LEFT=0"),
        ("", GOOD_A, "BOOT_ORDER=A+B BOOT_A_LEFT=3"),
        // Marked bad while it ran, then found healthy: it is put back.
        (
            "BOOT_ORDER=B+R BOOT_A_LEFT=0 BOOT_B_LEFT=3",
            GOOD_A,
            "BOOT_ORDER=B+A+R BOOT_A_LEFT=3 BOOT_B_LEFT=3",
        ),
        (
            "BOOT_ORDER=A+B BOOT_A_LEFT=2",
            GOOD_A,
            "BOOT_ORDER=A+B BOOT_A_LEFT=3",
        ),
        (
            "BOOT_ORDER=A+B BOOT_A_LEFT=3",
            GOOD_A,
            "BOOT_ORDER=A+B BOOT_A_LEFT=3",
        ),
        (
            "BOOT_ORDER=A BOOT_A_LEFT=3",
            BootChange::Invalidate(A),
            "BOOT_ORDER=B BOOT_A_LEFT=0",
        ),
        (
            "BOOT_ORDER=A+B",
            BootChange::MarkGood {
                slot: A,
                tries: 200,
            },
            "BOOT_ORDER=A+B BOOT_A_LEFT=f",
        ),
        (
            "BOOT_ORDER=A+B",
            BootChange::MarkGood { slot: A, tries: 0 },
            "BOOT_ORDER=A+B BOOT_A_LEFT=1",
        ),
    ];
    check(ContractKind::RaucUboot, A, &cases);
}

#[test]
fn rauc_on_uboot_from_a_trial_of_slot_b() {
    let cases = [
        (
            "BOOT_ORDER=B+A+R BOOT_A_LEFT=2 BOOT_B_LEFT=1",
            BACK_TO_A,
            "BOOT_ORDER=A+R BOOT_A_LEFT=3 BOOT_B_LEFT=0",
        ),
        ("", BACK_TO_A, "BOOT_ORDER=A BOOT_B_LEFT=0 BOOT_A_LEFT=3"),
        (
            "BOOT_ORDER=B BOOT_B_LEFT=1",
            BACK_TO_A,
            "BOOT_ORDER=A BOOT_B_LEFT=0 BOOT_A_LEFT=3",
        ),
        (
            "BOOT_ORDER=B+A BOOT_B_LEFT=2",
            GIVE_BACK_B,
            "BOOT_ORDER=B+A BOOT_B_LEFT=3",
        ),
        (
            "BOOT_ORDER=B+A BOOT_B_LEFT=0",
            GIVE_BACK_B,
            "BOOT_ORDER=B+A BOOT_B_LEFT=1",
        ),
        (
            "BOOT_ORDER=B+A BOOT_B_LEFT=9",
            GIVE_BACK_B,
            "BOOT_ORDER=B+A BOOT_B_LEFT=a",
        ),
        (
            "BOOT_ORDER=B+A BOOT_B_LEFT=f",
            GIVE_BACK_B,
            "BOOT_ORDER=B+A BOOT_B_LEFT=f",
        ),
        (
            "BOOT_ORDER=A BOOT_B_LEFT=0",
            GIVE_BACK_B,
            "BOOT_ORDER=A BOOT_B_LEFT=0",
        ),
        ("", GIVE_BACK_B, ""),
    ];
    check(ContractKind::RaucUboot, B, &cases);
}

#[test]
fn rauc_on_grub() {
    let cases = [
        (
            "ORDER=A+B+R A_OK=1 A_TRY=0 B_OK=1 B_TRY=1 R_OK=1",
            BootChange::Invalidate(B),
            "ORDER=A+B+R A_OK=1 A_TRY=0 B_OK=0 B_TRY=0 R_OK=1",
        ),
        // The rescue slot stays behind the slot that is known to be good.
        (
            "ORDER=A+B+R A_OK=1 A_TRY=0 B_OK=0 B_TRY=0",
            ARM_B,
            "ORDER=B+A+R A_OK=1 A_TRY=0 B_OK=1 B_TRY=0 switchback_id=new",
        ),
        (
            "ORDER=A+B A_OK=1 A_TRY=1",
            GOOD_A,
            "ORDER=A+B A_OK=1 A_TRY=0",
        ),
        (
            "ORDER=A+B A_OK=1 A_TRY=0",
            GOOD_A,
            "ORDER=A+B A_OK=1 A_TRY=0",
        ),
        ("ORDER=B+R", GOOD_A, "ORDER=B+A+R A_OK=1 A_TRY=0"),
        ("", GOOD_A, "ORDER=A+B A_OK=1 A_TRY=0"),
        (
            "ORDER=B+A A_OK=1 A_TRY=1 B_OK=1 B_TRY=1",
            BACK_TO_A,
            "ORDER=A+B A_OK=1 A_TRY=0 B_OK=0 B_TRY=0",
        ),
        (
            "ORDER=B+A B_OK=1 B_TRY=1",
            GIVE_BACK_B,
            "ORDER=B+A B_OK=1 B_TRY=0",
        ),
        (
            "ORDER=B+A B_OK=0 B_TRY=1",
            GIVE_BACK_B,
            "ORDER=B+A B_OK=0 B_TRY=1",
        ),
        ("ORDER=A+B", PRIMARY_B, "ORDER=B+A B_OK=1 B_TRY=0"),
    ];
    check(ContractKind::RaucGrub, A, &cases);
}

#[test]
fn switchback_on_grub() {
    let cases = [
        (
            "seq=1 order=A+B a_left=3 b_left=3 id=x end=1",
            BootChange::Invalidate(B),
            "seq=1 order=A a_left=3 b_left=0 id=x end=1",
        ),
        (
            "seq=1 order=A a_left=3 b_left=0 id=x end=1",
            ARM_B,
            "seq=1 order=B+A a_left=3 b_left=3 id=new end=1",
        ),
        ("order=B+A b_left=2", GIVE_BACK_B, "order=B+A b_left=3"),
        ("order=B+A b_left=9", GIVE_BACK_B, "order=B+A b_left=9"),
        ("order=B+A b_left=2", GOOD_B, "order=B+A b_left=3"),
        (
            "order=B+A a_left=3 b_left=1",
            BACK_TO_A,
            "order=A a_left=3 b_left=0",
        ),
        (
            "order=A+B",
            BootChange::MarkGood { slot: A, tries: 30 },
            "order=A+B a_left=9",
        ),
    ];
    check(ContractKind::SwitchbackGrub, A, &cases);
}

#[test]
fn observes_slots() {
    use ContractKind::{RaucGrub, RaucUboot, SwitchbackGrub};
    use SlotBoot::{Bad, Exhausted, Missing, Ready};
    let ready = |left| Ready { left };
    #[rustfmt::skip]
    let cases = [
        (RaucUboot, "BOOT_ORDER=A+B BOOT_A_LEFT=3 BOOT_B_LEFT=2", Some(A), ready(3), ready(2)),
        (RaucUboot, "BOOT_ORDER=B+A BOOT_A_LEFT=3 BOOT_B_LEFT=0", Some(A), ready(3), Exhausted),
        (RaucUboot, "BOOT_ORDER=R+B BOOT_A_LEFT=3 BOOT_B_LEFT=a", Some(B), Bad, ready(10)),
        (RaucUboot, "BOOT_ORDER=B+A BOOT_A_LEFT=3", Some(B), ready(3), Missing),
        (RaucUboot, "BOOT_ORDER=A BOOT_A_LEFT=0", None, Exhausted, Bad),
        (RaucUboot, "BOOT_ORDER=A+B BOOT_A_LEFT=fff BOOT_B_LEFT=x", Some(A), ready(255), Exhausted),
        (RaucUboot, "BOOT_A_LEFT=3 BOOT_B_LEFT=0", None, ready(3), Exhausted),
        (RaucUboot, "bootdelay=2", None, Missing, Missing),
        (RaucGrub, "ORDER=B+A A_OK=1 A_TRY=0 B_OK=1 B_TRY=1", Some(A), ready(1), Exhausted),
        (RaucGrub, "ORDER=B+A A_OK=1 B_OK=0 B_TRY=0", Some(A), ready(1), Bad),
        (RaucGrub, "ORDER=B A_OK=1", None, Bad, Missing),
        (RaucGrub, "", None, Missing, Missing),
        (SwitchbackGrub, "order=B+A a_left=3 b_left=9", Some(B), ready(3), ready(9)),
        (SwitchbackGrub, "order=B+A a_left=10 b_left=0", Some(A), Missing, Exhausted),
        (SwitchbackGrub, "order=A a_left=-1", Some(A), Missing, Bad),
    ];
    for (kind, text, primary, a, b) in cases {
        let view = contract(kind).observe(&vars(text));
        assert_eq!(
            (view.primary, view.a, view.b),
            (primary, a, b),
            "{kind:?} {text}"
        );
        assert_eq!((view.slot(A), view.slot(B)), (a, b));
    }
}

#[test]
fn never_written_is_not_the_same_as_bad() {
    for kind in [
        ContractKind::RaucUboot,
        ContractKind::RaucGrub,
        ContractKind::SwitchbackGrub,
    ] {
        let contract = contract(kind);
        let fresh = contract.observe(&vars("bootdelay=2 id= switchback_id="));
        assert!(fresh.unset && fresh.order.is_empty());
        assert_eq!((fresh.primary, fresh.contact_id), (None, None));
        let mut vars = contract.defaults(3);
        let view = contract.observe(&vars);
        assert!(!view.unset);
        assert_eq!((view.order, view.primary), (vec![A, B], Some(A)));
        contract.apply(&mut vars, &ARM_B, A);
        assert_eq!(contract.observe(&vars).contact_id.as_deref(), Some("new"));
    }
}

#[test]
fn boards_with_other_bootnames() {
    let names = BootNames::new("system0", "system1").unwrap();
    let contract = Contract::new(ContractKind::RaucUboot, names);
    let mut vars = vars("BOOT_ORDER=system0+A BOOT_A_LEFT=7");
    contract.apply(&mut vars, &ARM_B, A);
    assert_eq!(
        text(&vars),
        "BOOT_ORDER=system1+system0+A BOOT_A_LEFT=7 BOOT_system1_LEFT=3 switchback_id=new"
    );
}

/// Every change, from every start, leaves the same promises behind.
#[test]
fn promises_hold_after_every_change() {
    let changes = |slot: SlotName| {
        [
            BootChange::Invalidate(slot),
            BootChange::Arm {
                slot,
                tries: 3,
                contact_id: "n",
            },
            BootChange::MarkGood { slot, tries: 3 },
            BootChange::FallBack {
                bad: slot.other(),
                to: slot,
                tries: 3,
            },
            BootChange::SetPrimary { slot, tries: 3 },
        ]
    };
    let orders = ["", "A", "B", "A+B", "B+A", "R", "R+B+A", "A+R+A"];
    for kind in [
        ContractKind::RaucUboot,
        ContractKind::RaucGrub,
        ContractKind::SwitchbackGrub,
    ] {
        let contract = contract(kind);
        for order in orders {
            for booted in SlotName::ALL {
                for change in SlotName::ALL.into_iter().flat_map(changes) {
                    let start = format!(
                        "{}={order} foreign=x",
                        kind.ordered().unwrap().order_variable()
                    );
                    let mut vars = vars(&start);
                    contract.apply(&mut vars, &change, booted);
                    let view = contract.observe(&vars);
                    let context = format!("{kind:?} {order:?} {booted} {change:?}: {vars:?}");
                    assert!(!view.order.is_empty(), "{context}");
                    let words = vars.text(kind.ordered().unwrap().order_variable()).unwrap();
                    assert_eq!(order.contains('R'), words.contains('R'), "{context}");
                    assert_eq!(vars.text("foreign"), Some("x"), "{context}");
                    check_promise(&change, &view, booted, &context);
                }
            }
        }
    }
}

fn check_promise(change: &BootChange<'_>, view: &BootView, booted: SlotName, context: &str) {
    let ready = |slot| matches!(view.slot(slot), SlotBoot::Ready { .. });
    match *change {
        BootChange::Invalidate(slot) => {
            assert_eq!(view.slot(slot), SlotBoot::Bad, "{context}");
            assert!(slot == booted || view.order.contains(&booted), "{context}");
        }
        BootChange::Arm { slot, .. } | BootChange::SetPrimary { slot, .. } => {
            assert_eq!(view.primary, Some(slot), "{context}");
            assert!(view.order.contains(&booted) && ready(slot), "{context}");
        }
        BootChange::MarkGood { slot, .. } => assert!(ready(slot), "{context}"),
        BootChange::FallBack { bad, to, .. } => {
            assert_eq!(
                (view.primary, view.slot(bad)),
                (Some(to), SlotBoot::Bad),
                "{context}"
            );
        }
        BootChange::GiveBackTry { .. } => {}
    }
}
