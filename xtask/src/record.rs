//! `record-bootloaders`: what the real bootloaders do, written down for the models of them.

use anyhow::bail;
use qemu_tests::record::{Script, record};

/// From the command line.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    let scripts = match words {
        [] | ["--board", "all"] => Script::ALL.to_vec(),
        ["--board", board] => {
            let found = Script::ALL
                .into_iter()
                .find(|script| script.board() == *board);
            match found {
                Some(script) => vec![script],
                None => {
                    bail!("--board takes grub, grub-rauc, u-boot, bootcount or all, not {board}")
                }
            }
        }
        _ => bail!("record-bootloaders: usage: [--board grub|grub-rauc|u-boot|bootcount|all]"),
    };
    for script in scripts {
        println!("== {}", script.board());
        record(script, &mut |line| println!("{line}"))?;
    }
    Ok(())
}
