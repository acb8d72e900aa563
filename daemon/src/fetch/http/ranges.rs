//! Many ranges of one file over HTTP: several in one question where the server can, one at a time
//! where it cannot, and all of it read over where that costs little.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE};

use super::super::FetchError;
use super::super::multipart::{Multipart, boundary, content_range};
use super::super::parts::{Parts, Wanted, length};
use super::HttpSource;
use super::client::{Answer, Body, Client, Pending, text};
use super::connect::{MOST_AHEAD, MOST_STREAMS};
use super::question::Question;
use super::trouble::broke;

/// Most ranges in one question. nginx's default is no limit, Apache's is 200; the header stays below
/// 2 KiB.
const MOST_RANGES: usize = 64;
/// What a range costs in a multipart answer: about 110 bytes around the part, 20 in the question,
/// and some in encryption.
const MULTIPART_COST: u64 = 160;
/// What a question and the head of its answer cost.
const QUESTION_COST: u64 = 512;
/// So many unwanted bytes are taken from a server that sends more than it was asked for, or as many as
/// are wanted.
const MOST_UNWANTED: u64 = 256 * 1024;

/// The ranges, as they come.
pub(super) struct HttpParts<'a> {
    source: &'a HttpSource,
    url: String,
    wanted: Wanted,
    answer: Option<Ranges>,
    /// Single ranges that were asked for already, over HTTP/2: those that follow the one that is read.
    ahead: VecDeque<(Range<u64>, Pending)>,
    /// Bytes of content in answers that are done.
    received: u64,
}

/// The content of one answer.
struct Ranges {
    content: Content,
    /// Whether it was to hold several ranges.
    several: bool,
    /// Which bytes of the file come next, until another part begins.
    at: Range<u64>,
    /// How many bytes it is still to give.
    left: u64,
    /// How many bytes of it may still be read over.
    unwanted: u64,
    /// Whether it gave anything.
    useful: bool,
}

enum Content {
    Plain(Counted),
    Multipart(Multipart<Counted>),
}

/// Why an answer gives no more.
enum Trouble {
    /// The connection broke.
    Broke(io::Error),
    /// It ended before all that it was to hold.
    Ended,
    /// It holds something else.
    Wrong(String),
}

/// Counts what is read.
struct Counted {
    reader: Body,
    count: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.count = self.count.saturating_add(length(count));
        Ok(count)
    }
}

impl<'a> HttpParts<'a> {
    pub(super) fn new(
        source: &'a HttpSource,
        url: String,
        ranges: &[Range<u64>],
    ) -> Result<Self, FetchError> {
        let mut parts = Self {
            source,
            url,
            wanted: Wanted::new(ranges),
            answer: None,
            ahead: VecDeque::new(),
            received: 0,
        };
        // What is wrong with the file or the server is told at once.
        if parts.wanted.next().is_some() {
            parts.answer = Some(parts.ask()?);
        }
        Ok(parts)
    }

