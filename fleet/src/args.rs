//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Asks the fleet server who runs what and why, and tells it what to do.
#[derive(Debug, Parser)]
#[command(
    name = "switchback-fleet",
    version,
    after_help = "\
The token comes from --token-file, from the file that SWITCHBACK_TOKEN_FILE names, from \
SWITCHBACK_TOKEN, from the systemd credential `switchback-fleet-token`, or from \
~/.config/switchback/fleet-token; never from the command line, where others see it.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the server cannot be reached, or cannot keep it now; \
4 not permitted; 5 refused in this state; 6 there is no such thing; 7 the rollout that was watched \
did not finish well."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) to: To,
    /// Print what the server's API answers (docs/openapi/fleet-v1.json) instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Which server, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct To {
    /// The server's address.
    #[arg(
        long,
        global = true,
        env = "SWITCHBACK_SERVER",
        default_value = "http://127.0.0.1:8480",
        value_name = "URL"
    )]
    pub(crate) server: String,
    /// A file that holds the token.
    #[arg(
        long,
        global = true,
        env = "SWITCHBACK_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificates of the CA that the server's is of, in PEM form, in the place of the system's.
    #[arg(long, global = true, env = "SWITCHBACK_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Send the token over http:// to another machine: everybody on the way can read it.
    #[arg(long, global = true)]
    pub(crate) plain_http: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the fleet: what drifts, what is rolled out, what runs.
    Status,
    /// Show devices that do not run what they should, the longest first.
    Drift {
        #[command(flatten)]
        which: Which,
    },
    /// Devices: who they are, and who may come.
    #[command(subcommand)]
    Device(Device),
    /// Releases that can be rolled out.
    #[command(subcommand)]
    Release(Release),
    /// Rollouts: begin them, watch them, steer them.
    #[command(subcommand)]
    Rollout(Rollout),
    /// Return each device of a group to what it ran before its newest rollout.
    Rollback {
        /// A filter over labels, such as `site == lab`; `all` for everybody.
        group: String,
    },
    /// Who has a token.
    #[command(subcommand)]
    Token(Token),
    /// Whom the server tells.
    #[command(subcommand)]
    Webhook(Webhook),
    /// Show who did what, the newest first.
    Audit {
        /// Only up to this second since 1970.
        #[arg(long, value_name = "SECONDS")]
        before: Option<u64>,
        /// Most lines.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show what happens, as it happens.
    Watch,
    /// Show whom the token is of.
    Whoami,
}

