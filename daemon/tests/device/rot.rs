//! A slot that goes bad later.

use std::sync::Arc;
use std::time::Duration;

use switchback_types::{SlotName, Timestamp};
use switchback_update_core::{PhaseKind, SlotContent};
use switchbackd::driver::{Command, JobId};
use switchbackd::journal::{DiskFiles, RecordFiles};
use switchbackd::trust::{Asked, Trust};
use switchbackd::worker::Job;

use crate::repository::*;
use crate::rig::*;

#[test]
fn inactive_slot_is_read_back_about_once_a_week() {
    let mut device = Device::new();
    let first = device.driver.state().b.checked;
    device.pass(DAY * 6);
    assert_eq!(device.driver.state().b.checked, first);
    device.pass(DAY * 2);
    let second = device.driver.state().b.checked;
    assert!(second > first, "{second:?}");
    assert!(device.bootable());
    device.pass(DAY * 5);
    assert_eq!(device.driver.state().b.checked, second);
}

#[test]
fn damage_is_found_kept_from_the_bootloader_and_repaired_where_it_is() {
    let mut device = Device::new();
    device.spoil(&[2, 9]);
    assert!(device.bootable());
    device.pass(DAY * 8);
    assert!(matches!(
        device.driver.state().b.content,
        SlotContent::Damaged { .. }
    ));
    assert!(!device.bootable());

    let refused = device
        .command(Command::RollBack {
            job: JobId(1),
            reason: "back".into(),
        })
        .unwrap_err();
    assert!(
        refused.message.contains("`switchback repair`"),
        "{}",
        refused.message
    );

    device.streams.lock().unwrap().clear();
    device.command(Command::Repair(JobId(2))).unwrap();
    let done = (
        "done",
        "slot b holds version 1 again: 2 of 12 segments fetched".to_owned(),
    );
    assert_eq!(device.ended(), done);
    assert_eq!(*device.slots.b.0.lock().unwrap(), device.old);
    assert_eq!(
        device.streams.lock().unwrap().len(),
        3,
        "the lists of their chunks, and one for each place"
    );
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::Idle);
    assert_eq!(device.driver.state().primary, Some(SlotName::A));
    assert!(!device.bootable(), "not armed");

    let back = Command::RollBack {
        job: JobId(3),
        reason: "back".into(),
    };
    device.command(back).unwrap();
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::OnTrial);
}

#[test]
fn repair_looks_first_where_no_damage_is_known() {
    let mut device = Device::new();
    device.command(Command::Repair(JobId(1))).unwrap();
    let (result, text) = device.ended();
    assert_eq!(result, "done");
    assert!(text.contains("nothing to repair"), "{text}");
    assert!(device.bootable(), "a look changes nothing");

    device.spoil(&[0]);
    device.command(Command::Repair(JobId(2))).unwrap();
    let (result, text) = device.ended();
    assert_eq!(result, "done");
    assert!(text.contains("1 of 12 segments fetched"), "{text}");
    assert_eq!(*device.slots.b.0.lock().unwrap(), device.old);
}

#[test]
fn rollback_that_finds_the_damage_itself_is_refused_in_the_same_words() {
    let mut device = Device::new();
    device.spoil(&[5]);
    let back = Command::RollBack {
        job: JobId(1),
        reason: "back".into(),
    };
    device.command(back).unwrap();
    let (result, text) = device.ended();
    assert_eq!(result, "failed");
    assert!(
        text.contains("is damaged") && text.contains("`switchback repair`"),
        "{text}"
    );
    assert!(!device.bootable());
}

#[test]
fn repair_without_its_release_says_what_is_missing() {
    let mut device = Device::new();
    device.spoil(&[5]);
    std::fs::rename(
        device.directory.path().join("repo/metadata"),
        device.directory.path().join("repo/gone"),
    )
    .unwrap();
    device.command(Command::Repair(JobId(1))).unwrap();
    let (result, text) = device.ended();
    assert_eq!(result, "failed");
    assert!(text.contains("cannot be had"), "{text}");
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::Idle);
    assert!(!device.bootable());
}

#[test]
fn persons_question_pushes_a_look_aside() {
    let mut device = Device::new();
    device.spoil(&[1]);
    *device.host.uptime.lock().unwrap() += DAY * 8;
    // The first tick polls; the second finds the look due.
    device.driver.tick().unwrap();
    device.settle();
    device.driver.tick().unwrap();
    let job = device.jobs.try_recv().unwrap();
    assert!(matches!(job, Job::Check { .. }), "{job:?}");
    device.command(Command::Check(JobId(1))).unwrap();
    assert_eq!(device.ended().0, "done", "answered before the look ended");
    device.worker.work(job);
    device.settle();
    assert!(
        matches!(device.driver.state().b.content, SlotContent::Holds { .. }),
        "called off: nothing was found out"
    );
    device.pass(Duration::from_secs(2 * 3600));
    assert!(matches!(
        device.driver.state().b.content,
        SlotContent::Damaged { .. }
    ));
}

#[test]
fn trust_finds_a_release_that_no_channel_names_any_more() {
    let device = Device::new();
    let source = Directory {
        root: device.directory.path().join("repo"),
        streams: Arc::default(),
    };
    let files: Arc<dyn RecordFiles> = Arc::new(DiskFiles);
    let root = source.root.join("metadata/1.root.json");
    let state = device.directory.path().join("other-trust");
    let (mut trust, _) = Trust::open(&files, &state, &root).unwrap();
    let settings = &device.worker.device;
    let now = Timestamp::from_unix(NOW);
    let mut find = |version: &str| {
        let version = version.parse().unwrap();
        trust.release(&source, &settings.product, &version, now, &mut || {})
    };
    assert_eq!(find("1").unwrap().version.as_str(), "1");
    let error = find("7").unwrap_err();
    assert!(error.contains("lists no releases/kiosk/7"), "{error}");
    match trust.ask(&source, settings, None, 0, now, &mut || {}) {
        Asked::Offer { release, .. } => assert_eq!(release.version.as_str(), "2"),
        other => panic!("{other:?}"),
    }
}
