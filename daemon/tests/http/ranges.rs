//! Many ranges of one file.

use std::ops::Range;

use switchbackd::fetch::{FetchError, Files, HttpSource, Source};

use super::file;
use super::server::{self, Answer, Question, Server, answer, multi, one_range, parts, single};

/// Ranges that are far apart, two that are near, and one that lies before the others.
const RANGES: [Range<u64>; 5] = [
    1_000..1_100,
    200_000..230_000,
    230_100..230_101,
    900_000..900_500,
    5..6,
];
const LENGTH: u32 = 1_000_000;

struct Got {
    bytes: Vec<u8>,
    received: u64,
}

fn read(source: &HttpSource, ranges: &[Range<u64>]) -> Result<Got, FetchError> {
    let mut parts = source.ranges("pack", ranges)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 7000];
    loop {
        match parts.read(&mut buffer)? {
            0 => break,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    let received = parts.received();
    Ok(Got { bytes, received })
}

fn expected(file: &[u8], ranges: &[Range<u64>]) -> Vec<u8> {
    ranges
        .iter()
        .flat_map(|range| &file[range.start as usize..range.end as usize])
        .copied()
        .collect()
}

fn source(server: &Server) -> HttpSource {
    HttpSource::new(&server.settings()).unwrap()
}

/// What a server answers, and how many questions it takes.
fn works(respond: fn(&[u8], &Question) -> Answer, questions: usize) -> u64 {
    let file = file(LENGTH);
    let server = Server::of(&file, respond);
    let source = source(&server);
    let got = read(&source, &RANGES).unwrap();
    assert!(got.bytes == expected(&file, &RANGES));
    assert_eq!(server.asked().len(), questions);
    got.received
}

#[test]
fn several_ranges_are_one_question_and_near_ones_are_one_range() {
    let file = file(LENGTH);
    let server = Server::of(&file, multi);
    let source = source(&server);
    let got = read(&source, &RANGES).unwrap();
    assert!(got.bytes == expected(&file, &RANGES));
    let asked = server.asked();
    assert_eq!(
        asked[0].header("range"),
        Some("bytes=1000-1099,200000-230100,900000-900499")
    );
    assert_eq!(asked[1].header("range"), Some("bytes=5-5"));
    assert_eq!(asked.len(), 2);
    // One connection for both.
    assert_eq!(asked[1].connection, asked[0].connection);
    // The gap of 99 bytes, and three parts' heads.
    let wanted = u64::try_from(got.bytes.len()).unwrap();
    let around = got.received - wanted;
    assert!((99 + 300..99 + 450).contains(&around), "{around}");
}

#[test]
fn no_question_has_more_than_64_ranges() {
    let file = file(LENGTH);
    let server = Server::of(&file, multi);
    let ranges: Vec<Range<u64>> = (0..150).map(|at| at * 5000..at * 5000 + 10).collect();
    let got = read(&source(&server), &ranges).unwrap();
    assert!(got.bytes == expected(&file, &ranges));
    let counts: Vec<usize> = server.asked().iter().map(|q| q.ranges().len()).collect();
    assert_eq!(counts, [64, 64, 22]);
}

#[test]
fn a_server_with_single_ranges_only_is_asked_for_one_at_a_time_from_then_on() {
    let file = file(LENGTH);
    let server = Server::of(&file, single);
    let source = source(&server);
    for expected_questions in [1 + 4, 1 + 4 + 4] {
        let got = read(&source, &RANGES).unwrap();
        assert!(got.bytes == expected(&file, &RANGES));
        assert_eq!(server.asked().len(), expected_questions);
    }
}

#[test]
fn a_server_is_asked_about_a_small_file_before_a_large_one() {
    for (respond, several, questions) in [
        (multi as fn(&[u8], &Question) -> Answer, true, 2 + 2),
        (single, false, 2 + 4),
    ] {
        let large = file(LENGTH);
        let server = Server::start(move |question| match question.path.ends_with("small") {
            true => respond(b"some bytes", question),
            false => respond(&large, question),
        });
        let source = source(&server);
        assert_eq!(source.file("small", 100).unwrap(), b"some bytes");
        let got = read(&source, &RANGES).unwrap();
        assert!(got.bytes == expected(&file(LENGTH), &RANGES));
        let asked = server.asked();
        assert_eq!(asked.len(), questions, "{several}");
        assert!(asked[1].path.ends_with("small"));
        assert_eq!(asked[1].header("range"), Some("bytes=0-0,2-2"));
        // Nobody was asked for what they would have answered with all of the large file.
        let of_several = asked[2..]
            .iter()
            .any(|question| question.header("range").unwrap().contains(','));
        assert_eq!(of_several, several);
        assert!(got.received < 40_000, "{}", got.received);
    }
}

#[test]
fn a_server_that_answers_only_the_first_range_is_asked_for_the_others() {
    // The first, then what is left of the batch one by one.
    works(
        |file, question| match question.ranges().first() {
            Some(range) => one_range(file, range),
            None => server::whole(file, question),
        },
        1 + 3,
    );
}

#[test]
fn a_server_that_joins_ranges_is_understood() {
    // Too far apart here for one: the first two are joined, in a part that begins before them.
    works(
        |file, question| match question.ranges().as_slice() {
            [first, .., last] => parts(file, &[first.start - 10..230_200, last.clone()]),
            _ => single(file, question),
        },
        2,
    );
}

#[test]
fn bad_answers_to_several_ranges_lead_to_single_ones() {
    type Respond = fn(&[u8], &Question) -> Answer;
    let bad: [(Respond, usize); 8] = [
        // Out of order.
        (
            |file, q| parts(file, &[q.ranges()[1].clone(), q.ranges()[0].clone()]),
            5,
        ),
        // The last is missing: it alone is asked for.
        (|file, q| parts(file, &q.ranges()[..2]), 1 + 2),
        // One that nobody asked for comes first.
        (|file, _| parts(file, &[0..10]), 5),
        // More than was asked for, which hides what comes after it.
        (
            |file, q| parts(file, &[q.ranges()[0].clone(), 5000..900_000]),
            1 + 2,
        ),
        // Overlapping.
        (
            |file, q| parts(file, &[q.ranges()[0].clone(), 1050..230_101]),
            1 + 3,
        ),
        // No multipart at all.
        (
            |_, _| {
                answer(
                    "206 Partial Content",
                    "Content-Type: text/plain\r\n",
                    b"hello",
                )
            },
            5,
        ),
        (|_, _| answer("416 Range Not Satisfiable", "", b""), 5),
        (|_, _| answer("403 Forbidden", "", b"no"), 5),
    ];
    for (index, (respond, questions)) in bad.into_iter().enumerate() {
        let file = file(LENGTH);
        let content = file.clone();
        let server = Server::start(move |question| match question.ranges().len() {
            0 | 1 => single(&content, question),
            _ => respond(&content, question),
        });
        let got = read(&source(&server), &RANGES).unwrap();
        assert!(got.bytes == expected(&file, &RANGES), "{index}");
        assert_eq!(server.asked().len(), questions, "{index}");
    }
}

#[test]
fn a_file_without_ranges_is_read_over_if_that_costs_little() {
    let file = file(200_000);
    let ranges = [10..20, 100_000..150_000];
    let server = Server::of(&file, server::whole);
    let got = read(&source(&server), &ranges).unwrap();
    assert!(got.bytes == expected(&file, &ranges));
    assert_eq!(server.asked().len(), 1);
    assert!(got.received >= 150_000);
}

#[test]
fn a_file_without_ranges_that_costs_much_is_told_apart() {
    let file = file(LENGTH);
    let server = Server::of(&file, server::whole);
    let error = source(&server).ranges("pack", &RANGES).err().unwrap();
    assert!(matches!(error, FetchError::NoRanges { .. }), "{error}");
}

#[test]
fn a_file_that_is_not_there_or_too_short_is_told_apart() {
    let server = Server::start(|_| answer("404 Not Found", "", b""));
    let error = source(&server).ranges("pack", &RANGES).err().unwrap();
    assert!(matches!(error, FetchError::Missing { .. }), "{error}");

    let file = file(LENGTH);
    let server = Server::of(&file, multi);
    let past = [999_990..1_000_010];
    let error = read(&source(&server), &past).err().unwrap();
    assert!(matches!(error, FetchError::EndedEarly { .. }), "{error}");
    let error = read(&source(&server), &[2_000_000..2_000_001])
        .err()
        .unwrap();
    assert!(matches!(error, FetchError::EndedEarly { .. }), "{error}");
}
