//! Answers, as text for people and as JSON for programs.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};
use switchback_manifest::{Channel, Release};
use switchback_types::{ByteCount, Compatible, Digest, ProductName};

use crate::bundle::Bundled;
use crate::channel::ChannelSet;
use crate::explain::{DeltaExplained, DeltaHeader, Explained, PartsExplained};
use crate::flags::FlagsReport;
use crate::gc::Collected;
use crate::inspect::{FileReport, RepositoryReport};
use crate::keys::MadeKey;
use crate::keys::elsewhere::SignedElsewhere;
use crate::keys::list::KeysReport;
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
    Flags(FlagsReport),
    Refreshed(Refreshed),
    Keys(KeysReport),
    KeyMade(MadeKey),
    SetAside(Vec<PathBuf>),
    Signed(SignedElsewhere),
    Collected(Collected),
    Bundled(Bundled),
    Explained(Explained),
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
            Self::Flags(report) => write!(out, "{report}"),
            Self::Refreshed(refreshed) => refreshed.roles.iter().try_for_each(|role| {
                writeln!(
                    out,
                    "{:<10} version {}, until {}",
                    role.role, role.version, role.expires
                )
            }),
            Self::Keys(report) => write!(out, "{report}"),
            Self::KeyMade(made) => writeln!(out, "{made}"),
            Self::SetAside(files) => files
                .iter()
                .try_for_each(|file| writeln!(out, "set aside: {}", file.display())),
            Self::Signed(signed) => writeln!(out, "{signed}"),
            Self::Collected(collected) => write_collected(collected, out),
            Self::Bundled(bundled) => write_bundled(bundled, out),
            Self::Explained(explained) => write_explained(explained, out),
            Self::Repository(report) => write_repository(report, out),
            Self::File(FileReport::Delta(header)) => write_header(header, out),
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
            Self::Flags(report) => tree(report)?,
            Self::Refreshed(refreshed) => tree(refreshed)?,
            Self::Keys(report) => tree(report)?,
            Self::KeyMade(made) => tree(made)?,
            Self::SetAside(files) => json!({ "set_aside": files }),
            Self::Signed(signed) => tree(signed)?,
            Self::Collected(collected) => tree(collected)?,
            Self::Bundled(bundled) => tree(bundled)?,
            Self::Explained(explained) => tree(explained)?,
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
    if let Some(trace) = &published.trace_id {
        writeln!(out, "  trace      {trace}")?;
    }
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
    if let Some(chunks) = &release.chunks {
        writeln!(
            out,
            "  chunks     {}, of which a device takes what it lacks; their index {}",
            ByteCount(chunks.data.length),
            ByteCount(chunks.index.length)
        )?;
    }
    for delta in &release.deltas {
        writeln!(
            out,
            "  delta      {} ({:.1} %), from image {}",
            ByteCount(delta.blob.length),
            percent(delta.blob.length, release.full.blob.length),
            delta.from.short()
        )?;
    }
    for (name, paper) in [("sbom", release.sbom), ("provenance", release.provenance)] {
        if let Some(blob) = paper {
            let length = ByteCount(blob.length);
            writeln!(out, "  {name:<10} {length}, {}", blob.path())?;
        }
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

fn write_collected(collected: &Collected, out: &mut dyn Write) -> io::Result<()> {
    let verb = if collected.dry_run {
        "would go"
    } else {
        "removed"
    };
    for release in &collected.removed {
        writeln!(out, "{verb:<9} {} {}", release.product, release.version)?;
    }
    writeln!(
        out,
        "releases  {} kept, {} {verb}",
        collected.kept,
        collected.removed.len()
    )?;
    for (what, freed) in [
        ("content", collected.blobs),
        ("targets", collected.documents),
        ("metadata", collected.metadata),
    ] {
        let bytes = ByteCount(freed.bytes);
        writeln!(out, "{what:<9} {} files {verb}, {bytes}", freed.files)?;
    }
    if collected.dry_run {
        writeln!(out, "Nothing was changed.")?;
    }
    Ok(())
}

fn write_bundled(bundled: &Bundled, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", bundled.output.display())?;
    writeln!(
        out,
        "  {} {}, {}, SHA-256 {}",
        bundled.product,
        bundled.version,
        ByteCount(bundled.length),
        bundled.sha256
    )?;
    for from in &bundled.from {
        writeln!(out, "  for devices that run {from}")?;
    }
    if bundled.full {
        writeln!(out, "  for every device")?;
    }
    for channel in &bundled.channels {
        writeln!(out, "  channel {channel} names it")?;
    }
    writeln!(out, "  devices take it until {}", bundled.expires)?;
    bundled
        .warnings
        .iter()
        .try_for_each(|warning| writeln!(out, "  warning: {warning}"))
}

fn write_header(header: &DeltaHeader, out: &mut dyn Write) -> io::Result<()> {
    let image = |digest: Digest, size| format!("image {digest} of {}", ByteCount(size));
    writeln!(out, "delta")?;
    writeln!(
        out,
        "  from {}",
        image(header.from_sha256, header.from_size)
    )?;
    writeln!(out, "  to   {}", image(header.to_sha256, header.to_size))?;
    writeln!(out, "  segments of {}", ByteCount(header.segment_size))?;
    writeln!(out, "  what it is made of: give --repo and --version")
}

fn write_explained(explained: &Explained, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} {}", explained.product, explained.version)?;
    if explained.deltas.is_empty() {
        writeln!(out, "  It has no deltas.")?;
    }
    for delta in &explained.deltas {
        write_delta(delta, out)?;
    }
    Ok(())
}

