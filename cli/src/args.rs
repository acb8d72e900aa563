//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Asks the update daemon what it is doing and why, and tells it what to do.
#[derive(Debug, Parser)]
#[command(
    name = "switchback",
    version,
    after_help = "\
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the daemon cannot be reached; 4 not permitted; \
5 refused in this state; 77 nothing to do (check, update)."
)]
pub(crate) struct Arguments {
    /// Print JSON with a `schema` number instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show both slots, what is under way, and what went wrong last.
    Status,
    /// Ask the repository now, and show the five answers.
    Check,
    /// Show the five answers given last, each with its reason.
    Explain,
    /// Ask the repository and install what it offers.
    Update {
        #[command(flatten)]
        wish: Wish,
    },
    /// Install what a bundle brings: a file, or an https:// or http:// address.
    Install {
        /// The bundle, as `switchback-repo bundle` makes it.
        bundle: String,
        #[command(flatten)]
        wish: Wish,
    },
    /// Show both slots alone.
    Slots,
    /// Show what each health check of this boot said last.
    Health,
    /// Show what happens, as it happens.
    Watch,
    /// Go back to what the other slot holds, and stay there.
    Rollback {
        /// Why; shown as long as the device is held.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Read the other slot back; if it went bad, fetch again only what is wrong.
    Repair,
    /// Show what was installed, when, and how it ended.
    History,
    /// Stay on what runs, until `unhold`.
    Hold {
        /// Why; shown as long as the device is held.
        #[arg(long, default_value = "held by a person")]
        reason: String,
        /// When it ends by itself: a time such as 2026-12-24T18:00:00Z, or how long from now: 30m, 4h, 2d, 1w.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Let updates go on.
    Unhold,
    /// Let no other version come than this one; by itself: the one that runs.
    Pin {
        /// The version. The channel must still name it.
        version: Option<String>,
        /// Why; shown as long as the pin holds.
        #[arg(long, default_value = "pinned by a person")]
        reason: String,
    },
    /// Let any version come.
    Unpin,
    /// Give consent to what is offered, where `update.consent` asks for it.
    Approve {
        /// The version that is meant; another one is then not approved.
        version: Option<String>,
    },
    /// Run a program during which the device is not interrupted; without one, show who asks for that.
    Inhibit {
        /// What is kept away: `update`, `restart` or `update:restart`.
        #[arg(long, default_value = "update:restart")]
        what: String,
        /// Who asks; by itself the program.
        #[arg(long)]
        who: Option<String>,
        /// Why.
        #[arg(long, default_value = "a program runs")]
        why: String,
        /// `block`, or for `--what restart` alone `delay`: a moment, no more.
        #[arg(long, default_value = "block")]
        mode: String,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Call off what is under way.
    Cancel,
    /// Mark the booted slot good, or the other one bad, in the boot environment.
    Mark {
        /// `good`: the booted slot; `bad`: the other one.
        state: MarkState,
    },
    /// Restart into the armed slot now, whatever gates say.
    Restart,
    /// Look at the daemon's configuration.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        what: Config,
    },
    /// Look at what was offered, or at files.
    Inspect {
        /// What to look at.
        #[command(subcommand)]
        what: Inspect,
    },
}

/// How a person wants an install.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Wish {
    /// Try an image that failed on this device once more.
    #[arg(long)]
    pub(crate) retry: bool,
    /// Begin although it is not wanted or its risk is too great now, for this reason; it is written down.
    /// What is not trusted is not installed all the same.
    #[arg(long = "override", value_name = "REASON")]
    pub(crate) overriding: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum MarkState {
    Good,
    Bad,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Config {
    /// Each setting, and the file and line that it comes from.
    Show,
    /// Say what is wrong, with file and line.
    Check,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Inspect {
    /// The release that was offered last: its image, and the papers that were signed with it.
    Release,
    /// A boot environment, without the daemon: its variables, and what is wrong with it.
    Env {
        /// U-Boot: a file in the format of `/etc/fw_env.config`.
        #[arg(long, conflicts_with = "grubenv", required_unless_present = "grubenv")]
        config: Option<PathBuf>,
        /// GRUB: the environment block.
        #[arg(long)]
        grubenv: Option<PathBuf>,
    },
}
