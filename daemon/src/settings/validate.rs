//! From merged fragments to settings that cannot be wrong.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use switchback_boot_env::contract::{BootNames, ContractKind, SlotVariableError, SlotVariables};

use super::fleet::fleet;
use super::fragment::{Boot, Device, Fragment, Repository, Restart, Slots};
use super::gates;
use super::health::health;
use super::metrics::metrics;
use super::traces::traces;
use super::{
    BootSettings, ClientIdentity, DeviceSettings, Paper, RepositorySettings, RestartSettings,
    Settings, SettingsError, SlotSettings,
};
use crate::time_zones::TimeZones;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn validate(
    fragment: Fragment,
    directories: &[PathBuf],
) -> Result<Settings, SettingsError> {
    let searched: Vec<String> = directories
        .iter()
        .map(|directory| directory.display().to_string())
        .collect();
    let searched = searched.join(", ");
    let state_directory = fragment
        .state
        .directory
        .unwrap_or_else(|| "/var/lib/switchback".into());
    let state_directory = PathBuf::from(state_directory);
    let device = device(&fragment.device, &searched)?;
    let repository = repository(fragment.repository, &searched)?;
    Ok(Settings {
        device,
        update: gates::update(&fragment.update),
        gates: Arc::new(gates::gates(
            fragment.gates,
            &fragment.update,
            state_directory.clone(),
            &TimeZones::default(),
        )?),
        health: health(fragment.health, &repository.ca_file)?,
        traces: traces(fragment.traces, &repository.ca_file)?,
        repository,
        fleet: fleet(fragment.fleet)?,
        slots: slots(fragment.slots)?,
        boot: boot(fragment.boot)?,
        metrics: metrics(fragment.metrics)?,
        restart: restart(fragment.restart)?,
        bus_group: fragment.bus.group.unwrap_or_else(|| "switchback".into()),
        state_directory,
    })
}

pub(super) fn invalid(key: &'static str, value: &str, message: impl Into<String>) -> SettingsError {
    SettingsError::Invalid {
        place: None,
        key,
        value: value.into(),
        message: message.into(),
    }
}

fn name<T: FromStr<Err: std::fmt::Display>>(
    key: &'static str,
    text: &str,
) -> Result<T, SettingsError> {
    if text.trim() != text {
        return Err(invalid(
            key,
            text,
            "blanks at the start or the end: remove them",
        ));
    }
    text.parse()
        .map_err(|error: T::Err| invalid(key, text, error.to_string()))
}

fn required<'a>(
    key: &'static str,
    value: Option<&'a String>,
    searched: &str,
    hint: &'static str,
) -> Result<&'a str, SettingsError> {
    match value {
        Some(text) => Ok(text),
        None => Err(SettingsError::Missing {
            key,
            searched: searched.into(),
            hint,
        }),
    }
}

pub(super) fn duration(
    key: &'static str,
    value: Option<&String>,
    default: Duration,
    most: Duration,
) -> Result<Duration, SettingsError> {
    let Some(text) = value else {
        return Ok(default);
    };
    // A day is 24 hours here, whatever the clocks of a country do.
    let parsed = jiff::Span::from_str(text)
        .and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()))
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok());
    match parsed {
        Some(duration) if duration <= most => Ok(duration),
        Some(_) => Err(invalid(
            key,
            text,
            format!("at most {} s are allowed", most.as_secs()),
        )),
        None => Err(invalid(
            key,
            text,
            "write a duration such as \"90s\", \"15m\" or \"7d\"",
        )),
    }
}

fn device(table: &Device, searched: &str) -> Result<DeviceSettings, SettingsError> {
    let product = required(
        "device.product",
        table.product.as_ref(),
        searched,
        "write the product whose releases this device follows",
    )?;
    let compatible = required(
        "device.compatible",
        table.compatible.as_ref(),
        searched,
        "write the kind of hardware this is, as its releases list it",
    )?;
    Ok(DeviceSettings {
        product: name("device.product", product)?,
        compatible: name("device.compatible", compatible)?,
        channel: name(
            "device.channel",
            table.channel.as_deref().unwrap_or("stable"),
        )?,
        require: table
            .require
            .iter()
            .flatten()
            .map(|name| paper(name))
            .collect::<Result<_, _>>()?,
    })
}

fn paper(name: &str) -> Result<Paper, SettingsError> {
    let known = [Paper::Sbom, Paper::Provenance];
    let found = known.into_iter().find(|paper| paper.as_str() == name);
    found.ok_or_else(|| invalid("device.require", name, "write \"sbom\" or \"provenance\""))
}

