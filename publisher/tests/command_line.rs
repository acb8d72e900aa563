//! The program as people and scripts meet it: help, answers, errors and exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly outside of its #[test] function, too"
)]

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the program in a directory; the command line is split at spaces.
fn run(directory: &TempDir, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_switchback-repo"))
        .args(line.split_whitespace())
        .current_dir(directory.path())
        .env("COLUMNS", "100")
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .unwrap()
}

/// What a person sees: the command, everything that it printed, and the exit code if not 0.
fn transcript(directory: &TempDir, lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let output = run(directory, line);
        text.push_str(&format!("$ switchback-repo {line}\n"));
        text.push_str(&String::from_utf8(output.stdout).unwrap());
        text.push_str(&String::from_utf8(output.stderr).unwrap());
        match output.status.code().unwrap() {
            0 => {}
            code => text.push_str(&format!("? {code}\n")),
        }
        text.push('\n');
    }
    text
}

/// A repository with images beside it, all relative to the working directory.
fn workshop() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, byte) in [("one.img", 1), ("two.img", 2)] {
        fs::write(directory.path().join(name), vec![byte; 200_000]).unwrap();
    }
    fs::write(directory.path().join("empty.img"), b"").unwrap();
    fs::write(
        directory.path().join("notes.txt"),
        "Fixes the modem.\n\u{1b}[31mRed?\n",
    )
    .unwrap();
    directory
}

const INIT: &str = "init --repo repo --keys keys --product gateway";
const PUBLISH: &str = "publish --repo repo --keys keys --compatible acme-gw \
                       --created 2026-11-25T12:00:00Z --deltas 0";
const PUBLISH_DELTAS: &str = "publish --repo repo --keys keys --compatible acme-gw \
                              --channel stable";

