//! Carries out what the command line says.

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::CommandFactory as _;
use switchback_types::Timestamp;

use crate::bundle::{BundleRequest, bundle};
use crate::channel::{self, ChannelRequest};
use crate::cli::{
    BundleArgs, ChangeArgs, ChannelSetArgs, ChannelShowArgs, ChannelVerb, Cli, FlagsVerb, InitArgs,
    InspectArgs, KeysVerb, Place, PublishArgs, RefreshArgs, Verb,
};
use crate::content::Packing;
use crate::edit::Workplace;
use crate::error::{RepoError, io};
use crate::explain::{ExplainRequest, explain_release};
use crate::flags::{self, FlagsRequest};
use crate::gc::{GcRequest, gc};
use crate::init::init;
use crate::inspect::{Depth, inspect, inspect_file};
use crate::keys::change::{self, KeyChange};
use crate::keys::{elsewhere, list};
use crate::output::Answer;
use crate::progress::Bars;
use crate::refresh::refresh;
use crate::release::{PublishRequest, publish};
use crate::repository::Repository;

/// Runs one verb and writes its answer to `out`.
///
/// # Errors
/// Whatever the verb fails with; the answer of `inspect` is written even then.
pub fn run(cli: &Cli, now: Timestamp, out: &mut dyn Write) -> Result<(), RepoError> {
    let answer = answer(cli, now, out)?;
    let Some(answer) = answer else {
        return Ok(());
    };
    answer
        .write(cli.json, out)
        .map_err(io("write to", Path::new("standard output")))?;
    match answer.problems() {
        0 => Ok(()),
        count => Err(RepoError::Problems { count }),
    }
}

fn answer(cli: &Cli, now: Timestamp, out: &mut dyn Write) -> Result<Option<Answer>, RepoError> {
    let answer = match &cli.verb {
        Verb::Init(args) => run_init(args, now)?,
        Verb::Publish(args) => run_publish(args, now, cli.quiet || cli.json)?,
        Verb::Channel(ChannelVerb::Set(args)) => run_channel_set(args, now)?,
        Verb::Channel(ChannelVerb::Show(args)) => run_channel_show(args)?,
        Verb::Flags(verb) => run_flags(verb, now)?,
        Verb::Refresh(args) => run_refresh(args, now)?,
        Verb::Keys(verb) => run_keys(verb, now)?,
        Verb::Sign(args) => Answer::Signed(elsewhere::sign_file(&args.keys, &args.file)?),
        Verb::TakeIn(args) => Answer::Keys(elsewhere::take_in(
            &workplace(&args.place, now),
            &args.file,
        )?),
        Verb::Gc(args) => {
            let request = GcRequest {
                keep: args.keep,
                dry_run: args.dry_run,
            };
            Answer::Collected(gc(&workplace(&args.place, now), &request)?)
        }
        Verb::Bundle(args) => run_bundle(args, now)?,
        Verb::Inspect(args) => run_inspect(args, now)?,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "switchback-repo", &mut script);
            out.write_all(&script)
                .map_err(io("write to", Path::new("standard output")))?;
            return Ok(None);
        }
        Verb::Man { out } => {
            fs::create_dir_all(out).map_err(io("create", out))?;
            clap_mangen::generate_to(Cli::command(), out)
                .map_err(io("write manual pages to", out))?;
            return Ok(None);
        }
    };
    Ok(Some(answer))
}

fn workplace(place: &Place, now: Timestamp) -> Workplace<'_> {
    Workplace {
        repo: &place.repo,
        keys: &place.keys,
        now,
    }
}

fn run_refresh(args: &RefreshArgs, now: Timestamp) -> Result<Answer, RepoError> {
    let place = workplace(&args.place, now);
    let Some(directory) = &args.set_aside else {
        return Ok(Answer::Refreshed(refresh(&place, &args.roles)?));
    };
    let files = args
        .roles
        .iter()
        .map(|role| elsewhere::set_aside(&place, *role, directory))
        .collect::<Result<_, _>>()?;
    Ok(Answer::SetAside(files))
}

fn run_keys(verb: &KeysVerb, now: Timestamp) -> Result<Answer, RepoError> {
    let changed = |args: &ChangeArgs, change: KeyChange| {
        let (place, aside) = (workplace(&args.place, now), args.set_aside.as_deref());
        change::change(&place, args.role, &change, aside).map(Answer::Keys)
    };
    match verb {
        KeysVerb::List { place } => Ok(Answer::Keys(list::list(&workplace(place, now))?)),
        KeysVerb::New { keys, role, name } => {
            let keys = crate::Keys::new(keys);
            Ok(Answer::KeyMade(keys.create_with_public(*role, name)?))
        }
        KeysVerb::Add { change, file } => changed(change, KeyChange::Add(file.clone())),
        KeysVerb::Revoke { change, id } => changed(change, KeyChange::Revoke(id.clone())),
        KeysVerb::Threshold { change, count } => changed(change, KeyChange::Threshold(*count)),
        KeysVerb::Rotate { place, role, name } => {
            let rotate = KeyChange::Rotate(name.clone());
            change::change(&workplace(place, now), *role, &rotate, None).map(Answer::Keys)
        }
    }
}

