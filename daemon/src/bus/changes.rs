//! Tells the bus what changed.

use switchback_types::Timestamp;
use zbus::object_server::InterfaceRef;

use super::manager::Manager;
use crate::driver::View;

/// Signals what differs between two views.
pub(super) async fn tell(
    manager: &InterfaceRef<Manager>,
    before: &View,
    now: &View,
) -> zbus::Result<()> {
    let emitter = manager.signal_emitter();
    let interface = manager.get().await;
    if before.phase != now.phase {
        interface.phase_changed(emitter).await?;
        if !before.phase.is_empty() {
            Manager::transition(emitter, &before.phase, &now.phase, &now.version).await?;
        }
    }
    if before.progress != now.progress {
        interface.progress_changed(emitter).await?;
    }
    if before.transfer != now.transfer {
        interface.transfer_changed(emitter).await?;
    }
    if before.offer != now.offer {
        interface.offer_changed(emitter).await?;
    }
    if before.slots != now.slots {
        interface.slots_changed(emitter).await?;
    }
    if before.decision != now.decision {
        interface.decision_changed(emitter).await?;
    }
    if before.gates != now.gates {
        interface.gates_changed(emitter).await?;
    }
    if before.restart != now.restart {
        interface.pending_restart_changed(emitter).await?;
        let restart = &now.restart;
        let begun =
            restart.waits_for == "applications" && before.restart.waits_for != "applications";
        if let (true, Ok(latest)) = (begun, restart.again.parse::<Timestamp>()) {
            let latest = u64::try_from(latest.unix()).unwrap_or(0);
            Manager::prepare_for_restart(emitter, &now.version, latest).await?;
        }
    }
    if before.health != now.health {
        interface.health_changed(emitter).await?;
    }
    if before.inhibitors != now.inhibitors {
        interface.inhibitors_changed(emitter).await?;
    }
    if before.pin != now.pin {
        interface.pinned_changed(emitter).await?;
    }
    if before.last_error != now.last_error {
        interface.last_error_changed(emitter).await?;
    }
    if before.hold != now.hold {
        interface.held_changed(emitter).await?;
    }
    if before.failed != now.failed {
        interface.failed_changed(emitter).await?;
    }
    if before.history != now.history {
        interface.history_changed(emitter).await?;
    }
    Ok(())
}
