//! What fetching many ranges of one file costs: bytes, time and memory of the HTTP client.
//!
//! `cargo run --release -p switchbackd --example fetch -- --url https://HOST/DIRECTORY --ca CA.pem FILE`
//! asks for ranges of `FILE` spread over its first bytes, or with `--whole` streams all of it, and prints
//! what came and the most memory that the process had at once.
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser as _;
use switchbackd::fetch::{HttpSource, Source as _};
use switchbackd::settings::RepositorySettings;

#[derive(Debug, clap::Parser)]
struct Arguments {
    /// Where the file lies.
    #[arg(long)]
    url: String,
    /// Certificates that the server is checked against.
    #[arg(long)]
    ca: PathBuf,
    /// How many ranges.
    #[arg(long, default_value_t = 1000)]
    ranges: u64,
    /// Bytes of each range.
    #[arg(long, default_value_t = 16_384)]
    length: u64,
    /// Bytes from the start of one range to the start of the next.
    #[arg(long, default_value_t = 65_536)]
    distance: u64,
    /// All of it as one stream.
    #[arg(long)]
    whole: bool,
    /// The file below the URL.
    file: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let source = HttpSource::new(&RepositorySettings {
        url: arguments.url,
        ca_file: arguments.ca,
        root_file: PathBuf::new(),
        poll_interval: Duration::from_secs(60),
        stall_timeout: Duration::from_secs(60),
        max_rate: None,
        proxy: None,
        client: None,
    })?;
    let begun = Instant::now();
    let mut buffer = [0; 32 * 1024];
    let mut bytes = 0;
    let mut received = 0;
    if arguments.whole {
        let mut stream = source.stream(&arguments.file, 0)?;
        loop {
            match stream.read(&mut buffer)? {
                0 => break,
                count => bytes += count,
            }
        }
    } else {
        let ranges: Vec<_> = (0..arguments.ranges)
            .map(|index| index * arguments.distance)
            .map(|start| start..start + arguments.length)
            .collect();
        let mut parts = source.ranges(&arguments.file, &ranges)?;
        loop {
            match parts.read(&mut buffer)? {
                0 => break,
                count => bytes += count,
            }
        }
        received = parts.received();
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("{bytes} bytes wanted, {received} received as ranges");
    println!("{:.2} s", begun.elapsed().as_secs_f64());
    println!("{}", peak.unwrap_or("VmHWM is not said"));
    Ok(())
}
