//! Reading rows.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError};

macro_rules! row {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl $name {
            fn read(row: &AnyRow) -> Result<Self, StoreError> {
                Ok(Self { $($field: row.try_get(stringify!($field))?,)+ })
            }
        }
    };
}

row!(
    /// A device.
    DeviceRow {
        /// Its name.
        id: String,
        /// `active`, `pending` or `revoked`.
        state: String,
        /// SHA-256 of its token.
        token_hash: String,
        /// That of the token that it was given last and has not used yet.
        next_token_hash: String,
        /// What it says of itself: a JSON object.
        attributes: String,
        /// What people say of it: a JSON object.
        labels: String,
        /// What it says that it runs.
        identity: String,
        /// Whether it agrees to everything: a JSON object, or nothing.
        auto_confirm: String,
        /// When it came.
        enrolled_at: i64,
        /// When it was heard of last; behind by up to a minute.
        heard_at: i64,
    }
);
row!(
    /// A release.
    ReleaseRow {
        /// Its name.
        name: String,
        /// All of it.
        doc: String,
    }
);
row!(
    /// A rollout.
    RolloutRow {
        /// Its name in addresses.
        id: String,
        /// Which is newer.
        number: i64,
        /// For compare-and-set.
        generation: i64,
        /// All of it.
        doc: String,
        /// When it was wanted.
        created_at: i64,
    }
);
row!(
    /// One device's part in a rollout.
    AttemptRow {
        /// The rollout.
        rollout: String,
        /// The device.
        device: String,
        /// The number that devices know it by.
        action: i64,
        /// The number of the way back; 0 for none.
        back: i64,
        /// For compare-and-set.
        generation: i64,
        /// All of it.
        doc: String,
    }
);
row!(
    /// What a device said.
    MessageRow {
        /// Of which action.
        action: i64,
        /// When.
        at: i64,
        /// Its word.
        word: String,
        /// Its messages.
        text: String,
    }
);
row!(
    /// Somebody with a token.
    PersonRow {
        /// The name.
        name: String,
        /// The role.
        role: String,
        /// SHA-256 of the token.
        token_hash: String,
        /// When it ends; 0 for never.
        expires_at: i64,
    }
);
row!(
    /// Who did what.
    AuditRow {
        /// Its name.
        id: String,
        /// When.
        at: i64,
        /// Who.
        who: String,
        /// What.
        what: String,
        /// To what, and how.
        detail: String,
    }
);
row!(
    /// Whom to tell.
    WebhookRow {
        /// Its name.
        id: String,
        /// Where.
        url: String,
        /// What the signature is made with.
        secret: String,
    }
);
row!(
    /// Something to tell.
    DeliveryRow {
        /// Its name.
        id: String,
        /// Whom.
        webhook: String,
        /// What.
        body: String,
        /// How often it was tried.
        tries: i64,
    }
);

macro_rules! all_of {
    ($($(#[$doc:meta])* $function:ident($($argument:ident: $type:ty),*) -> $row:ident = $sql:literal;)+) => {
        impl Store {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The database does not answer.
                pub async fn $function(&self $(, $argument: $type)*) -> Result<Vec<$row>, StoreError> {
                    let query = sqlx::query($sql)$(.bind($argument))*;
                    let rows = query.fetch_all(&self.pool).await?;
                    rows.iter().map($row::read).collect()
                }
            )+
        }
    };
}

all_of! {
    /// All devices.
    devices() -> DeviceRow = "SELECT * FROM devices";
    /// Devices that changed since then.
    devices_changed(since: i64) -> DeviceRow = "SELECT * FROM devices WHERE changed >= $1";
    /// One device.
    device(id: &str) -> DeviceRow = "SELECT * FROM devices WHERE id = $1";
    /// All releases.
    releases() -> ReleaseRow = "SELECT * FROM releases ORDER BY created_at DESC, name";
    /// All rollouts.
    rollouts() -> RolloutRow = "SELECT * FROM rollouts ORDER BY number";
    /// Rollouts that changed since then.
    rollouts_changed(since: i64) -> RolloutRow = "SELECT * FROM rollouts WHERE changed >= $1 ORDER BY number";
    /// All attempts.
    attempts() -> AttemptRow = "SELECT * FROM attempts";
    /// Attempts that changed since then.
    attempts_changed(since: i64) -> AttemptRow = "SELECT * FROM attempts WHERE changed >= $1";
    /// A device's part in a rollout.
    attempt(rollout: &str, device: &str) -> AttemptRow = "SELECT * FROM attempts WHERE rollout = $1 AND device = $2";
    /// A device's part in all rollouts.
    attempts_of(device: &str) -> AttemptRow = "SELECT * FROM attempts WHERE device = $1";
    /// What a device said, the newest first.
    messages(device: &str, limit: i64) -> MessageRow = "SELECT * FROM messages WHERE device = $1 ORDER BY at DESC, action DESC LIMIT $2";
    /// What a device said of an action, the newest first.
    messages_of(device: &str, action: i64, limit: i64) -> MessageRow = "SELECT * FROM messages WHERE device = $1 AND action = $2 ORDER BY at DESC LIMIT $3";
    /// Everybody with a token.
    people() -> PersonRow = "SELECT * FROM people ORDER BY name";
    /// Who did what before then, the newest first.
    audit(before: i64, limit: i64) -> AuditRow = "SELECT * FROM audit WHERE at <= $1 ORDER BY at DESC, id DESC LIMIT $2";
    /// Whom to tell.
    webhooks() -> WebhookRow = "SELECT * FROM webhooks ORDER BY id";
    /// What to tell by now.
    deliveries(now: i64) -> DeliveryRow = "SELECT * FROM deliveries WHERE next_at <= $1 ORDER BY next_at LIMIT 50";
}
