//! Releases that can be rolled out.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body as HttpBody, BodyDataStream};
use axum::extract::State;
use futures_util::StreamExt as _;
use serde::Deserialize;
use sha2::Digest as _;
use tokio::io::AsyncWriteExt as _;
use utoipa::ToSchema;

use super::{Body, Part, Problem, Refusal};
use crate::access::{Caller, Role};
use crate::app::{App, now};
use crate::releases::{File, Release};
use crate::report::chain;
use crate::repository::signed;
use crate::secret::random_hex;
use crate::store::{Statement, StoreError};

/// Largest file that is taken: 16 GiB.
const MAX_FILE: u64 = 16 << 30;
/// Of a file that cannot be kept, at most so many more bytes are heard, for so long.
const MAX_HEARD: usize = 64 << 20;
const HEARD_TIME: Duration = Duration::from_secs(10);

/// A release of the signed repository.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The line of releases.
    pub product: String,
    /// The version.
    pub version: String,
}

/// A release of another format.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// The line of releases.
    pub product: String,
    /// The version.
    pub version: String,
    /// What a device says that it runs, when it runs this; the version, when not given.
    #[serde(default)]
    pub identity: Option<String>,
    /// Its files, as they were taken before.
    pub files: Vec<File>,
    /// What changed, for people.
    #[serde(default)]
    pub notes: Option<String>,
}

/// All releases, by name.
#[utoipa::path(get, path = "/api/v1/releases", tag = "releases",
    responses((status = 200, body = [Release]), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Vec<Release>>, Refusal> {
    caller.must_be(Role::Viewer)?;
    let all = app
        .releases()
        .values()
        .map(|release| (**release).clone())
        .collect();
    Ok(Json(all))
}

/// Names a release of the signed repository. What nobody signed cannot be named.
#[utoipa::path(post, path = "/api/v1/releases/signed", tag = "releases", request_body = Signed,
    responses((status = 200, body = Release), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem)))]
pub async fn register_signed(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(wanted): Body<Signed>,
) -> Result<Json<Release>, Refusal> {
    let who = caller.must_be(Role::Publisher)?;
    let bad = |why: switchback_types::ParseNameError| Refusal::bad(why.to_string());
    let product = wanted.product.parse().map_err(bad)?;
    let version = wanted.version.parse().map_err(bad)?;
    let asked = app.clone();
    let look = move || {
        let _alone = asked.repository.lock();
        signed(&asked.settings, &product, &version, now())
    };
    let found = tokio::task::spawn_blocking(look).await;
    let release = found
        .map_err(|_| Refusal::conflict("the repository could not be read"))?
        .map_err(|why| match why.is_of_the_question() {
            true => Refusal::bad(chain(&why)),
            false => Refusal::conflict(chain(&why)),
        })?;
    keep(&app, who, release).await
}

/// Names a release of another format: files that its devices know how to check.
#[utoipa::path(post, path = "/api/v1/releases", tag = "releases", request_body = Plain,
    responses((status = 200, body = Release), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem)))]
pub async fn register(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(wanted): Body<Plain>,
) -> Result<Json<Release>, Refusal> {
    let who = caller.must_be(Role::Publisher)?;
    for (field, text) in [("product", &wanted.product), ("version", &wanted.version)] {
        check_name(field, text)?;
    }
    if wanted.files.is_empty() || wanted.files.len() > 50 {
        return Err(Refusal::bad("a release has 1 to 50 files"));
    }
    for file in &wanted.files {
        check_name("filename", &file.filename)?;
        let digits = file.sha256.len() == 64 && hex::decode(&file.sha256).is_ok();
        if !digits {
            return Err(Refusal::bad(format!("{}: sha256 is none", file.filename)));
        }
        let path = app.settings.data.join("artifacts").join(&file.sha256);
        if file.url.is_none() && !path.exists() {
            return Err(Refusal::bad(format!("{}: upload it first", file.filename)));
        }
    }
    let identity = wanted.identity.unwrap_or_else(|| wanted.version.clone());
    if identity.is_empty() || identity.len() > 256 {
        return Err(Refusal::bad("identity: 1 to 256 bytes are allowed"));
    }
    let release = Release {
        name: format!("{}/{}", wanted.product, wanted.version),
        identity,
        product: wanted.product,
        version: wanted.version,
        sequence: None,
        signed: false,
        files: wanted.files,
        notes: wanted.notes,
    };
    keep(&app, who, release).await
}