    /// Asks for what comes next.
    fn ask(&mut self) -> Result<Ranges, FetchError> {
        loop {
            let mut spans = self.wanted.spans(MOST_RANGES, MULTIPART_COST);
            let several = spans.len() > 1 && self.source.takes_several();
            let answer = if several {
                let question = self.source.question(&self.url, header(&spans));
                self.source.client.get(&question)
            } else {
                spans = self.wanted.spans(1, QUESTION_COST);
                self.next_single()
            };
            match answer {
                Ok(answer) => {
                    self.source.remember(&self.url, &answer);
                    match self.understand(answer, &spans) {
                        Ok(ranges) => return Ok(ranges),
                        Err(Trouble::Wrong(why)) if several => {
                            self.source.ask_one_by_one(&self.url, &why);
                        }
                        Err(_) if several => {
                            let why = "the whole file came instead";
                            self.source.ask_one_by_one(&self.url, why);
                        }
                        Err(Trouble::Wrong(detail)) => {
                            let url = self.url.clone();
                            return Err(FetchError::Transport { url, detail });
                        }
                        Err(_) => {
                            let url = self.url.clone();
                            return Err(FetchError::NoRanges { url });
                        }
                    }
                }
                Err(error) if several && is_about_the_question(&error) => {
                    self.source.ask_one_by_one(&self.url, &error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The answer to the next single range. Over HTTP/2 those that follow are asked for at once, so that
    /// there is no wait between them.
    fn next_single(&mut self) -> Result<Answer, FetchError> {
        let first = self.wanted.spans(1, QUESTION_COST).pop();
        if self.ahead.front().map(|(span, _)| span) != first.as_ref() {
            self.ahead.clear();
            self.ask_ahead(
                0,
                match self.source.is_multiplexed() {
                    true => MOST_STREAMS,
                    false => 1,
                },
            );
        }
        let Some((_, pending)) = self.ahead.pop_front() else {
            let url = self.url.clone();
            return Err(FetchError::EndedEarly { url });
        };
        let answer = pending.wait();
        match &answer {
            Ok(answer) if answer.multiplexed => self.ask_ahead(1, MOST_STREAMS),
            Ok(_) => {}
            Err(_) => self.ahead.clear(),
        }
        answer
    }

    /// Asks for more single ranges, until `most` are under way with the `open` one that is read, or many
    /// bytes are.
    fn ask_ahead(&mut self, open: usize, most: usize) {
        let known = open + self.ahead.len();
        let mut bytes = 0_u64;
        for (index, span) in self
            .wanted
            .spans(most, QUESTION_COST)
            .into_iter()
            .enumerate()
        {
            if index > 0 {
                bytes = bytes.saturating_add(span.end - span.start);
            }
            if bytes > MOST_AHEAD {
                break;
            }
            if index >= known {
                let range = header(std::slice::from_ref(&span));
                let question = self.source.question(&self.url, range);
                let pending = self.source.client.start(question);
                self.ahead.push_back((span, pending));
            }
        }
    }

    /// What an answer is to be read as; [`Trouble::Ended`] if it is the whole file, which is too much.
    fn understand(&self, answer: Answer, spans: &[Range<u64>]) -> Result<Ranges, Trouble> {
        let mut left = self.wanted.bytes_in(spans);
        let asked: u64 = spans.iter().map(|span| span.end - span.start).sum();
        let mut unwanted = (asked - left).saturating_add(left.max(MOST_UNWANTED));
        let several = spans.len() > 1;
        let content_type = text(&answer.headers, CONTENT_TYPE).unwrap_or_default();
        let part = text(&answer.headers, CONTENT_RANGE).and_then(content_range);
        let boundary = boundary(content_type).map(str::to_owned);
        let counted = |answer: Answer| Counted {
            reader: answer.body,
            count: 0,
        };
        let (content, at) = match (answer.status, boundary, part) {
            (StatusCode::PARTIAL_CONTENT, Some(boundary), _) => {
                let multipart = Multipart::new(counted(answer), &boundary, spans.len());
                (Content::Multipart(multipart), 0..0)
            }
            (StatusCode::PARTIAL_CONTENT, None, Some(range)) => {
                (Content::Plain(counted(answer)), range)
            }
            (StatusCode::PARTIAL_CONTENT, None, None) => {
                let what = "answered with a part of the file without saying which";
                return Err(Trouble::Wrong(what.into()));
            }
            _ => {
                // All ranges can be had of it, up to one that lies before another.
                let all = self.wanted.spans(1, u64::MAX);
                left = self.wanted.bytes_in(&all);
                let end = all.first().map_or(0, |all| all.end);
                unwanted = end - left;
                if unwanted > left.max(MOST_UNWANTED) {
                    return Err(Trouble::Ended);
                }
                (Content::Plain(counted(answer)), 0..u64::MAX)
            }
        };
        Ok(Ranges {
            content,
            several,
            at,
            left,
            unwanted,
            useful: false,
        })
    }

    /// Leaves an answer behind.
    fn done(&mut self) {
        if let Some(answer) = self.answer.take() {
            self.received = self.received.saturating_add(answer.finish());
        }
    }
}

impl Parts for HttpParts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        loop {
            let Some(next) = self.wanted.next().filter(|_| !buffer.is_empty()) else {
                return Ok(0);
            };
            let asked = match self.answer.take() {
                Some(answer) => answer,
                None => self.ask()?,
            };
            let answer = self.answer.insert(asked);
            let (several, useful) = (answer.several, answer.useful);
            match answer.read(&next, buffer) {
                Ok(count) => {
                    self.wanted.read(count);
                    if answer.left == 0 {
                        self.done();
                    }
                    return Ok(count);
                }
                Err(Trouble::Broke(error)) => {
                    self.done();
                    return Err(broke(&self.url, &error));
                }
                Err(Trouble::Wrong(why)) if several => {
                    self.source.ask_one_by_one(&self.url, &why);
                    self.done();
                }
                Err(Trouble::Ended) if several => {
                    let why = "some of them were missing";
                    self.source.ask_one_by_one(&self.url, why);
                    self.done();
                }
                // A server may give less than all of a range at once.
                Err(Trouble::Ended) if useful => self.done(),
                Err(Trouble::Ended) => {
                    self.done();
                    let url = self.url.clone();
                    return Err(FetchError::EndedEarly { url });
                }
                Err(Trouble::Wrong(detail)) => {
                    self.done();
                    let url = self.url.clone();
                    return Err(FetchError::Transport { url, detail });
                }
            }
        }
    }

    fn received(&self) -> u64 {
        let open = self.answer.as_ref().map_or(0, Ranges::received);
        self.received.saturating_add(open)
    }

    fn url(&self) -> &str {
        &self.url
    }
}

impl Ranges {
    /// Some bytes of `next`, from its start on.
    fn read(&mut self, next: &Range<u64>, buffer: &mut [u8]) -> Result<usize, Trouble> {
        self.go_to(next.start)?;
        let most = next.end.min(self.at.end) - self.at.start;
        let room = buffer
            .len()
            .min(usize::try_from(most).unwrap_or(usize::MAX));
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let count = match &mut self.content {
            Content::Plain(reader) => reader.read(buffer)?,
            Content::Multipart(multipart) => multipart.read(buffer)?,
        };
        if count == 0 {
            return Err(Trouble::Ended);
        }
        self.at.start += length(count);
        self.left = self.left.saturating_sub(length(count));
        self.useful = true;
        Ok(count)
    }

    /// Reads over what comes before byte `wanted` of the file.
    fn go_to(&mut self, wanted: u64) -> Result<(), Trouble> {
        loop {
            if self.at.start > wanted && !self.at.is_empty() {
                let at = self.at.start;
                let what = format!("asked from byte {wanted}, answered from byte {at}");
                return Err(Trouble::Wrong(what));
            }
            let gap = wanted.min(self.at.end).saturating_sub(self.at.start);
            let Some(unwanted) = self.unwanted.checked_sub(gap) else {
                return Err(Trouble::Wrong("sends far more than was asked for".into()));
            };
            self.unwanted = unwanted;
            self.at.start += gap;
            match &mut self.content {
                Content::Plain(reader) => {
                    let skipped = io::copy(&mut reader.take(gap), &mut io::sink())?;
                    if skipped < gap || self.at.is_empty() {
                        return Err(Trouble::Ended);
                    }
                }
                Content::Multipart(multipart) => multipart.skip(gap)?,
            }
            if self.at.contains(&wanted) {
                return Ok(());
            }
            if let Content::Multipart(multipart) = &mut self.content {
                self.at = multipart.next()?.ok_or(Trouble::Ended)?;
                if self.at.end <= wanted {
                    return Err(Trouble::Wrong("sends what was not asked for".into()));
                }
            }
        }
    }

    fn received(&self) -> u64 {
        match &self.content {
            Content::Plain(reader) => reader.count,
            Content::Multipart(multipart) => multipart.get_ref().count,
        }
    }

    /// Reads the end of an answer that gave all it had, so that its connection can be used again.
    fn finish(mut self) -> u64 {
        if self.left == 0 {
            match &mut self.content {
                Content::Plain(reader) if self.at.is_empty() => {
                    let _ = reader.read(&mut [0; 1]);
                }
                Content::Plain(_) => {}
                // Only an end is read.
                Content::Multipart(multipart) => multipart.end(),
            }
        }
        self.received()
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Wrong(error.to_string()),
            _ => Self::Broke(error),
        }
    }
}

/// Whether a server answers a question for two bytes of a file with both of them, apart.
pub(super) fn gives_several(client: &Arc<Client>, url: &str) -> Result<bool, FetchError> {
    let mut answer = client.get(&Question {
        url: url.into(),
        range: "bytes=0-0,2-2".into(),
        ..Question::default()
    })?;
    // The connection is used again.
    let _ = io::copy(&mut (&mut answer.body).take(MOST_UNWANTED), &mut io::sink());
    let kind = text(&answer.headers, CONTENT_TYPE).and_then(boundary);
    Ok(answer.status == StatusCode::PARTIAL_CONTENT && kind.is_some())
}

/// Whether one range at a time may be answered where several were not.
fn is_about_the_question(error: &FetchError) -> bool {
    match error {
        // 416.
        FetchError::EndedEarly { .. } => true,
        FetchError::Status { status, .. } => match status {
            408 | 429 => false,
            status => (400..500).contains(status) || *status == 501,
        },
        _ => false,
    }
}

/// The `Range` header for `spans`.
fn header(spans: &[Range<u64>]) -> String {
    let mut header = String::from("bytes=");
    for (index, span) in spans.iter().enumerate() {
        if index > 0 {
            header.push(',');
        }
        header.push_str(&format!("{}-{}", span.start, span.end.saturating_sub(1)));
    }
    header
}
