//! How an image comes: which way, and why.

use switchback_dbus_api::Transfer;
use switchback_types::Version;

use crate::install::Choice;

/// A way is taken for `version`.
pub(super) fn begun(version: Option<&Version>, choice: Choice) -> Transfer {
    Transfer {
        version: version.map(ToString::to_string).unwrap_or_default(),
        way: choice.way.as_str().into(),
        reason: choice.reason,
        received: 0,
    }
}