fn check_name(field: &str, text: &str) -> Result<(), Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '~');
    let fits = (1..=128).contains(&text.len()) && !matches!(text, "." | "..");
    if fits && text.chars().all(good) {
        return Ok(());
    }
    Err(Refusal::bad(format!(
        "{field}: 1 to 128 letters, digits and -_.+~ are allowed"
    )))
}

async fn keep(app: &App, who: &str, release: Release) -> Result<Json<Release>, Refusal> {
    let doc = serde_json::to_string(&release).map_err(|why| Refusal::bad(why.to_string()))?;
    let known = app.releases().get(&release.name).cloned();
    if let Some(known) = known {
        if *known == release {
            return Ok(Json(release));
        }
        return Err(Refusal::conflict(format!(
            "{} is another release already",
            release.name
        )));
    }
    let statement = Statement::new(
        "INSERT INTO releases (name, doc, created_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO NOTHING",
        vec![
            release.name.as_str().into(),
            doc.into(),
            now().unix().into(),
        ],
    );
    let log = App::audit(who, "release.register", release.name.clone());
    match app.store.write(vec![statement.of_one_row(), log]).await {
        Ok(()) => {}
        Err(StoreError::Conflict) => {
            app.load_releases().await?;
            return Err(Refusal::conflict(format!(
                "{} is there already",
                release.name
            )));
        }
        Err(why) => return Err(why.into()),
    }
    app.load_releases().await?;
    let data = serde_json::json!({"release": release.name, "trace_id": release.trace_id()});
    app.tell("release", &data);
    Ok(Json(release))
}

/// Takes a file. It lies under its digest, so the same file lies there once.
#[utoipa::path(put, path = "/api/v1/files/{name}", tag = "releases", params(("name" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = File), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn upload(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(name): Part<String>,
    body: HttpBody,
) -> Result<Json<File>, Refusal> {
    caller.must_be(Role::Publisher)?;
    check_name("filename", &name)?;
    let chance = random_hex::<8>().map_err(|why| Refusal::conflict(why.to_string()))?;
    let folder = app.settings.data.join("artifacts");
    let partial = folder.join(format!("{chance}.part"));
    let result = receive(&partial, body).await;
    let file = match result {
        Ok(file) => File {
            filename: name,
            ..file
        },
        Err(why) => {
            let _ = tokio::fs::remove_file(&partial).await;
            return Err(why);
        }
    };
    let io = |why: std::io::Error| Refusal::of_disk(&why);
    tokio::fs::rename(&partial, folder.join(&file.sha256))
        .await
        .map_err(io)?;
    let directory = tokio::fs::File::open(&folder).await.map_err(io)?;
    directory.sync_all().await.map_err(io)?;
    Ok(Json(file))
}

/// Keeps what comes. When that fails, some of the rest is still heard: a client that is in the
/// middle of sending would otherwise not hear why.
async fn receive(path: &std::path::Path, body: HttpBody) -> Result<File, Refusal> {
    let mut pieces = body.into_data_stream();
    let result = keep_pieces(path, &mut pieces).await;
    if result.is_err() {
        let rest = async {
            let mut size = 0;
            while let Some(Ok(piece)) = pieces.next().await {
                size += piece.len();
                if size > MAX_HEARD {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(HEARD_TIME, rest).await;
    }
    result
}

async fn keep_pieces(path: &std::path::Path, pieces: &mut BodyDataStream) -> Result<File, Refusal> {
    let io = |why: std::io::Error| Refusal::of_disk(&why);
    let mut file = tokio::fs::File::create(path).await.map_err(io)?;
    let (mut sha256, mut sha1, mut md5) = (
        sha2::Sha256::new(),
        sha1::Sha1::default(),
        md5::Md5::default(),
    );
    let mut size: u64 = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|why| Refusal::bad(format!("the upload broke off: {why}")))?;
        size += piece.len() as u64;
        if size > MAX_FILE {
            return Err(Refusal::bad(format!("more than {MAX_FILE} bytes")));
        }
        sha256.update(&piece);
        sha1::Digest::update(&mut sha1, &piece);
        md5::Digest::update(&mut md5, &piece);
        file.write_all(&piece).await.map_err(io)?;
    }
    file.sync_all().await.map_err(io)?;
    Ok(File {
        filename: String::new(),
        size,
        sha256: hex::encode(sha256.finalize()),
        sha1: hex::encode(sha1::Digest::finalize(sha1)),
        md5: hex::encode(md5::Digest::finalize(md5)),
        url: None,
    })
}