fn repository(table: Repository, searched: &str) -> Result<RepositorySettings, SettingsError> {
    let key = "repository.url";
    let url = required(
        key,
        table.url.as_ref(),
        searched,
        "write the address of the repository, such as https://updates.example/kiosk",
    )?;
    if !url.starts_with("https://") || url.len() > 2048 || url.contains(['?', '#', ' ']) {
        return Err(invalid(
            key,
            url,
            "write an https:// address without query or fragment",
        ));
    }
    Ok(RepositorySettings {
        url: url.trim_end_matches('/').to_owned(),
        ca_file: table
            .ca_file
            .unwrap_or_else(|| "/etc/ssl/certs/ca-certificates.crt".into())
            .into(),
        root_file: table
            .root_file
            .unwrap_or_else(|| "/usr/lib/switchback/root.json".into())
            .into(),
        poll_interval: duration(
            "repository.poll-interval",
            table.poll_interval.as_ref(),
            Duration::from_secs(15 * 60),
            7 * DAY,
        )?
        .max(Duration::from_secs(1)),
        stall_timeout: duration(
            "repository.stall-timeout",
            table.stall_timeout.as_ref(),
            Duration::from_secs(60),
            Duration::from_secs(60 * 60),
        )?
        .max(Duration::from_secs(1)),
        max_rate: table.max_rate.as_deref().map_or(Ok(None), rate)?,
        proxy: table.proxy.as_deref().map_or(Ok(None), proxy)?,
        client: client(table.client_certificate, table.client_key)?,
    })
}

fn client(
    certificate: Option<String>,
    key: Option<String>,
) -> Result<Option<ClientIdentity>, SettingsError> {
    let given = |path: Option<String>| path.filter(|path| !path.is_empty());
    match (given(certificate), given(key)) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(ClientIdentity {
            certificate: certificate.into(),
            key: key.into(),
        })),
        (Some(alone), None) => {
            let way_out = "set `repository.client-key` to the key for it";
            Err(invalid("repository.client-certificate", &alone, way_out))
        }
        (None, Some(alone)) => {
            let way_out = "set `repository.client-certificate` to the certificate for it";
            Err(invalid("repository.client-key", &alone, way_out))
        }
    }
}

/// Bytes in a second, `0` for no limit.
fn rate(text: &str) -> Result<Option<NonZeroU64>, SettingsError> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'k')) => (text.get(..at), 1000),
        Some((at, 'M')) => (text.get(..at), 1_000_000),
        _ => (Some(text), 1),
    };
    let number: Option<u64> = digits.and_then(|digits| digits.trim().parse().ok());
    let wrong = || {
        let way_out = "write bytes in a second, such as 250k or 2M; 0 for no limit";
        invalid("repository.max-rate", text, way_out)
    };
    number
        .and_then(|number| number.checked_mul(factor))
        .map(NonZeroU64::new)
        .ok_or_else(wrong)
}

fn proxy(text: &str) -> Result<Option<String>, SettingsError> {
    if text.is_empty() {
        return Ok(None);
    }
    let uri: Option<hyper::Uri> = text.parse().ok();
    let known = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if !known {
        let way_out = "write http://HOST:PORT or https://HOST:PORT, with NAME:PASSWORD@ before HOST if \
                       the proxy wants them";
        return Err(invalid("repository.proxy", text, way_out));
    }
    Ok(Some(text.into()))
}

fn slots(table: Slots) -> Result<SlotSettings, SettingsError> {
    let a = table.a.unwrap_or_else(|| "PARTLABEL=slot-a".into());
    let b = table.b.unwrap_or_else(|| "PARTLABEL=slot-b".into());
    for (key, text) in [("slots.a", &a), ("slots.b", &b)] {
        // Both slots may hold equal images: a label or UUID of the file system names neither.
        if !["PARTLABEL=", "PARTUUID=", "/"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            return Err(invalid(
                key,
                text,
                "write PARTLABEL=…, PARTUUID=… or a path",
            ));
        }
    }
    if a == b {
        return Err(invalid(
            "slots.b",
            &b,
            "the same as slots.a: two partitions are needed",
        ));
    }
    let verify_interval = duration(
        "slots.verify-interval",
        table.verify_interval.as_ref(),
        7 * DAY,
        366 * DAY,
    )?;
    let verify_interval = Some(verify_interval).filter(|interval| !interval.is_zero());
    Ok(SlotSettings {
        a,
        b,
        verify_interval,
    })
}

