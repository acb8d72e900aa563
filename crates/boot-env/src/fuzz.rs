//! Bodies of the fuzz targets. Each takes arbitrary bytes and fails only when a promise of this
//! crate is broken.

use switchback_types::SlotName;

use crate::cmdline::CommandLine;
use crate::contract::{BootChange, BootNames, Contract, ContractKind};
use crate::fw_env_config::FwEnvConfig;
use crate::grub_pair::Pair;
use crate::uboot::{Environment, FlagScheme};
use crate::{Copy, Vars, grub, uboot};

/// What GRUB can read and we can write is read back unchanged; what has no problem stays so.
pub fn grub_block(data: &[u8]) {
    let problems = grub::problems(data);
    let vars = grub::parse(data);
    assert_eq!(
        vars.is_err(),
        matches!(problems[..], [grub::Problem::Unreadable(_)])
    );
    for problem in &problems {
        assert!(
            problem
                .remedy("f", data, &Vars::new())
                .starts_with("grub-editenv f ")
        );
    }
    let Ok(vars) = vars else {
        return;
    };
    if let Ok(block) = grub::encode(&vars) {
        assert_eq!(grub::parse(&block).as_ref(), Ok(&vars));
        // A backslash that was not needed is not written again.
        if problems.is_empty() && !data.contains(&b'\\') {
            assert!(block == data);
        }
    } else {
        assert!(!problems.is_empty());
    }
}

/// The data is both blocks of a pair, the first byte saying where to part them.
pub fn grub_pair(data: &[u8]) {
    let (first, second) = halves(data);
    let Ok(pair) = Pair::read(first, second) else {
        return;
    };
    if let Ok(next) = pair.successor() {
        let mut copies = [first, second];
        copies[next.copy.index()] = &next.block;
        let again = Pair::read(copies[0], copies[1]).expect("a block was just written");
        assert_eq!(again.current(), next.copy);
    }
}

/// The data is both copies of a redundant environment, and each alone is a single one.
pub fn uboot_environment(data: &[u8]) {
    let (first, second) = halves(data);
    if let Ok(environment) = Environment::single(first) {
        let next = environment.successor().map(|next| next.bytes);
        if let Ok(bytes) = next {
            assert_eq!(
                Environment::single(&bytes).expect("just written"),
                environment
            );
        }
    }
    for scheme in [FlagScheme::Incremental, FlagScheme::Boolean] {
        let Ok(environment) = Environment::redundant(first, second, scheme) else {
            continue;
        };
        let Ok(next) = environment.successor() else {
            continue;
        };
        let mut copies = [first.to_vec(), second.to_vec()];
        copies[next.copy.index()] = next.bytes;
        let obsolete = next.then_obsolete.map(Copy::index);
        if let Some(flags) = obsolete.and_then(|index| copies[index].get_mut(4)) {
            *flags = uboot::OBSOLETE;
        }
        let again = Environment::redundant(&copies[0], &copies[1], scheme)
            .expect("a copy was just written");
        assert_eq!((again.current(), again.vars), (next.copy, environment.vars));
    }
    for finding in uboot::diagnose(first, 0) {
        let start = usize::try_from(finding.offset).expect("inside the data");
        let copy = &first[start..start + finding.size];
        assert!(match finding.header {
            4 => uboot::decode_single(copy).is_ok(),
            _ => uboot::decode_redundant(copy).is_ok(),
        });
    }
}

/// What is accepted can be used.
pub fn fw_env_config(data: &[u8]) {
    if let Ok(config) = FwEnvConfig::parse(data) {
        assert!(matches!(config.places().len(), 1 | 2));
        assert!(config.places().iter().all(|place| place.size >= 0x80));
    }
}

/// Whatever the variables are, an armed slot comes first and a bad one is not started.
pub fn contracts(data: &[u8]) {
    let vars: Vars = data
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let equals = entry.iter().position(|byte| *byte == b'=')?;
            Some((&entry[..equals], &entry[equals + 1..]))
        })
        .collect();
    for kind in [
        ContractKind::RaucUboot,
        ContractKind::RaucGrub,
        ContractKind::SwitchbackGrub,
        ContractKind::Bootcount,
    ] {
        let contract = Contract::new(kind, BootNames::default());
        let mut vars = vars.clone();
        let arm = BootChange::Arm {
            slot: SlotName::B,
            tries: 3,
            contact_id: "1",
        };
        contract.apply(&mut vars, &arm, SlotName::A);
        let view = contract.observe(&vars);
        assert_eq!(view.primary, Some(SlotName::B));
        assert!(view.order.contains(&SlotName::A));
        contract.apply(&mut vars, &BootChange::Invalidate(SlotName::B), SlotName::A);
        assert_eq!(contract.observe(&vars).b, crate::contract::SlotBoot::Bad);
    }
}

/// What is accepted names each thing once.
pub fn cmdline(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if let Ok(line) = CommandLine::parse(text) {
        assert!(
            line.bootname
                .is_none_or(|name| !name.is_empty() && text.contains("slot="))
        );
        assert!(line.contact.is_none_or(|id| !id.is_empty()));
    }
}

fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((place, rest)) = data.split_first() else {
        return (&[], &[]);
    };
    // The middle is reachable whatever the length; 255 leaves the second half empty.
    rest.split_at(rest.len() * usize::from(*place) / 255)
}

#[cfg(test)]
mod tests;