/// Two images that differ in some places, as `old.img` and `new.img`.
fn pair(directory: &TempDir) {
    let mut state = 1_u64;
    let mut image: Vec<u8> = (0..300_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect();
    fs::write(directory.path().join("old.img"), &image).unwrap();
    image.splice(1000..1010, [7; 500]);
    fs::write(directory.path().join("new.img"), &image).unwrap();
}

#[test]
fn help_is_the_manual() {
    let directory = tempfile::tempdir().unwrap();
    let lines = [
        "--help",
        "init --help",
        "publish --help",
        "channel --help",
        "channel set --help",
        "refresh --help",
        "keys --help",
        "keys new --help",
        "keys add --help",
        "keys revoke --help",
        "keys rotate --help",
        "keys threshold --help",
        "sign --help",
        "take-in --help",
        "gc --help",
        "bundle --help",
        "inspect --help",
    ];
    insta::assert_snapshot!(transcript(&directory, &lines));
}

#[test]
fn a_day_at_the_publisher() {
    let directory = workshop();
    let lines = [
        INIT.into(),
        format!("{PUBLISH} --image one.img --version 1.0 --channel stable"),
        format!("{PUBLISH} --image two.img --version 1.1 --notes notes.txt"),
        "channel set --repo repo --keys keys --channel stable --version 1.1".into(),
        "channel set --repo repo --keys keys --channel stable --version 1.1".into(),
        "channel set --repo repo --keys keys --channel stable --halt".into(),
        "channel show --repo repo".into(),
        "channel show --repo repo --channel stable --json".into(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    insta::assert_snapshot!(transcript(&directory, &lines));
}

#[test]
fn errors_name_the_value_and_the_way_out() {
    let directory = workshop();
    run(&directory, INIT);
    run(
        &directory,
        &format!("{PUBLISH} --image one.img --version 1.0 --channel stable"),
    );
    let lines = [
        INIT.into(),
        "init --repo other --keys other/keys --product gateway".into(),
        "init --repo third --keys keys --product gateway".into(),
        "init --repo third --keys third-keys --product a/b".into(),
        "init --repo third --keys third-keys --product a --expires-root soon".into(),
        format!("{PUBLISH} --image two.img --version 1.0"),
        format!("{PUBLISH} --image empty.img --version 1.1"),
        format!("{PUBLISH} --image missing.img --version 1.1"),
        format!("{PUBLISH} --image two.img --version 1/1"),
        format!("{PUBLISH} --image two.img --version 1.1 --sequence 1"),
        format!("{PUBLISH} --image two.img --version 1.1 --level 23"),
        format!("{PUBLISH} --image two.img --version 1.1 --segment-size 1000"),
        format!("{PUBLISH} --image two.img --version 1.1 --product toaster"),
        "publish --repo nowhere --keys keys --compatible b --image two.img --version 1".into(),
        "publish --repo repo --keys nowhere --compatible b --image two.img --version 1".into(),
        "channel set --repo repo --keys keys --channel stable".into(),
        "channel set --repo repo --keys keys --channel stable --version 9".into(),
        "channel set --repo repo --keys keys --channel beta --halt".into(),
        "channel show --repo repo --channel beta".into(),
        "refresh --repo repo --keys keys --role boss".into(),
        format!("{PUBLISH} --image two.img --version 1.1 --delta-from 9"),
        "publish --repo repo --keys keys --compatible b --image two.img --version 1.1 --deltas 65"
            .into(),
        format!("{PUBLISH} --image two.img --version 1.1 --field notes.txt"),
        "gc --repo repo --keys keys --keep 0".into(),
        "bundle --repo repo --version 9 --output b".into(),
        "bundle --repo repo --version 1.0 --from 1.0 --output b".into(),
        "inspect --repo repo --version 9".into(),
        "inspect --repo repo --version 1.0 --from 1.0".into(),
        "inspect --repo repo --from 1.0".into(),
        "inspect notes.txt".into(),
        "inspect --repo nowhere".into(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    insta::assert_snapshot!(transcript(&directory, &lines));
}

#[test]
fn every_answer_is_one_json_object_with_its_schema() {
    let directory = workshop();
    let publish = format!("{PUBLISH} --image one.img --version 1.0 --channel stable --json");
    for line in [
        &format!("{INIT} --json"),
        &publish,
        "channel set --repo repo --keys keys --channel stable --halt --json",
        "channel show --repo repo --json",
        "refresh --repo repo --keys keys --json",
        "inspect --repo repo --content --json",
        "inspect repo/metadata/timestamp.json --json",
    ] {
        let output = run(&directory, line);
        assert!(output.status.success(), "{line}: {output:?}");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["schema"], 1, "{line}");
        assert!(output.stderr.is_empty(), "{line}: {output:?}");
    }
}

#[test]
fn deltas_and_bundles_from_the_command_line() {
    let directory = workshop();
    pair(&directory);
    run(&directory, INIT);
    let answers: Vec<String> = [
        format!("{PUBLISH_DELTAS} --image old.img --version 1"),
        format!("{PUBLISH_DELTAS} --image new.img --version 2"),
        format!("{PUBLISH_DELTAS} --image one.img --version 3"),
        "inspect --repo repo --version 2".into(),
        "inspect --repo repo --version 3".into(),
        "bundle --repo repo --version 2 --from 1 --output 2.bundle".into(),
        "bundle --repo repo --version 3 --output 3.bundle".into(),
        "gc --repo repo --keys keys --keep 1 --dry-run".into(),
        "gc --repo repo --keys keys --keep 1".into(),
    ]
    .iter()
    .map(|line| {
        let output = run(&directory, line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    })
    .collect();
    let expected: [&[&str]; 9] = [
        &["gateway 1\n", "  Channel stable names it."],
        &["  delta      ", " %), from image "],
        &[
            "  No delta from 2: it would have about ",
            "  No delta from 1: ",
        ],
        &[
            "delta from 1, ",
            "    copied   ",
            "    sent  ",
            "    frames  ",
        ],
        &["It has no deltas."],
        &[
            "2.bundle\n",
            "for devices that run 1\n",
            "warning: no channel names version 2",
        ],
        &[
            "for every device\n",
            "channel stable names it\n",
            "devices take it until ",
        ],
        &[
            "would go  gateway 1\n",
            "releases  1 kept, 2 would go\n",
            "Nothing was changed.",
        ],
        &["removed   gateway 1\n", "content   11 files removed, "],
    ];
    for (answer, expected) in answers.iter().zip(expected) {
        for part in expected {
            assert!(answer.contains(part), "{answer:?} lacks {part:?}");
        }
    }
}

#[test]
fn deltas_and_bundles_answer_in_json_too() {
    let directory = workshop();
    pair(&directory);
    run(&directory, INIT);
    let publish = format!("{PUBLISH_DELTAS} --image old.img --version 1 --json");
    run(&directory, &publish);
    let json = |line: &str| -> serde_json::Value {
        let output = run(&directory, line);
        assert!(output.status.success(), "{line}: {output:?}");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["schema"], 1, "{line}");
        value
    };
    let published = json(&format!(
        "{PUBLISH_DELTAS} --image new.img --version 2 --json"
    ));
    assert_eq!(published["deltas"][0]["fate"], "cut");
    assert_eq!(published["deltas"][0]["from"], "1");
    let delta = &published["release"]["deltas"][0];
    assert_eq!(delta["blob"]["length"], published["deltas"][0]["length"]);
    let blob = delta["blob"]["sha256"].as_str().unwrap();
    let header = json(&format!(
        "inspect repo/content/{}/{blob} --json",
        &blob[..2]
    ));
    assert_eq!(header["kind"], "delta");
    assert_eq!(header["document"]["from_size"], 300_000);
    let explained = json("inspect --repo repo --version 2 --from 1 --json");
    assert_eq!(explained["deltas"][0]["length"], delta["blob"]["length"]);
    assert_eq!(explained["deltas"][0]["parts"]["zeros"], 0);
    let bundled = json("bundle --repo repo --version 2 --from 1 --output b --json");
    let length = fs::metadata(directory.path().join("b")).unwrap().len();
    assert_eq!(bundled["length"], length);
    assert_eq!(bundled["full"], false);
    let collected = json("gc --repo repo --keys keys --keep 1 --json");
    assert_eq!(collected["removed"][0]["version"], "1");
    assert_eq!(collected["kept"], 1);
}

#[test]
fn inspect_prints_what_it_found_and_fails() {
    let directory = workshop();
    run(&directory, INIT);
    run(
        &directory,
        &format!("{PUBLISH} --image one.img --version 1.0"),
    );
    fs::remove_dir_all(directory.path().join("repo/content")).unwrap();
    let output = run(&directory, "inspect --repo repo --json");
    assert_eq!(output.status.code(), Some(4));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["problems"].as_array().unwrap().len(), 5);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        stderr,
        "switchback-repo: the repository has 5 problem(s), listed above\n"
    );
}

#[test]
fn the_build_time_can_be_pinned_from_the_environment() {
    let directory = workshop();
    run(&directory, INIT);
    let line = "publish --repo repo --keys keys --compatible b --image one.img --version 1 --json";
    let output = Command::new(env!("CARGO_BIN_EXE_switchback-repo"))
        .args(line.split_whitespace())
        .current_dir(directory.path())
        .env("SOURCE_DATE_EPOCH", "1795000000")
        .output()
        .unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["release"]["created"], "2026-11-18T11:06:40Z");
}

#[test]
fn completions_and_manual_pages_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let script = run(&directory, "completions bash");
    assert!(
        String::from_utf8(script.stdout)
            .unwrap()
            .contains("--security-epoch")
    );
    assert!(run(&directory, "man --out man").status.success());
    let page = fs::read_to_string(directory.path().join("man/switchback-repo-publish.1")).unwrap();
    assert!(page.contains("force\\-sequence"));
}