fn boot(table: Boot) -> Result<BootSettings, SettingsError> {
    let text = table.contract.unwrap_or_else(|| "switchback-grub".into());
    let contract = match text.as_str() {
        "switchback-grub" => ContractKind::SwitchbackGrub,
        "rauc-grub" => ContractKind::RaucGrub,
        "rauc-u-boot" => ContractKind::RaucUboot,
        "bootcount" => ContractKind::Bootcount,
        other => {
            let known = "known are switchback-grub, rauc-grub, rauc-u-boot and bootcount";
            return Err(invalid("boot.contract", other, known));
        }
    };
    let a = table.bootname_a.unwrap_or_else(|| "A".into());
    let b = table.bootname_b.unwrap_or_else(|| "B".into());
    let bootnames = BootNames::new(&a, &b)
        .map_err(|error| invalid("boot.bootname-a", &format!("{a} {b}"), error.to_string()))?;
    let slot_variables = slot_variables(
        contract,
        &bootnames,
        table.slot_variable,
        table.slot_variable_hex,
    )?;
    let grubenv = table.grubenv.unwrap_or_else(|| match contract {
        ContractKind::SwitchbackGrub => vec!["/efi/sb1.env".into(), "/efi/sb2.env".into()],
        ContractKind::RaucGrub | ContractKind::RaucUboot | ContractKind::Bootcount => {
            vec!["/boot/grub/grubenv".into()]
        }
    });
    let wanted = match contract {
        ContractKind::SwitchbackGrub => Some(2),
        ContractKind::RaucGrub => Some(1),
        ContractKind::RaucUboot | ContractKind::Bootcount => None,
    };
    if let Some(wanted) = wanted.filter(|wanted| grubenv.len() != *wanted) {
        let message = format!("the contract {text} has {wanted} environment file(s)");
        return Err(invalid("boot.grubenv", &grubenv.join(" "), message));
    }
    let tries = table.tries.unwrap_or(3);
    // RAUC's contract on GRUB knows one try only; asking for more is no mistake there.
    let most = match contract {
        ContractKind::RaucGrub => u8::MAX,
        ContractKind::SwitchbackGrub | ContractKind::RaucUboot | ContractKind::Bootcount => {
            contract.max_tries()
        }
    };
    if tries == 0 || tries > most {
        return Err(invalid(
            "boot.tries",
            &tries.to_string(),
            format!("1 to {most} are possible"),
        ));
    }
    Ok(BootSettings {
        contract,
        bootnames,
        slot_variables,
        grubenv: grubenv.into_iter().map(PathBuf::from).collect(),
        fw_env_config: table
            .fw_env_config
            .unwrap_or_else(|| "/etc/fw_env.config".into())
            .into(),
        tries,
    })
}

/// Only the contract `bootcount` has such variables; for the others nothing is said about them.
fn slot_variables(
    contract: ContractKind,
    bootnames: &BootNames,
    plain: Option<String>,
    hexadecimal: Option<String>,
) -> Result<SlotVariables, SettingsError> {
    if contract != ContractKind::Bootcount {
        return Ok(SlotVariables::default());
    }
    let plain = plain.unwrap_or_else(|| "mender_boot_part".into());
    let hexadecimal = hexadecimal.unwrap_or_else(|| "mender_boot_part_hex".into());
    let second = Some(hexadecimal.as_str()).filter(|name| !name.is_empty());
    SlotVariables::new(&plain, second, bootnames).map_err(|error| {
        let key = match error {
            SlotVariableError::Name { .. } => "boot.slot-variable",
            SlotVariableError::NoNumber { .. } => "boot.bootname-a",
        };
        invalid(key, &format!("{plain} {hexadecimal}"), error.to_string())
    })
}

fn restart(table: Restart) -> Result<RestartSettings, SettingsError> {
    let command = table
        .command
        .unwrap_or_else(|| vec!["systemctl".into(), "reboot".into()]);
    if command.is_empty() {
        return Err(invalid(
            "restart.command",
            "[]",
            "write a program and its arguments",
        ));
    }
    Ok(RestartSettings {
        automatic: table.automatic.unwrap_or(true),
        delay_at_most: duration(
            "restart.delay-at-most",
            table.delay_at_most.as_ref(),
            Duration::from_secs(5 * 60),
            DAY,
        )?,
        command,
    })
}
