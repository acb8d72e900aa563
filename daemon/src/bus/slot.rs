//! `org.switchback.Update1.Slot`: one object for each slot.

use switchback_dbus_api::{self as api, SLOT_PATH};
use switchback_types::SlotName;
use zbus::{Connection, interface};

use super::Shared;
use crate::driver::View;

/// A slot object.
#[derive(Debug)]
pub struct Slot {
    shared: Shared,
    name: SlotName,
}

impl Slot {
    pub(super) fn new(shared: Shared, name: SlotName) -> Self {
        Self { shared, name }
    }

    fn view(&self) -> api::Slot {
        of(&self.shared.view.borrow(), self.name)
    }
}

fn of(view: &View, name: SlotName) -> api::Slot {
    view.slots
        .iter()
        .find(|slot| slot.name == name.as_str())
        .cloned()
        .unwrap_or_default()
}

/// One slot.
#[interface(name = "org.switchback.Update1.Slot")]
impl Slot {
    /// `a` or `b`.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.name.to_string()
    }

    /// Whether it runs.
    #[zbus(property)]
    fn booted(&self) -> bool {
        self.view().booted
    }

    /// Whether the bootloader tries it first.
    #[zbus(property)]
    fn primary(&self) -> bool {
        self.view().primary
    }

    /// Whether health was proven on it since it was written.
    #[zbus(property)]
    fn good(&self) -> bool {
        self.view().good
    }

    /// Tries left to the bootloader.
    #[zbus(property)]
    fn tries_left(&self) -> u32 {
        self.view().tries_left
    }

    /// Version of what it holds; empty when unknown.
    #[zbus(property)]
    fn version(&self) -> String {
        self.view().version
    }

    /// Everything about it: `name`, `device`, `bootname`, `booted`, `primary`, `boot-state`,
    /// `tries-left`, `good`, `content`, `version`, `sha256`, `size`, `checked`.
    #[zbus(property)]
    fn details(&self) -> api::Slot {
        self.view()
    }
}

/// Signals the slots that differ between two views.
pub(super) async fn tell(connection: &Connection, before: &View, now: &View) -> zbus::Result<()> {
    for name in SlotName::ALL {
        let (old, new) = (of(before, name), of(now, name));
        if old == new {
            continue;
        }
        let path = format!("{SLOT_PATH}/{name}");
        let slot = connection
            .object_server()
            .interface::<_, Slot>(path.as_str())
            .await?;
        let (object, emitter) = (slot.get().await, slot.signal_emitter());
        object.details_changed(emitter).await?;
        if old.booted != new.booted {
            object.booted_changed(emitter).await?;
        }
        if old.primary != new.primary {
            object.primary_changed(emitter).await?;
        }
        if old.good != new.good {
            object.good_changed(emitter).await?;
        }
        if old.tries_left != new.tries_left {
            object.tries_left_changed(emitter).await?;
        }
        if old.version != new.version {
            object.version_changed(emitter).await?;
        }
    }
    Ok(())
}
