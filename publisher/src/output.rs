//! Answers, as text for people and as JSON for programs.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};
use switchback_manifest::{Channel, Release};
use switchback_types::{ByteCount, Compatible, ProductName};

use crate::channel::ChannelSet;
use crate::inspect::{FileReport, RepositoryReport};
use crate::refresh::Refreshed;
use crate::release::Published;

/// The version of the shape of JSON answers; raised when a field goes or changes its meaning.
const ANSWER_SCHEMA: u32 = 1;

/// What a verb has to say.
#[derive(Debug)]
pub(crate) enum Answer {
    Initialised {
        products: Vec<ProductName>,
        root: PathBuf,
    },
    Published(Box<Published>),
    ChannelSet(ChannelSet),
    Channels(Vec<Channel>),
    Refreshed(Refreshed),
    Repository(Box<RepositoryReport>),
    File(FileReport),
}

impl Answer {
    /// How many problems the answer lists.
    pub(crate) fn problems(&self) -> usize {
        match self {
            Self::Repository(report) => report.problems.len(),
            _ => 0,
        }
    }

    pub(crate) fn write(&self, as_json: bool, out: &mut dyn Write) -> io::Result<()> {
        if as_json {
            serde_json::to_writer_pretty(&mut *out, &self.value()?)?;
            return writeln!(out);
        }
        match self {
            Self::Initialised { root, .. } => write_initialised(root, out),
            Self::Published(published) => write_published(published, out),
            Self::ChannelSet(set) => {
                write_channel(&set.channel, out)?;
                if set.unchanged {
                    writeln!(out, "  It was so already: nothing was written.")?;
                }
                Ok(())
            }
            Self::Channels(channels) => write_channels(channels, out),
            Self::Refreshed(refreshed) => refreshed.roles.iter().try_for_each(|role| {
                writeln!(
                    out,
                    "{:<10} version {}, until {}",
                    role.role, role.version, role.expires
                )
            }),
            Self::Repository(report) => write_repository(report, out),
            Self::File(FileReport::Release(release)) => write_release(release, out),
            Self::File(FileReport::Channel(channel)) => write_channel(channel, out),
            Self::File(FileReport::Metadata(value)) => write_metadata(value, out),
        }
    }

    /// One object with the schema number beside the answer's own fields.
    fn value(&self) -> io::Result<Value> {
        let mut value = match self {
            Self::Initialised { products, root } => json!({ "products": products, "root": root }),
            Self::Published(published) => tree(published)?,
            Self::ChannelSet(set) => tree(set)?,
            Self::Channels(channels) => json!({ "channels": channels }),
            Self::Refreshed(refreshed) => tree(refreshed)?,
            Self::Repository(report) => tree(report)?,
            Self::File(file) => tree(file)?,
        };
        if let Some(fields) = value.as_object_mut() {
            fields.insert("schema".into(), ANSWER_SCHEMA.into());
        }
        Ok(value)
    }
}

fn tree<T: Serialize>(value: &T) -> io::Result<Value> {
    Ok(serde_json::to_value(value)?)
}

fn write_initialised(root: &std::path::Path, out: &mut dyn Write) -> io::Result<()> {
    let keys = root.parent().unwrap_or(root);
    writeln!(out, "The repository is ready.")?;
    writeln!(out, "  Build {} into every device.", root.display())?;
    writeln!(
        out,
        "  Move {0}/root.pem and {0}/targets.pem offline.",
        keys.display()
    )?;
    writeln!(
        out,
        "  Run `switchback-repo refresh` regularly, once a day for example."
    )
}

fn write_published(published: &Published, out: &mut dyn Write) -> io::Result<()> {
    write_release(&published.release, out)?;
    if published.unchanged {
        writeln!(
            out,
            "  It was published already: the release was left as it is."
        )?;
    }
    for report in &published.deltas {
        if let Some(reason) = report.fate.why_not() {
            writeln!(out, "  No delta from {}: {reason}.", report.from)?;
        }
    }
    if let Some(channel) = &published.channel {
        writeln!(out, "  Channel {channel} names it.")?;
    }
    for warning in &published.warnings {
        writeln!(out, "  warning: {}", plain(warning))?;
    }
    Ok(())
}

