//! Orders become commands for the driver; what the driver says becomes properties and signals.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use switchback_dbus_api::{JobProxy, Options};
use switchback_update_core::Before;
use switchbackd::driver::{Command, InhibitMode, JobEnd, Message, Refused, View, Wish};
use switchbackd::fetch::BundlePlace;
use zbus::Variant;

use super::rig::{PATIENCE, answer, served};

#[tokio::test]
async fn properties_are_the_drivers_last_view() {
    let served = served().await;
    let slot = switchback_dbus_api::Slot {
        name: "a".into(),
        ..Default::default()
    };
    let view = View {
        phase: "idle".into(),
        slots: vec![slot],
        ..View::default()
    };
    served.view.send_replace(Arc::new(view));
    assert_eq!(served.manager.phase().await.unwrap(), "idle");
    assert_eq!(served.manager.slots().await.unwrap()[0].name, "a");
    assert_eq!(served.manager.last_error().await.unwrap(), "");
}

#[tokio::test]
async fn job_lives_from_the_call_to_its_end_and_is_signalled() {
    let mut served = served().await;
    let mut completed = served.manager.receive_completed().await.unwrap();
    let manager = served.manager.clone();
    let call = tokio::spawn(async move { manager.check(Options::new()).await });
    let Command::Check(job) = answer(&mut served.commands, Ok(())).await else {
        panic!()
    };
    let path = call.await.unwrap().unwrap();
    let proxy = JobProxy::builder(&served.connection)
        .path(path.clone())
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap();
    assert_eq!(proxy.kind().await.unwrap(), "check");
    assert_eq!(proxy.state().await.unwrap(), "running");
    served
        .ends
        .send(JobEnd {
            job,
            result: "done",
            code: "up-to-date".into(),
            message: "fine".into(),
        })
        .unwrap();
    let signal = tokio::time::timeout(PATIENCE, completed.next())
        .await
        .unwrap()
        .unwrap();
    let signal = signal.args().unwrap();
    assert_eq!(
        (signal.job.as_str(), signal.result),
        (path.as_str(), "done")
    );
    assert_eq!(proxy.state().await.unwrap(), "done");
    assert_eq!(proxy.message().await.unwrap(), "fine");
    assert_eq!(proxy.result().await.unwrap(), "up-to-date");
}

#[tokio::test]
async fn refusals_are_named_errors_and_leave_no_job() {
    let mut served = served().await;
    let manager = served.manager.clone();
    let call = tokio::spawn(async move { manager.roll_back(Options::new()).await });
    let refused = Refused {
        name: "NothingToRollBackTo",
        message: "slot b is empty".into(),
    };
    answer(&mut served.commands, Err(refused)).await;
    let error = call.await.unwrap().unwrap_err();
    let zbus::Error::MethodError(name, detail, _) = &error else {
        panic!("{error}")
    };
    assert_eq!(
        name.as_str(),
        "org.switchback.Update1.Error.NothingToRollBackTo"
    );
    assert_eq!(detail.as_deref(), Some("slot b is empty"));
    let job = JobProxy::builder(&served.connection)
        .path("/org/switchback/Update1/job/1")
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap();
    assert!(job.state().await.is_err());
}

#[tokio::test]
async fn misspelt_options_are_refused_before_the_driver_hears_of_them() {
    let mut served = served().await;
    for (name, value) in [
        ("rety", Variant::from(true)),
        ("retry", Variant::from("yes")),
    ] {
        let options = Options::from([(name, value)]);
        let error = served
            .manager
            .install(options)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("UnknownOption") && error.contains(name),
            "{error}"
        );
    }
    assert!(served.commands.try_recv().is_err());
}

#[tokio::test]
async fn bundles_come_from_whole_addresses_and_regular_files() {
    let mut served = served().await;
    let long = format!("https://updates.example/{}", "x".repeat(2048));
    for url in ["ftp://updates.example/b", "https://a/\n", &long] {
        let refused = served.manager.install_url(url, Options::new()).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("an https:// or http:// address"), "{error}");
    }
    let directory = std::fs::File::open("/").unwrap();
    let file = std::os::fd::AsFd::as_fd(&directory).into();
    let refused = served.manager.install_file(file, "stick", Options::new());
    let error = refused.await.unwrap_err().to_string();
    assert!(error.contains("stick: is not a regular file"), "{error}");
    assert!(served.commands.try_recv().is_err());

    let manager = served.manager.clone();
    let url = format!("https://updates.example/{}", "x".repeat(1000));
    let call = tokio::spawn({
        let url = url.clone();
        async move { manager.install_url(&url, Options::new()).await }
    });
    let command = answer(&mut served.commands, Ok(())).await;
    let Command::InstallBundle { place, .. } = command else {
        panic!("{command:?}");
    };
    assert!(matches!(place, BundlePlace::Url(found) if found == url));
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn phase_changes_are_signalled() {
    let served = served().await;
    let phase = |phase: &str| {
        Arc::new(View {
            phase: phase.into(),
            ..View::default()
        })
    };
    let mut transitions = served.manager.receive_transition().await.unwrap();
    served.view.send_replace(phase("idle"));
    // Two views in quick succession may arrive as one: the second is sent once the first is seen.
    while served.manager.phase().await.unwrap() != "idle" {}
    let signal = async {
        loop {
            tokio::select! {
                signal = transitions.next() => break signal.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    served.view.send_replace(phase("idle"));
                    tokio::task::yield_now().await;
                    served.view.send_replace(phase("installing"));
                }
            }
        }
    };
    let signal = tokio::time::timeout(PATIENCE, signal).await.unwrap();
    assert_eq!(signal.args().unwrap().to, "installing");
}