fn write_delta(delta: &DeltaExplained, out: &mut dyn Write) -> io::Result<()> {
    match &delta.from {
        Some(from) => write!(out, "\ndelta from {from}")?,
        None => write!(out, "\ndelta from image {}", delta.from_sha256.short())?,
    }
    writeln!(out, ", {}", ByteCount(delta.length))?;
    match &delta.parts {
        Some(parts) => write_parts(parts, out),
        None => writeln!(
            out,
            "  its old image is not in the repository: nothing more is known"
        ),
    }
}

fn write_parts(parts: &PartsExplained, out: &mut dyn Write) -> io::Result<()> {
    let all = parts.copied + parts.changed + parts.sent + parts.zeros;
    writeln!(out, "  the new image")?;
    for (what, bytes) in [
        ("copied", parts.copied),
        ("changed", parts.changed),
        ("sent", parts.sent),
        ("zeros", parts.zeros),
    ] {
        let size = ByteCount(bytes).to_string();
        writeln!(
            out,
            "    {what:<8} {size:>10}  {:>6.2} %",
            percent(bytes, all)
        )?;
    }
    writeln!(out, "  the delta")?;
    for (what, bytes) in [
        ("table", parts.table),
        ("maps", parts.maps),
        ("frames", parts.frames),
    ] {
        writeln!(out, "    {what:<8} {:>10}", ByteCount(bytes).to_string())?;
    }
    if let Some(packed) = &parts.packed {
        writeln!(
            out,
            "  the device packs {} blocks with {}: {} of {}",
            packed.blocks,
            packed.by,
            ByteCount(packed.bytes),
            ByteCount(packed.plain)
        )?;
    }
    if parts.files.is_empty() {
        return Ok(());
    }
    writeln!(out, "  what causes it       cost     changed        sent")?;
    for file in &parts.files {
        let size = |bytes| ByteCount(bytes).to_string();
        writeln!(
            out,
            "    {:>21} {:>11} {:>11}  {}",
            size(file.cost),
            size(file.changed),
            size(file.sent),
            plain(&file.path)
        )?;
    }
    if parts.more_files > 0 {
        writeln!(out, "    and {} more", parts.more_files)?;
    }
    Ok(())
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
                "  {:>4}  {:<20} {}, {:>10} to download, {:>2} deltas, {}",
                release.sequence,
                release.version,
                release.image.sha256.short(),
                ByteCount(release.full.blob.length).to_string(),
                release.deltas.len(),
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
