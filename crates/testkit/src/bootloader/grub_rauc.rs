//! `boot/grub/grub-rauc.cfg`, function by function.

use switchback_types::SlotName;

use super::envblk::{Block, assigned, words};
use super::{Act, Run, SlotState, Start, slot_named, state_of};

/// The script's variables.
struct Script {
    grubenv: Vec<u8>,
    order: Vec<u8>,
    /// `$A_OK` and `$B_OK`.
    ok: [Vec<u8>; 2],
    /// `$A_TRY` and `$B_TRY`.
    tried: [Vec<u8>; 2],
    acts: Vec<Act>,
}

pub(super) fn run(copies: &[Vec<u8>], slots: [SlotState; 2]) -> Run {
    let grubenv = copies.first().cloned().unwrap_or_default();
    let block = Block::open(&grubenv);
    // What the block does not say stays as the script set it.
    let value = |name: &str, preset: &[u8]| {
        let loaded = block.as_ref().and_then(|block| block.load(name));
        loaded.unwrap_or_else(|| preset.to_vec())
    };
    let mut script = Script {
        order: value("ORDER", b"A B"),
        ok: [value("A_OK", b"0"), value("B_OK", b"0")],
        tried: [value("A_TRY", b"0"), value("B_TRY", b"0")],
        grubenv,
        acts: Vec::new(),
    };
    if !script.start(slots) {
        script.tried = [b"0".to_vec(), b"0".to_vec()];
        script.start(slots);
    }
    Run { acts: script.acts }
}

impl Script {
    /// Whether that was the end of the script: a kernel started, or the machine is reset.
    fn start(&mut self, slots: [SlotState; 2]) -> bool {
        let order = self.order.clone();
        for slot in words(&order).filter_map(slot_named) {
            let ([a_ok, b_ok], [a_tried, b_tried]) = (&self.ok, &mut self.tried);
            let (ok, tried) = match slot {
                SlotName::A => (a_ok, a_tried),
                SlotName::B => (b_ok, b_tried),
            };
            if assigned(ok) != b"1" || assigned(tried) != b"0" {
                continue;
            }
            *tried = b"1".to_vec();
            self.save();
            // The try is written down before anything of the slot is looked at.
            match state_of(slots, slot) {
                SlotState::Loads => {
                    self.acts.push(Act::Start(Start {
                        slot,
                        environment_bad: false,
                        contact: None,
                    }));
                    return true;
                }
                SlotState::NoInitrd | SlotState::BadInitrd => return true,
                SlotState::Unloadable | SlotState::Broken => {}
            }
        }
        false
    }

    fn save(&mut self) {
        let Some(mut block) = Block::open(&self.grubenv) else {
            return;
        };
        let [a, b] = &self.tried;
        if block.save("A_TRY", Some(a)).is_ok() && block.save("B_TRY", Some(b)).is_ok() {
            self.grubenv = block.into_bytes();
            self.acts.push(Act::Save {
                copy: 0,
                bytes: self.grubenv.clone(),
            });
        }
    }
}
