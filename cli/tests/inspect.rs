//! `switchback inspect env` on what people really had in their files (field cases C001, C003, C006,
//! C008): says what is there and what is wrong, and writes nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use switchback_boot_env::{Vars, uboot};

fn inspect(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_switchback"))
        .args(["inspect", "env"])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

fn environment(size: usize) -> Vec<u8> {
    let mut vars = Vars::new();
    vars.set("BOOT_ORDER", "A B");
    vars.set("BOOT_A_LEFT", "3");
    [
        uboot::encode_redundant(&vars, 1, size).unwrap(),
        uboot::encode_redundant(&vars, 2, size).unwrap(),
    ]
    .concat()
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> String {
    std::fs::write(path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn config_full_of_comments_blank_lines_and_carriage_returns_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let device = write(&directory.path().join("env"), environment(0x1000));
    let config = format!(
        "# head\n\n{device} 0x0000 0x1000 0x10000\n \t \n{device}\t0x1000\t0x1000\t0x10000\r\n\n# end"
    );
    let config = write(&directory.path().join("fw_env.config"), config);
    let output = inspect(&["--config", &config]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "BOOT_A_LEFT=3\nBOOT_ORDER=A B\n");
}

#[test]
fn config_without_an_entry_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for content in ["", "# nothing here\n\n"] {
        let config = write(&directory.path().join("fw_env.config"), content);
        let output = inspect(&["--config", &config]);
        assert_eq!(output.status.code(), Some(1));
        let text = text(&output);
        assert!(
            text.contains(&config) && text.contains("no entry"),
            "{text}"
        );
    }
}

#[test]
fn wrong_size_is_explained_with_both_sizes_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = environment(0x4000);
    let path = directory.path().join("env");
    let device = write(&path, &bytes);
    let config = format!("{device} 0x0 0x2000\n{device} 0x4000 0x2000\n");
    let config = write(&directory.path().join("fw_env.config"), config);
    let output = inspect(&["--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    assert!(text.contains("valid at offset 0x0, size 0x4000"), "{text}");
    assert!(text.contains("size 0x2000"), "{text}");
    assert!(std::fs::read(&path).unwrap() == bytes);
}

#[test]
fn blank_environment_is_a_state_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    for byte in [0x00, 0xff] {
        let device = write(&directory.path().join("env"), vec![byte; 0x2000]);
        let config = format!("{device} 0x0 0x1000\n{device} 0x1000 0x1000\n");
        let config = write(&directory.path().join("fw_env.config"), config);
        let text = text(&inspect(&["--config", &config]));
        assert!(text.contains("blank: it was never saved"), "{text}");
    }
}

#[test]
fn damaged_grubenv_is_named_with_the_command_that_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grubenv");
    let sparse = vec![0; 1024];
    for content in [b"".as_slice(), &sparse, b"no header\n"] {
        let file = write(&path, content);
        let output = inspect(&["--grubenv", &file]);
        assert_eq!(output.status.code(), Some(1));
        let text = text(&output);
        assert!(text.contains(&file) && text.contains("problem:"), "{text}");
    }
    let mut good = b"# GRUB Environment Block\nORDER=A B\n".to_vec();
    good.resize(1024, b'#');
    let file = write(&path, good);
    let output = inspect(&["--grubenv", &file]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "ORDER=A B\n");
}

#[test]
fn json_carries_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory.path().join("grubenv"), b"");
    let output = inspect(&["--grubenv", &file, "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        value.get("schema").and_then(serde_json::Value::as_u64),
        Some(1)
    );
    assert!(
        value
            .get("problems")
            .and_then(|found| found.as_array())
            .is_some_and(|a| !a.is_empty())
    );
}