fn write_release(release: &Release, out: &mut dyn Write) -> io::Result<()> {
    let image = &release.image;
    let compatible: Vec<_> = release.compatible.iter().map(Compatible::as_str).collect();
    writeln!(out, "{} {}", release.product, release.version)?;
    writeln!(
        out,
        "  sequence   {}, security epoch {}",
        release.sequence, release.security_epoch
    )?;
    writeln!(out, "  created    {}", release.created)?;
    writeln!(out, "  compatible {}", compatible.join(", "))?;
    writeln!(
        out,
        "  image      {} {}, SHA-256 {}",
        ByteCount(image.size),
        image.format,
        image.sha256
    )?;
    writeln!(
        out,
        "  segments   {} of {}",
        image.segment_count(),
        ByteCount(u64::from(image.segment_size))
    )?;
    if let Some(kernel) = image.kernel_id {
        writeln!(out, "  kernel     {}", kernel.short())?;
    }
    writeln!(
        out,
        "  download   {} ({:.1} % of the image)",
        ByteCount(release.full.blob.length),
        percent(release.full.blob.length, image.size)
    )?;
    for delta in &release.deltas {
        writeln!(
            out,
            "  delta      {} ({:.1} %), from image {}",
            ByteCount(delta.blob.length),
            percent(delta.blob.length, release.full.blob.length),
            delta.from.short()
        )?;
    }
    for line in release.notes.iter().flat_map(|notes| notes.lines()) {
        writeln!(out, "  | {}", plain(line))?;
    }
    Ok(())
}

/// Text from outside without characters that steer a terminal.
fn plain(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

/// In tenths, without floating-point trouble over terabytes.
#[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn write_channels(channels: &[Channel], out: &mut dyn Write) -> io::Result<()> {
    if channels.is_empty() {
        return writeln!(out, "There are no channels.");
    }
    channels
        .iter()
        .try_for_each(|channel| write_channel(channel, out))
}

fn write_channel(channel: &Channel, out: &mut dyn Write) -> io::Result<()> {
    let release = &channel.release;
    write!(
        out,
        "{} {}: {}",
        channel.product, channel.channel, release.version
    )?;
    write!(
        out,
        " (sequence {}, image {})",
        release.sequence,
        release.image_sha256.short()
    )?;
    if channel.halted {
        write!(out, ", halted")?;
    }
    if channel.allow_downgrade {
        write!(out, ", devices may go back")?;
    }
    if let Some(expires) = channel.expires {
        write!(out, ", until {expires}")?;
    }
    writeln!(out)
}

fn write_repository(report: &RepositoryReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "role       version  until                 keys")?;
    for role in &report.roles {
        let until = role.expires.to_string();
        let expired = if role.expired { "  EXPIRED" } else { "" };
        writeln!(
            out,
            "{:<10} {:>7}  {until:<20}  {} of {}{expired}",
            role.role, role.version, role.threshold, role.keys
        )?;
    }
    for product in &report.products {
        writeln!(out, "\n{}", product.product)?;
        for release in &product.releases {
            writeln!(
                out,
                "  {:>4}  {:<20} {}, {:>10} to download, {}",
                release.sequence,
                release.version,
                release.image.sha256.short(),
                ByteCount(release.full.blob.length).to_string(),
                release.created
            )?;
        }
        for channel in &product.channels {
            write!(out, "  ")?;
            write_channel(channel, out)?;
        }
    }
    if !report.problems.is_empty() {
        writeln!(out, "\nproblems")?;
    }
    report
        .problems
        .iter()
        .try_for_each(|problem| writeln!(out, "  {problem}"))
}

fn write_metadata(value: &Value, out: &mut dyn Write) -> io::Result<()> {
    let field = |pointer: &str| match value.pointer(pointer) {
        Some(Value::String(text)) => plain(text),
        Some(other) => other.to_string(),
        None => "?".into(),
    };
    let kind = field("/signed/_type");
    writeln!(
        out,
        "{kind} version {}, until {}",
        field("/signed/version"),
        field("/signed/expires")
    )?;
    writeln!(
        out,
        "  nothing about it was verified: give --repo to do that"
    )?;
    for (pointer, what) in [("/signed/targets", "artifact"), ("/signed/meta", "file")] {
        let Some(entries) = value.pointer(pointer).and_then(Value::as_object) else {
            continue;
        };
        for name in entries.keys() {
            writeln!(out, "  {what} {}", plain(name))?;
        }
    }
    Ok(())
}