fn run_init(args: &InitArgs, now: Timestamp) -> Result<Answer, RepoError> {
    let place = workplace(&args.place, now);
    let repository = init(&place, &args.products, &args.lifetimes.lifetimes())?;
    Ok(Answer::Initialised {
        products: repository.products(),
        root: crate::Keys::new(place.keys).pinned_root_path(),
    })
}

fn run_publish(args: &PublishArgs, now: Timestamp, silent: bool) -> Result<Answer, RepoError> {
    let request = PublishRequest {
        image: args.image.clone(),
        product: args.product.clone(),
        version: args.release_version.clone(),
        compatible: args.compatible.clone(),
        sequence: args.sequence,
        force_sequence: args.force_sequence.clone(),
        security_epoch: args.security_epoch,
        format: args.format,
        notes: args.notes.clone(),
        kernel_id: args.kernel_id,
        sbom: args.sbom.clone(),
        provenance: args.provenance.clone(),
        requires: args.requires.clone(),
        channel: args.channel.clone(),
        created: args.created.unwrap_or(now),
        packing: Packing {
            segment_size: args.segment_size,
            level: args.level,
            chunk_level: (!args.no_chunks).then_some(args.level),
        },
        deltas: args.deltas.request(),
    };
    let bars = Bars::new(&args.image, silent);
    let published = publish(&workplace(&args.place, now), &request, &|progress| {
        bars.show(&progress);
    });
    bars.clear();
    Ok(Answer::Published(Box::new(published?)))
}

fn run_channel_set(args: &ChannelSetArgs, now: Timestamp) -> Result<Answer, RepoError> {
    let halted = match (args.halt, args.resume) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let request = ChannelRequest {
        product: args.product.clone(),
        channel: args.channel.clone(),
        version: args.release_version.clone(),
        allow_downgrade: args.allow_downgrade,
        halted,
        expires: args.expires.map(|time| now.plus_seconds(time.seconds())),
    };
    Ok(Answer::ChannelSet(channel::set(
        &workplace(&args.place, now),
        &request,
    )?))
}

fn run_channel_show(args: &ChannelShowArgs) -> Result<Answer, RepoError> {
    let root = trusted_root(&args.source.repo, args.source.root.as_deref())?;
    let repository = Repository::open(&args.source.repo, &root)?;
    let product = repository.product(args.product.as_ref())?;
    let channels = match &args.channel {
        None => repository.channels(&product)?,
        Some(name) => match repository.channel(&product, name)? {
            Some(channel) => vec![channel],
            None => {
                return Err(RepoError::NoSuchChannel {
                    product,
                    channel: name.to_string(),
                });
            }
        },
    };
    Ok(Answer::Channels(channels))
}

fn run_flags(verb: &FlagsVerb, now: Timestamp) -> Result<Answer, RepoError> {
    let (set, file) = match verb {
        FlagsVerb::Show(args) => {
            let root = trusted_root(&args.source.repo, args.source.root.as_deref())?;
            let repository = Repository::open(&args.source.repo, &root)?;
            let report = flags::show(&repository, args.product.as_ref())?;
            return Ok(Answer::Flags(report));
        }
        FlagsVerb::Set(args) => (&args.set, Some(args.file.clone())),
        FlagsVerb::Remove(set) => (set, None),
    };
    let request = FlagsRequest {
        product: set.product.clone(),
        name: set.name.clone(),
        file,
    };
    let report = flags::change(&workplace(&set.place, now), &request)?;
    Ok(Answer::Flags(report))
}

fn run_bundle(args: &BundleArgs, now: Timestamp) -> Result<Answer, RepoError> {
    let root = trusted_root(&args.source.repo, args.source.root.as_deref())?;
    let repository = Repository::open(&args.source.repo, &root)?;
    let request = BundleRequest {
        product: args.product.clone(),
        version: args.release_version.clone(),
        from: args.from.clone(),
        full: args.full,
        output: args.output.clone(),
    };
    Ok(Answer::Bundled(bundle(&repository, &request, now)?))
}

fn run_inspect(args: &InspectArgs, now: Timestamp) -> Result<Answer, RepoError> {
    if let Some(file) = &args.file {
        return Ok(Answer::File(inspect_file(file)?));
    }
    let repo = args.repo.as_deref().unwrap_or(Path::new("."));
    let depth = if args.content {
        Depth::Digests
    } else {
        Depth::Lengths
    };
    let root = trusted_root(repo, args.root.as_deref())?;
    if let Some(version) = &args.release_version {
        let request = ExplainRequest {
            product: args.product.clone(),
            version: version.clone(),
            from: args.from.clone(),
        };
        let repository = Repository::open(repo, &root)?;
        return Ok(Answer::Explained(explain_release(&repository, &request)?));
    }
    Ok(Answer::Repository(Box::new(inspect(
        repo, &root, now, depth,
    )?)))
}

fn trusted_root(repo: &Path, given: Option<&Path>) -> Result<Vec<u8>, RepoError> {
    match given {
        Some(path) => fs::read(path).map_err(io("read", path)),
        None => {
            let path = repo.join("metadata/1.root.json");
            fs::read(&path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => RepoError::NoRepository { path: repo.into() },
                _ => io("read", &path)(error),
            })
        }
    }
}
