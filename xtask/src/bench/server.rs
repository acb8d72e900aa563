//! `bench server`: idle polls on one core. The server is held to the first core, what asks to the
//! second; both over loopback, connections kept.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use qemu_tests::report::{Entry, Report};

use crate::fleet_server::{self, Killed, memory_mib};

/// Connections that ask.
const CONNECTIONS: u32 = 32;
/// Seconds of asking.
const SECONDS: u64 = 10;

/// What one fleet gave.
struct Figures {
    polls_per_second: u64,
    p50_us: u64,
    p99_us: u64,
    answer_bytes: u64,
    request_bytes: u64,
    rss_mib: u64,
    cpu_share: f64,
}

/// Measures fleets of these sizes and prints the table.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    let sizes: Vec<u32> = match words {
        [] => vec![1_000, 100_000, 1_000_000],
        ["--devices", list] => list
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("--devices takes numbers")?,
        other => anyhow::bail!("bench server: unknown arguments {other:?}"),
    };
    fleet_server::build()?;
    let mut report = Report::new("bench-server");
    println!(
        "{:>9}  {:>9}  {:>7}  {:>7}  {:>11}  {:>11}  {:>8}  {:>5}",
        "devices", "polls/s", "p50 µs", "p99 µs", "B answered", "B asked", "RSS MiB", "CPU"
    );
    for devices in sizes {
        let found = measure(devices)?;
        println!(
            "{devices:>9}  {:>9}  {:>7}  {:>7}  {:>11}  {:>11}  {:>8}  {:>4.0}%",
            found.polls_per_second,
            found.p50_us,
            found.p99_us,
            found.answer_bytes,
            found.request_bytes,
            found.rss_mib,
            found.cpu_share * 100.0
        );
        let mut figures = serde_json::Map::new();
        figures.insert("polls_per_second".into(), found.polls_per_second.into());
        figures.insert("p99_us".into(), found.p99_us.into());
        figures.insert("answer_bytes".into(), found.answer_bytes.into());
        figures.insert("rss_mib".into(), found.rss_mib.into());
        report.add(Entry {
            name: format!("{devices} devices"),
            expected: "at least 20000 polls/s, at most 300 B and 1024 MiB".into(),
            observed: format!("{} polls/s", found.polls_per_second),
            ok: found.polls_per_second >= 20_000
                && found.answer_bytes <= 300
                && found.rss_mib <= 1024,
            figures,
        })?;
    }
    println!("\n{}", report.path().display());
    Ok(())
}

fn measure(devices: u32) -> anyhow::Result<Figures> {
    let data = tempfile::tempdir()?;
    let child = Command::new("taskset")
        .args(["-c", "0"])
        .arg(fleet_server::program())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--fill",
            &devices.to_string(),
            "--data",
        ])
        .arg(data.path())
        .stdout(Stdio::piped())
        .spawn()
        .context("taskset starts switchback-server")?;
    let mut child = Killed(child);
    let (port, _lines) = child.serves()?;
    let address = format!("127.0.0.1:{port}");
    let process = child.0.id();
    let before = cpu_ticks(process)?;
    let started = Instant::now();
    let asking: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let address = address.clone();
            std::thread::spawn(move || ask(&address, number, devices))
        })
        .collect();
    let mut times = Vec::new();
    let (mut answered, mut asked) = (0, 0);
    for one in asking {
        let (some, answer, request) = one
            .join()
            .map_err(|_| anyhow::anyhow!("an asking thread panicked"))??;
        times.extend(some);
        (answered, asked) = (answer, request);
    }
    let passed = started.elapsed().as_secs_f64();
    // Ticks are hundredths of a second on Linux.
    let ticks = cpu_ticks(process)?.saturating_sub(before);
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(0);
    Ok(Figures {
        polls_per_second: times.len() as u64 / SECONDS,
        p50_us: at(50),
        p99_us: at(99),
        answer_bytes: answered,
        request_bytes: asked,
        rss_mib: memory_mib(&process.to_string(), "VmRSS:").context("no VmRSS")?,
        cpu_share: f64::from(u32::try_from(ticks)?) / 100.0 / passed,
    })
}

/// Asks as one device after another; returns microseconds of each poll, and bytes of the last
/// answer and request.
fn ask(address: &str, number: u32, devices: u32) -> anyhow::Result<(Vec<u64>, u64, u64)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut times = Vec::new();
    let mut buffer = [0_u8; 2048];
    let (mut answered, mut asked) = (0, 0);
    let started = Instant::now();
    let mut device = number.wrapping_mul(devices / CONNECTIONS);
    while started.elapsed() < Duration::from_secs(SECONDS) {
        device = device.wrapping_add(7919) % devices;
        let request = format!(
            "GET /DEFAULT/controller/v1/device-{device} HTTP/1.1\r\nHost: fleet\r\n\
             Authorization: TargetToken device-{device}\r\n\r\n"
        );
        let began = Instant::now();
        stream.write_all(request.as_bytes())?;
        // Head and body come in one write of so few bytes.
        let mut length = stream.read(&mut buffer)?;
        while !buffer
            .get(..length)
            .is_some_and(|text| text.ends_with(b"}}}"))
        {
            let more = stream.read(buffer.get_mut(length..).context("the answer is long")?)?;
            anyhow::ensure!(more > 0, "the server hung up");
            length += more;
        }
        times.push(u64::try_from(began.elapsed().as_micros())?);
        anyhow::ensure!(buffer.starts_with(b"HTTP/1.1 200"), "not answered");
        (answered, asked) = (length as u64, request.len() as u64);
    }
    Ok((times, answered, asked))
}

fn cpu_ticks(process: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let rest = stat.rsplit(") ").next().context("no fields")?;
    let mut fields = rest.split(' ').skip(11);
    let mut next = || -> anyhow::Result<u64> { Ok(fields.next().context("no field")?.parse()?) };
    Ok(next()? + next()?)
}