#[tokio::test]
async fn override_carries_its_reason_and_who_gave_it() {
    let mut served = served().await;
    let manager = served.manager.clone();
    let call = tokio::spawn(async move {
        let options = Options::from([("override", Variant::from("ticket 7"))]);
        manager.install(options).await
    });
    let command = answer(&mut served.commands, Ok(())).await;
    let Command::Install { wish, .. } = command else {
        panic!("{command:?}")
    };
    let expected = Wish {
        retry: false,
        overriding: Some("ticket 7, user 0".into()),
    };
    assert_eq!(wish, expected);
    call.await.unwrap().unwrap();
    let options = Options::from([("override", Variant::from(" "))]);
    assert!(served.manager.install(options).await.is_err());
}

#[tokio::test]
async fn hold_has_an_end_that_is_a_time() {
    let mut served = served().await;
    let hold = |until: &'static str| {
        let manager = served.manager.clone();
        async move {
            let options = Options::from([("until", Variant::from(until))]);
            manager.hold("fair", options).await
        }
    };
    let error = hold("tomorrow").await.unwrap_err().to_string();
    assert!(error.contains("2026-11-25T12:00:00Z"), "{error}");
    let call = tokio::spawn(hold("2027-01-01T00:00:00Z"));
    let command = answer(&mut served.commands, Ok(())).await;
    let Command::Hold { until, .. } = command else {
        panic!("{command:?}")
    };
    assert_eq!(until.unwrap().to_string(), "2027-01-01T00:00:00Z");
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn inhibitor_lasts_as_long_as_its_file_descriptor() {
    let mut served = served().await;
    let manager = &served.manager;
    let held = manager
        .inhibit("update:restart", "player", "a film", "block")
        .await
        .unwrap();
    let Some(Message::Inhibit(inhibitor)) = served.commands.recv().await else {
        panic!()
    };
    assert_eq!(
        (inhibitor.who.as_str(), inhibitor.why.as_str()),
        ("player", "a film")
    );
    assert_eq!(
        (inhibitor.before, inhibitor.mode),
        (Before::Both, InhibitMode::Block)
    );
    let quiet = tokio::time::timeout(Duration::from_millis(100), served.commands.recv());
    assert!(quiet.await.is_err(), "it is held");
    drop(held);
    let message = tokio::time::timeout(PATIENCE, served.commands.recv())
        .await
        .unwrap();
    assert!(matches!(message, Some(Message::Uninhibit(id)) if id == inhibitor.id));
    let refused = manager.inhibit("update", "player", "a film", "delay").await;
    assert!(refused.unwrap_err().to_string().contains("InvalidArgs"));
}

#[tokio::test]
async fn restart_that_applications_delay_is_told() {
    let served = served().await;
    let mut told = served.manager.receive_prepare_for_restart().await.unwrap();
    let mut view = View {
        phase: "on-trial".into(),
        version: "3".into(),
        ..View::default()
    };
    view.restart.pending = true;
    view.restart.waits_for = "applications".into();
    view.restart.again = "2026-12-01T00:05:00Z".into();
    served.view.send_replace(Arc::new(view));
    let signal = tokio::time::timeout(PATIENCE, told.next())
        .await
        .unwrap()
        .unwrap();
    let signal = signal.args().unwrap();
    assert_eq!((signal.version, signal.latest), ("3", 1_796_083_500));
}

#[tokio::test]
async fn job_shows_its_progress_and_can_be_called_off() {
    let mut served = served().await;
    let manager = served.manager.clone();
    let call = tokio::spawn(async move { manager.install(Options::new()).await });
    let Command::Install { job, .. } = answer(&mut served.commands, Ok(())).await else {
        panic!()
    };
    let proxy = JobProxy::builder(&served.connection)
        .path(call.await.unwrap().unwrap())
        .build()
        .await
        .unwrap();
    let mut changes = proxy.receive_progress_changed().await;
    let mut view = View::default();
    view.progress.done = 5;
    view.progress.total = 10;
    served.view.send_replace(Arc::new(view));
    let change = tokio::time::timeout(PATIENCE, changes.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(change.get().await.unwrap().done, 5);
    let cancel = tokio::spawn(async move { proxy.cancel(Options::new()).await });
    let command = answer(&mut served.commands, Ok(())).await;
    assert!(
        matches!(command, Command::CancelJob(found) if found == job),
        "{command:?}"
    );
    cancel.await.unwrap().unwrap();
}