/// Which devices.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// A filter over labels, such as `site == lab and not hw ~ "rev1*"`.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) filter: String,
    /// Most devices.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Show devices by name.
    List {
        #[command(flatten)]
        which: Which,
        /// Only those after this name: the next page.
        #[arg(long, default_value = "", hide_default_value = true)]
        after: String,
    },
    /// Show all that is known of one.
    Show {
        /// The device.
        id: String,
    },
    /// Let one in; its token is printed once.
    Add {
        /// Its name.
        id: String,
        /// Labels.
        #[arg(value_name = "NAME=VALUE", value_parser = pair)]
        labels: Vec<(String, String)>,
    },
    /// Let one in that waits.
    Approve {
        /// The device.
        id: String,
    },
    /// Keep one out from now on.
    Revoke {
        /// The device.
        id: String,
    },
    /// Give one a new token; the old one holds no more.
    Token {
        /// The device.
        id: String,
    },
    /// Say what people say of one, in the place of what they said before.
    Label {
        /// The device.
        id: String,
        /// Labels; none takes all away.
        #[arg(value_name = "NAME=VALUE", value_parser = pair)]
        labels: Vec<(String, String)>,
    },
    /// Forget one.
    Forget {
        /// The device.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Show all of them.
    List,
    /// Name one that is in the signed repository.
    Register {
        /// The line of releases.
        product: String,
        /// The version.
        version: String,
    },
    /// Upload files of another format and make a release of them.
    Upload {
        /// The line of releases.
        product: String,
        /// The version.
        version: String,
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// What a device says that it runs, when it runs this; the version, when not given.
        #[arg(long)]
        identity: Option<String>,
        /// What changed, for people.
        #[arg(long)]
        notes: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// Show all of them, the newest first.
    List,
    /// Show one, wave by wave.
    Show {
        /// The rollout.
        id: String,
    },
    /// Begin one: one device, 1 %, 10 %, 50 %, everybody, unless told otherwise.
    Create(Box<Create>),
    /// Show one as it goes, until it is over or paused.
    Watch {
        /// The rollout.
        id: String,
    },
    /// Agree to one that somebody else wants.
    Approve {
        /// The rollout.
        id: String,
    },
    /// Do not agree.
    Deny {
        /// The rollout.
        id: String,
    },
    /// Offer it to nobody else for now.
    Pause {
        /// The rollout.
        id: String,
    },
    /// Go on; what ended badly so far does not count any more.
    Resume {
        /// The rollout.
        id: String,
    },
    /// Open the next wave now.
    NextWave {
        /// The rollout.
        id: String,
    },
    /// Try again where it failed, went back or fell silent.
    Retry {
        /// The rollout.
        id: String,
        /// Only this device.
        #[arg(long)]
        device: Option<String>,
    },
    /// Bring its devices back to what they ran before.
    Revert {
        /// The rollout.
        id: String,
        /// Only these: a filter over labels.
        #[arg(long)]
        group: Option<String>,
    },
    /// End it: nobody else gets it, and who is at it is asked to stop.
    Stop {
        /// The rollout.
        id: String,
    },
}

/// A rollout to begin.
#[derive(Debug, Clone, Args)]
pub(crate) struct Create {
    /// What people call it.
    #[arg(required_unless_present = "from")]
    pub(crate) name: Option<String>,
    /// The release: product/version.
    #[arg(required_unless_present = "from")]
    pub(crate) release: Option<String>,
    /// All of it as JSON, as the API takes it: a file, or `-`.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "name", "release", "group", "waves", "gates", "on_broken_gate", "deadline",
            "in_flight", "per_hour", "retries", "not_before", "manual", "needs_approval",
            "needs_confirmation", "emergency",
        ]
    )]
    pub(crate) from: Option<PathBuf>,
    /// For whom: a filter over labels; everybody, when not given.
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// A wave: how far it reaches, and how long it soaks, such as `1:1h`, `10%:4h`, `100%`; once
    /// for each wave.
    #[arg(long = "wave", value_name = "REACH[:SOAK]")]
    pub(crate) waves: Vec<String>,
    /// When to stop, such as `succeeded=90%`, `failed=5%`, `rolled-back=2`, `silent=5%`, `bad=5%`.
    #[arg(long = "gate", value_name = "NAME=LIMIT", value_parser = pair)]
    pub(crate) gates: Vec<(String, String)>,
    /// What a broken gate does.
    #[arg(long, value_enum)]
    pub(crate) on_broken_gate: Option<OnBrokenGate>,
    /// When a device that took the offer counts as silent, such as `2h`.
    #[arg(long, value_parser = seconds)]
    pub(crate) deadline: Option<u32>,
    /// Most devices that are at it at the same time.
    #[arg(long, requires = "waves")]
    pub(crate) in_flight: Option<u32>,
    /// Most offers in one hour.
    #[arg(long, requires = "waves")]
    pub(crate) per_hour: Option<u32>,
    /// Further tries where it failed.
    #[arg(long)]
    pub(crate) retries: Option<u32>,
    /// Not before a time such as 2026-12-24T18:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<String>,
    /// Each wave waits for `rollout next-wave`.
    #[arg(long)]
    pub(crate) manual: bool,
    /// Somebody else must agree first.
    #[arg(long)]
    pub(crate) needs_approval: bool,
    /// Somebody at the device must agree as well.
    #[arg(long)]
    pub(crate) needs_confirmation: bool,
    /// Faster waves, also while everything else is frozen.
    #[arg(long)]
    pub(crate) emergency: bool,
    /// Show it as it goes, until it is over or paused.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnBrokenGate {
    /// Nobody else gets it, until a person says otherwise.
    Pause,
    /// That, and those who have it go back.
    Revert,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Show who has one.
    List,
    /// Give one out; it is printed once.
    Give {
        /// Whom it is for.
        name: String,
        /// What it allows.
        role: Role,
        /// Days until it ends; never, when not given.
        #[arg(long)]
        days: Option<u32>,
    },
    /// Take one back.
    Take {
        /// Whose.
        name: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Let devices in with it, and nothing else.
    Enroll,
    /// Look at everything.
    Viewer,
    /// Register releases and begin rollouts.
    Publisher,
    /// Steer rollouts and devices.
    Operator,
    /// Tokens, webhooks.
    Admin,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// Show all of them.
    List,
    /// Tell one more; what its signatures are made with is printed once.
    Add {
        /// Where.
        url: String,
    },
    /// Tell one less.
    Remove {
        /// Which.
        id: String,
    },
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("NAME=VALUE is wanted".into()),
    }
}

/// `90s`, `30m`, `4h`, `2d`, `1w`.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no time such as 90s, 30m, 4h, 2d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let size = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u32 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(size).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("2h"), Ok(7200));
        assert_eq!(seconds("1w"), Ok(604_800));
        for wrong in ["", "h", "2", "-1h", "2 h", "99999w", "1é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
