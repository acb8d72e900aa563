//! The environment on the SD card, made and read with U-Boot's own tools and never with our codec:
//! the two must find each other's bytes right.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::command::Run;
use crate::disk::DiskImage;
use crate::error::{Error, IoContext as _, Result};

/// Where the two copies begin on the card; as in `config.fragment` and `fw_env.config`.
pub const COPIES: [u64; 2] = [0x10_0000, 0x10_8000];

/// The size of a copy in bytes.
pub const COPY_SIZE: u64 = 0x4000;

/// QEMU takes only cards whose size is a power of two.
const CARD_SIZE: u64 = 4 << 20;

/// Makes a card with one valid copy, as a board's flashing tool leaves it.
pub(super) fn make_card(
    card: &Path,
    initial_env: &Path,
    variables: &[(&str, &str)],
    scratch: &Path,
) -> Result<()> {
    let file = fs::File::create(card).io("create", card)?;
    file.set_len(CARD_SIZE).io("size", card)?;

    let mut text = fs::read_to_string(initial_env).io("read", initial_env)?;
    for (name, value) in variables {
        text.push_str(&format!("{name}={value}\n"));
    }
    let (source, binary) = (scratch.join("env.txt"), scratch.join("env.bin"));
    fs::write(&source, text).io("write", &source)?;
    Run::new("mkenvimage")
        .args(["-r", "-s", &COPY_SIZE.to_string(), "-o"])
        .arg(&binary)
        .arg(&source)
        .check()?;
    let copy = fs::read(&binary).io("read", &binary)?;
    let [first, _] = COPIES;
    DiskImage::open(card).write(first, &copy)?;
    for path in [source, binary] {
        fs::remove_file(&path).io("remove", &path)?;
    }
    Ok(())
}

/// All variables, as `fw_printenv` reads them.
pub(super) fn read(card: &Path) -> Result<BTreeMap<String, String>> {
    let configuration = configuration(card)?;
    let printed = Run::new("fw_printenv")
        .arg("-c")
        .arg(configuration.path())
        .text()?;
    let pairs = printed.lines().filter_map(|line| line.split_once('='));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Whether U-Boot takes this copy: a CRC-32 (little-endian), a flag byte, and the data it is over.
pub(super) fn is_whole(copy: &[u8]) -> bool {
    let Some((sum, rest)) = copy.split_first_chunk::<4>() else {
        return false;
    };
    let data = rest.get(1..).unwrap_or_default();
    u32::from_le_bytes(*sum) == crc32(data)
}

/// The CRC-32 of zlib and Ethernet, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let register = bytes.iter().fold(u32::MAX, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |value, _| {
            if value & 1 == 1 {
                (value >> 1) ^ 0xedb8_8320
            } else {
                value >> 1
            }
        })
    });
    !register
}

/// Changes variables in one write, as `fw_setenv` does. An empty value removes the variable.
pub(super) fn set(card: &Path, changes: &[(&str, &str)]) -> Result<()> {
    let configuration = configuration(card)?;
    let script = tempfile::NamedTempFile::new().io("make a file in", std::env::temp_dir())?;
    let lines: String = changes
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    fs::write(script.path(), lines).io("write", script.path())?;
    Run::new("fw_setenv")
        .arg("-c")
        .arg(configuration.path())
        .arg("-s")
        .arg(script.path())
        .check()
}

/// The `fw_env.config` for a card that is a file here.
fn configuration(card: &Path) -> Result<tempfile::NamedTempFile> {
    let card = card.canonicalize().io("find", card)?;
    if card.to_string_lossy().contains(char::is_whitespace) {
        let why = "fw_env.config knows no paths with blanks".to_owned();
        return Err(Error::Malformed { path: card, why });
    }
    let file = tempfile::NamedTempFile::new().io("make a file in", std::env::temp_dir())?;
    let lines: String = COPIES
        .iter()
        .map(|at| format!("{} {at:#x} {COPY_SIZE:#x}\n", card.display()))
        .collect();
    fs::write(file.path(), lines).io("write", file.path())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{crc32, is_whole};

    #[test]
    fn checksum_is_that_of_zlib_and_tells_a_torn_copy() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let data = b"BOOT_ORDER=A B\0\0";
        let mut copy = crc32(data).to_le_bytes().to_vec();
        copy.push(1);
        copy.extend_from_slice(data);
        assert!(is_whole(&copy));
        copy[12] ^= 1;
        assert!(!is_whole(&copy));
        assert!(!is_whole(&copy[..3]));
    }
}
