//! From a request to an answer: paths, entity tags, ranges (RFC 9110).

use super::body::Content;
use super::{LoggedRequest, Shared};
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Answers a request and writes it into the log.
pub(super) fn answer<B>(request: &Request<B>, shared: &Arc<Shared>) -> Response<Content> {
    let path = request.uri().path();
    let class = path
        .split('/')
        .find(|part| !part.is_empty())
        .unwrap_or_default()
        .to_owned();
    let answer = compose(request, shared, &class);
    let mut state = shared.state();
    state.stats.entry(class).or_default().requests += 1;
    state.log.push(LoggedRequest {
        method: request.method().to_string(),
        path: path.to_owned(),
        range: header(request, &RANGE).map(str::to_owned),
        status: answer.status().as_u16(),
    });
    answer
}

fn compose<B>(request: &Request<B>, shared: &Arc<Shared>, class: &str) -> Response<Content> {
    let path = request.uri().path();
    let (root, forced, understands_ranges, disturbance) = {
        let state = shared.state();
        let faults = &state.faults;
        let disturbance = faults.disturbance(path);
        (
            state.root.clone(),
            faults.status(),
            faults.ranges_are_understood(),
            disturbance,
        )
    };
    if let Some(status) = forced {
        return empty(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    }
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let Some((file, metadata)) = place(&root, path).and_then(|path| open(&path)) else {
        return empty(StatusCode::NOT_FOUND);
    };
    let (size, tag) = (metadata.len(), entity_tag(&metadata));
    if header(request, &IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.contains(&tag)) {
        return with(empty(StatusCode::NOT_MODIFIED), ETAG, &tag);
    }

    let same_file = header(request, &IF_RANGE).is_none_or(|expected| expected == tag);
    let asked = if understands_ranges && same_file {
        header(request, &RANGE).map_or(Asked::Everything, |text| parse_range(text, size))
    } else {
        Asked::Everything
    };
    let (status, at, end) = match asked {
        Asked::Everything => (StatusCode::OK, 0, size),
        Asked::Part { at, end } => (StatusCode::PARTIAL_CONTENT, at, end),
        Asked::Beyond => {
            let answer = empty(StatusCode::RANGE_NOT_SATISFIABLE);
            return with(answer, CONTENT_RANGE, &format!("bytes */{size}"));
        }
    };
    let content = if *request.method() == Method::HEAD {
        Content::none()
    } else {
        Content::of(
            file,
            at,
            end,
            disturbance,
            (Arc::clone(shared), class.to_owned()),
        )
    };
    let mut answer = Response::new(content);
    *answer.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        answer = with(
            answer,
            CONTENT_RANGE,
            &format!("bytes {at}-{}/{size}", end - 1),
        );
    }
    if understands_ranges {
        answer = with(answer, ACCEPT_RANGES, "bytes");
    }
    with(
        with(answer, CONTENT_LENGTH, &(end - at).to_string()),
        ETAG,
        &tag,
    )
}

fn empty(status: StatusCode) -> Response<Content> {
    let mut answer = Response::new(Content::none());
    *answer.status_mut() = status;
    // An answer with this status has no content, and its length would be that of another answer.
    if status == StatusCode::NOT_MODIFIED {
        answer
    } else {
        with(answer, CONTENT_LENGTH, "0")
    }
}

fn with(mut answer: Response<Content>, name: HeaderName, value: &str) -> Response<Content> {
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn header<'a, B>(request: &'a Request<B>, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// The file that a path names; `None` if it would lead out of the root.
fn place(root: &Path, path: &str) -> Option<PathBuf> {
    let path = percent_encoding::percent_decode_str(path)
        .decode_utf8()
        .ok()?;
    let mut place = root.to_owned();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if part == "." || part == ".." || part.contains('\0') {
            return None;
        }
        place.push(part);
    }
    Some(place)
}

fn open(path: &Path) -> Option<(File, Metadata)> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    metadata.is_file().then_some((file, metadata))
}

/// Changes with every new content: size, time, and the file itself (a rename brings a new one).
fn entity_tag(metadata: &Metadata) -> String {
    let (inode, size) = (metadata.ino(), metadata.len());
    format!(
        "\"{inode:x}-{size:x}-{:x}-{:x}\"",
        metadata.mtime(),
        metadata.mtime_nsec()
    )
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Everything,
    Part { at: u64, end: u64 },
    Beyond,
}

/// A single range of bytes. Other units, several ranges and what is no range are ignored, as
/// RFC 9110 section 14.2 allows.
fn parse_range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Asked::Everything;
    };
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first, last, number(first), number(last)) {
        ("", _, _, Some(0)) => Asked::Beyond,
        ("", _, _, Some(_)) if size == 0 => Asked::Beyond,
        ("", _, _, Some(count)) => Asked::Part {
            at: size - count.min(size),
            end: size,
        },
        (_, "", Some(at), _) if at < size => Asked::Part { at, end: size },
        (_, _, Some(at), Some(last)) if at <= last && at < size => Asked::Part {
            at,
            end: last.min(size - 1) + 1,
        },
        (_, "", Some(_), _) => Asked::Beyond,
        (_, _, Some(at), Some(last)) if at <= last => Asked::Beyond,
        _ => Asked::Everything,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_range_is_understood_and_everything_else_ignored() {
        let part = |at, end| Asked::Part { at, end };
        let cases = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-4", part(2, 5)),
            ("bytes=2-", part(2, 10)),
            ("bytes=9-", part(9, 10)),
            ("bytes=2-99999999999999999999", part(2, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=-0", Asked::Beyond),
            ("bytes=10-", Asked::Beyond),
            ("bytes=10-12", Asked::Beyond),
            ("bytes=4-2", Asked::Everything),
            ("bytes=-", Asked::Everything),
            ("bytes=0-1,4-5", Asked::Everything),
            ("bytes=+1-2", Asked::Everything),
            ("lines=1-2", Asked::Everything),
        ];
        for (text, asked) in cases {
            assert_eq!(parse_range(text, 10), asked, "{text}");
        }
        assert_eq!(parse_range("bytes=-1", 0), Asked::Beyond);
    }

    #[test]
    fn no_path_leads_out_of_the_root() {
        let root = Path::new("/srv");
        assert_eq!(place(root, "//a/b"), Some("/srv/a/b".into()));
        assert_eq!(place(root, "/a%2Bb"), Some("/srv/a+b".into()));
        for path in [
            "/../etc",
            "/a/../../etc",
            "/%2e%2e/etc",
            "/a%2f..%2f..%2fetc",
            "/%00",
            "/%ff",
        ] {
            assert_eq!(place(root, path), None, "{path}");
        }
    }
}
