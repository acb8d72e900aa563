//! Dictionaries (`a{sv}`) carried by properties. Keys that are absent have no value; clients
//! ignore keys that they do not know, so that keys can be added.

use serde_json::{Value, json};
use zbus::{DeserializeDict, SerializeDict, Type};

/// The value as it appears in `--json` output: the same keys as on the bus.
///
/// (`serde::Serialize` is taken: on the bus each value travels inside a variant.)
pub trait ToJson {
    /// Converts.
    fn to_json(&self) -> Value;

    /// What every such value is, as a JSON schema (draft 2020-12).
    fn schema() -> Value
    where
        Self: Sized;
}

macro_rules! plain_json {
    ($($type:ty: $name:literal),*) => {
        $(impl ToJson for $type {
            fn to_json(&self) -> Value {
                Value::from(self.clone())
            }

            fn schema() -> Value {
                json!({ "type": $name })
            }
        })*
    };
}

plain_json!(String: "string", bool: "boolean", u32: "integer", u64: "integer");

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self) -> Value {
        self.iter().map(T::to_json).collect()
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }
}

macro_rules! dictionary {
    ($(#[doc = $doc:literal])* $name:ident {
        $($(#[doc = $field_doc:literal])* $field:ident: $type:ty,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
        #[zbus(signature = "a{sv}", rename_all = "kebab-case")]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $type,)*
        }

        impl ToJson for $name {
            fn to_json(&self) -> Value {
                let mut map = serde_json::Map::new();
                $(map.insert(stringify!($field).replace('_', "-"), self.$field.to_json());)*
                Value::Object(map)
            }

            fn schema() -> Value {
                let mut properties = serde_json::Map::new();
                let said = |mut value: Value, text: &str| {
                    if let Some(map) = value.as_object_mut() {
                        map.insert("description".into(), text.trim().into());
                    }
                    value
                };
                $(properties.insert(
                    stringify!($field).replace('_', "-"),
                    said(<$type>::schema(), concat!($($field_doc),*)),
                );)*
                let required: Vec<&String> = properties.keys().collect();
                let object = json!({ "type": "object", "required": required });
                let mut object = said(object, concat!($($doc),*));
                if let Some(map) = object.as_object_mut() {
                    map.insert("properties".into(), properties.into());
                }
                object
            }
        }
    };
}

dictionary! {
    /// How far the work under way is.
    Progress {
        /// `writing`, `verifying` or empty.
        stage: String,
        /// Bytes of the image done in this stage.
        done: u64,
        /// Bytes of the image.
        total: u64,
        /// Bytes received from the network for it.
        received: u64,
        /// Version being installed.
        version: String,
    }
}

dictionary! {
    /// How an image comes to the device.
    Transfer {
        /// Its version; empty when nothing was installed since the daemon started.
        version: String,
        /// `flip` (nothing is fetched), `delta` (from the image that runs), `chunks` (that neither
        /// slot holds) or `full`.
        way: String,
        /// Why this way, in words.
        reason: String,
        /// Bytes received for it.
        received: u64,
    }
}

dictionary! {
    /// A release that was offered and verified.
    Offer {
        /// Its version; empty when none was offered since the daemon started.
        version: String,
        /// Its place in the order of releases.
        sequence: u64,
        /// No release below this one may be installed once it was committed.
        security_epoch: u32,
        /// When it was signed (RFC 3339).
        created: String,
        /// Where its signed document lies in the repository.
        document: String,
        /// SHA-256 of the image.
        sha256: String,
        /// Bytes of the image.
        size: u64,
        /// Where its bill of materials lies in the repository; empty if it has none.
        sbom: String,
        /// Bytes of that.
        sbom_length: u64,
        /// Where the statement lies that says who built it, how and from what; empty if it has none.
        provenance: String,
        /// Bytes of that.
        provenance_length: u64,
        /// What changed, for people.
        notes: String,
    }
}

dictionary! {
    /// One slot.
    Slot {
        /// `a` or `b`.
        name: String,
        /// Its device.
        device: String,
        /// The bootloader's name for it.
        bootname: String,
        /// Whether it runs.
        booted: bool,
        /// Whether the bootloader tries it first.
        primary: bool,
        /// `ready`, `exhausted`, `uncounted` (started without counting) or `bad`, as the bootloader
        /// sees it.
        boot_state: String,
        /// Tries left to the bootloader.
        tries_left: u32,
        /// Whether health was proven on it since it was written.
        good: bool,
        /// `unknown`, `writing`, `holds` or `damaged`.
        content: String,
        /// Version of what it holds, or held before it was damaged; empty when unknown.
        version: String,
        /// SHA-256 of what it holds or should hold; empty when unknown.
        sha256: String,
        /// Bytes of what it holds or should hold.
        size: u64,
        /// When it was last read back and compared (RFC 3339); empty if never.
        checked: String,
    }
}

dictionary! {
    /// One of the five answers.
    Answer {
        /// `available`, `wanted`, `risk`, `trusted` or `verifiable`.
        question: String,
        /// `yes`, `no` or `not-asked`.
        answer: String,
        /// A stable word for programs.
        code: String,
        /// The reason, in words.
        reason: String,
        /// What would change it; empty where the answer is not no.
        way_out: String,
        /// Since when it is so (RFC 3339).
        since: String,
        /// When it is asked again (RFC 3339); empty where the answer is not no.
        again: String,
    }
}

dictionary! {
    /// One condition outside of the updater that an update, or the restart into it, waits for.
    Gate {
        /// What it is called: `battery`, `window`, `command kiosk-idle`, …
        name: String,
        /// The question that it belongs to: `wanted` or `risk`.
        question: String,
        /// What it stands before: `update`, `restart` or `both`.
        before: String,
        /// Whether it is open.
        open: bool,
        /// A stable word for programs; empty while it is open.
        code: String,
        /// What was found, in words.
        reason: String,
        /// What would open it; empty while it is open.
        way_out: String,
        /// When it opens by itself (RFC 3339); empty if that is not known.
        opens: String,
    }
}

dictionary! {
    /// The restart into an armed slot, while it has not come yet.
    PendingRestart {
        /// Whether there is one.
        pending: bool,
        /// Since when (RFC 3339).
        since: String,
        /// `gates`, `applications`, or empty while that is being found out.
        waits_for: String,
        /// The same in words.
        reason: String,
        /// What would end it.
        way_out: String,
        /// When gates are asked again, or the latest time for applications (RFC 3339).
        again: String,
    }
}

dictionary! {
    /// An application that asks not to be interrupted.
    Inhibitor {
        /// Its own name.
        who: String,
        /// Why.
        why: String,
        /// `update`, `restart` or `update:restart`.
        what: String,
        /// `block` or `delay`.
        mode: String,
        /// Its user.
        uid: u32,
    }
}

dictionary! {
    /// What a health check said last.
    Check {
        /// Its name.
        name: String,
        /// `unit`, `command`, `http`, `bus-name`, `script`, `repository` or `boot-complete`.
        kind: String,
        /// Whether it decides; one that does not advises.
        required: bool,
        /// `unknown`, `passing` or `failing`.
        state: String,
        /// Since when (RFC 3339).
        since: String,
        /// What it said, in words.
        detail: String,
    }
}

dictionary! {
    /// The only version that may come to the device.
    Pin {
        /// The version; empty if any may come.
        version: String,
        /// Why.
        reason: String,
        /// Since when (RFC 3339).
        since: String,
    }
}

dictionary! {
    /// The five answers.
    Decision {
        /// When they were given (RFC 3339); empty before the first time.
        at: String,
        /// The version they are about; empty if the repository names none.
        version: String,
        /// Whether all are yes.
        go: bool,
        /// In the order in which they are asked.
        answers: Vec<Answer>,
    }
}

dictionary! {
    /// Whether, why and since when the device is held.
    Hold {
        /// Whether it is.
        held: bool,
        /// Why.
        reason: String,
        /// Since when (RFC 3339).
        since: String,
        /// When it ends by itself (RFC 3339); empty if it does not.
        until: String,
    }
}

dictionary! {
    /// An image that failed on this device.
    Failed {
        /// Its version.
        version: String,
        /// Its SHA-256.
        sha256: String,
        /// Why.
        reason: String,
        /// When (RFC 3339).
        at: String,
    }
}

dictionary! {
    /// One line of the history.
    HistoryEntry {
        /// The action.
        action: String,
        /// `update`, `rollback`, `return` or `repair`.
        kind: String,
        /// Version before; empty when unknown.
        from: String,
        /// Version wanted.
        version: String,
        /// Its image.
        sha256: String,
        /// The slot.
        slot: String,
        /// Whether nothing was downloaded.
        flip_only: bool,
        /// When it began (RFC 3339).
        started: String,
        /// When it ended (RFC 3339).
        ended: String,
        /// `committed`, `repaired`, `rolled-back`, `failed` or `cancelled`.
        outcome: String,
        /// How it ended, in words.
        detail: String,
    }
}

#[cfg(test)]
mod tests {
    use zbus::wire::serialized::Context;
    use zbus::wire::{LE, to_bytes};

    use super::*;

    #[test]
    fn dictionaries_survive_the_bus() {
        let answer = Answer {
            question: "wanted".into(),
            answer: "no".into(),
            ..Answer::default()
        };
        let decision = Decision {
            go: false,
            answers: vec![answer],
            ..Decision::default()
        };
        let bytes = to_bytes(Context::new(LE, 0), &decision).unwrap();
        let (back, _): (Decision, _) = bytes.deserialize().unwrap();
        assert_eq!(back, decision);
    }

    #[test]
    fn json_has_the_keys_of_the_bus() {
        let json = Slot {
            tries_left: 3,
            ..Slot::default()
        }
        .to_json();
        assert_eq!(json["tries-left"], 3);
        assert_eq!(json["booted"], false);
    }
}
