use super::*;
use std::io::{Read, Write};

const DISK_SECTORS: usize = 256;

/// A disk in a directory of its own, with content that is told apart from everything written.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("disk.img"),
            vec![0xee; DISK_SECTORS * 512],
        )
        .unwrap();
        Self { directory }
    }

    fn power_on(&self) -> CutServer {
        let path = |name| self.directory.path().join(name);
        CutServer::start(&path("disk.img"), &path("disk.sock")).unwrap()
    }

    /// The first byte of each of the first `count` sectors on the medium.
    fn medium(&self, count: usize) -> Vec<u8> {
        let bytes = std::fs::read(self.directory.path().join("disk.img")).unwrap();
        bytes
            .chunks(512)
            .take(count)
            .map(|sector| sector[0])
            .collect()
    }

    fn client(&self) -> Client {
        Client::connect(&self.directory.path().join("disk.sock"))
    }
}

struct Client {
    stream: UnixStream,
}

impl Client {
    fn connect(socket: &Path) -> Self {
        let mut stream = UnixStream::connect(socket).unwrap();
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        stream.write_all(&3_u32.to_be_bytes()).unwrap();
        let mut client = Self { stream };
        // An option that the server does not know, then the start.
        assert_eq!(client.option(8), [0x8000_0001]);
        assert_eq!(client.option(7), [3, 3, 1]);
        client
    }

    /// Sends an option without content; the kinds of its replies up to the last one.
    fn option(&mut self, option: u32) -> Vec<u32> {
        let mut bytes = b"IHAVEOPT".to_vec();
        bytes.extend(option.to_be_bytes());
        bytes.extend(0_u32.to_be_bytes());
        self.stream.write_all(&bytes).unwrap();
        let mut kinds = Vec::new();
        loop {
            let mut header = [0; 20];
            self.stream.read_exact(&mut header).unwrap();
            let kind = u32::from_be_bytes(header[12..16].try_into().unwrap());
            let length = u32::from_be_bytes(header[16..].try_into().unwrap());
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).unwrap();
            kinds.push(kind);
            if kind != 3 {
                return kinds;
            }
        }
    }

    fn send(&mut self, fua: bool, command: u16, offset: u64, length: u32, payload: &[u8]) {
        let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
        bytes.extend(u16::from(fua).to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(77_u64.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(payload);
        // A disk that is gone shows by the missing answer.
        let _gone = self.stream.write_all(&bytes);
    }

    /// The error number of the next reply; `None` if the disk is gone.
    fn answer(&mut self) -> Option<u32> {
        let mut reply = [0; 16];
        self.stream.read_exact(&mut reply).ok()?;
        assert_eq!(reply[8..], 77_u64.to_be_bytes());
        Some(u32::from_be_bytes(reply[4..8].try_into().unwrap()))
    }

    fn write(&mut self, lba: u64, fill: u8, sectors: u32, fua: bool) -> Option<u32> {
        let payload = vec![fill; sectors as usize * 512];
        self.send(fua, 1, lba * 512, sectors * 512, &payload);
        self.answer()
    }

    fn flush(&mut self) -> Option<u32> {
        self.send(false, 3, 0, 0, &[]);
        self.answer()
    }

    fn read(&mut self, lba: u64, sectors: u32) -> Vec<u8> {
        self.send(false, 0, lba * 512, sectors * 512, &[]);
        assert_eq!(self.answer(), Some(0));
        let mut bytes = vec![0; sectors as usize * 512];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes.chunks(512).map(|sector| sector[0]).collect()
    }
}

#[test]
fn writes_are_kept_with_their_data_from_when_that_is_asked_for() {
    let bench = Bench::new();
    let disk = bench.power_on();
    let mut client = bench.client();
    client.write(0, 1, 1, false);
    assert_eq!(disk.writes(), []);
    disk.keep_writes();
    client.write(4, 2, 2, true);
    client.flush();
    client.write(4, 3, 1, false);
    let written = |bytes| Written { lba: 4, bytes };
    assert_eq!(
        disk.writes(),
        [written(vec![2; 1024]), written(vec![3; 512])]
    );
}

#[test]
fn what_was_not_flushed_is_lost_and_was_readable_before() {
    let bench = Bench::new();
    let disk = bench.power_on();
    let mut client = bench.client();
    client.write(0, 1, 2, false);
    client.flush();
    client.write(1, 2, 2, false);
    assert_eq!(client.read(0, 4), [1, 2, 2, 0xee]);
    assert_eq!(disk.traffic().unflushed, 2);
    assert_eq!(
        disk.cut(Survive::Nothing).unwrap(),
        CutReport {
            unflushed: 2,
            kept: 0
        }
    );
    assert_eq!(bench.medium(4), [1, 1, 0xee, 0xee]);
    assert_eq!(
        client.write(0, 9, 1, false),
        None,
        "a disk without power does not answer"
    );
}

#[test]
fn forced_unit_access_makes_its_own_sectors_durable_and_no_others() {
    let bench = Bench::new();
    let disk = bench.power_on();
    let mut client = bench.client();
    client.write(0, 1, 4, false);
    client.write(2, 2, 1, true);
    drop(disk);
    assert_eq!(bench.medium(4), [0xee, 0xee, 2, 0xee]);
}

#[test]
fn a_medium_without_a_cache_loses_only_what_was_not_answered() {
    let bench = Bench::new();
    let path = |name| bench.directory.path().join(name);
    let card = CutServer::start_without_cache(&path("disk.img"), &path("disk.sock")).unwrap();
    let mut client = bench.client();
    client.write(0, 1, 1, false);
    let reached = card.cut_at(CutPoint::Change(1));
    client.send(false, 1, 512, 1024, &[2; 1024]);
    reached.recv().unwrap();
    card.cut(Survive::TornLast { sectors: 1 }).unwrap();
    assert_eq!(bench.medium(3), [1, 2, 0xee]);
}

#[test]
fn zeroing_waits_for_a_flush_and_trimming_changes_nothing() {
    let bench = Bench::new();
    let disk = bench.power_on();
    let mut client = bench.client();
    client.send(false, 6, 512, 1024, &[]);
    assert_eq!(client.answer(), Some(0));
    client.send(false, 4, 0, 512, &[]);
    assert_eq!(client.answer(), Some(0));
    assert_eq!(client.read(0, 4), [0xee, 0, 0, 0xee]);
    assert_eq!(bench.medium(4), [0xee; 4]);
    client.flush();
    assert_eq!(bench.medium(4), [0xee, 0, 0, 0xee]);
    let kinds: Vec<_> = disk
        .log()
        .into_iter()
        .map(|entry| (entry.change, entry.kind))
        .collect();
    assert_eq!(
        kinds,
        [(1, Kind::WriteZeroes), (1, Kind::Trim), (2, Kind::Flush)]
    );
}

#[test]
fn a_torn_write_keeps_its_first_sectors() {
    for (sectors, medium) in [(0, [0xee; 4]), (3, [5, 5, 5, 0xee]), (99, [5, 5, 5, 5])] {
        let bench = Bench::new();
        let disk = bench.power_on();
        let mut client = bench.client();
        client.write(8, 4, 8, false);
        client.write(0, 5, 4, false);
        disk.cut(Survive::TornLast { sectors }).unwrap();
        assert_eq!(bench.medium(4), medium, "{sectors} sectors");
        assert_eq!(bench.medium(9)[8], 0xee, "the write before it is lost");
    }
}

#[test]
fn a_write_that_is_durable_already_cannot_tear() {
    let bench = Bench::new();
    let disk = bench.power_on();
    bench.client().write(0, 5, 4, true);
    let report = disk.cut(Survive::TornLast { sectors: 1 }).unwrap();
    assert_eq!(
        report,
        CutReport {
            unflushed: 0,
            kept: 0
        }
    );
    assert_eq!(bench.medium(4), [5; 4]);
}

#[test]
fn random_survival_is_partial_and_reproducible() {
    let survivors = |seed| {
        let bench = Bench::new();
        let disk = bench.power_on();
        bench.client().write(0, 1, 64, false);
        let report = disk.cut(Survive::Random { seed }).unwrap();
        let medium = bench.medium(64);
        let kept = medium.iter().filter(|byte| **byte == 1).count() as u64;
        assert_eq!(
            report,
            CutReport {
                unflushed: 64,
                kept
            }
        );
        medium
    };
    let first = survivors(1);
    assert_eq!(first, survivors(1));
    assert_ne!(first, survivors(2));
    assert!(first.contains(&1) && first.contains(&0xee));
}

#[test]
fn an_armed_cut_holds_the_nth_change_and_decides_its_fate_too() {
    // Changes: 1 write, 2 flush, 3 forced write of two sectors.
    let cases = [
        (1, Survive::Nothing, [0xee, 0xee, 0xee]),
        (1, Survive::Everything, [1, 0xee, 0xee]),
        (2, Survive::Nothing, [0xee, 0xee, 0xee]),
        (2, Survive::Everything, [1, 0xee, 0xee]),
        (3, Survive::Nothing, [1, 0xee, 0xee]),
        (3, Survive::TornLast { sectors: 1 }, [1, 2, 0xee]),
        (3, Survive::Everything, [1, 2, 2]),
    ];
    for (change, survive, medium) in cases {
        let bench = Bench::new();
        let disk = bench.power_on();
        let reached = disk.cut_at(CutPoint::Change(change));
        let mut client = bench.client();
        let guest = std::thread::spawn(move || {
            let answers = [
                client.write(0, 1, 1, false),
                client.flush(),
                client.write(1, 2, 2, true),
            ];
            answers.iter().filter(|answer| **answer == Some(0)).count() as u64
        });
        assert_eq!(reached.recv().unwrap().change, change);
        disk.cut(survive).unwrap();
        assert_eq!(
            guest.join().unwrap(),
            change - 1,
            "the held change is never answered"
        );
        assert_eq!(bench.medium(3), medium, "cut at {change}, {survive:?}");
    }
}

#[test]
fn an_armed_cut_waits_for_a_write_that_touches_its_sector() {
    let bench = Bench::new();
    let disk = bench.power_on();
    let mut client = bench.client();
    client.write(0, 1, 1, false);
    let reached = disk.cut_at(CutPoint::WriteAtOrBeyond(10));
    client.write(8, 1, 2, false);
    client.flush();
    assert!(reached.try_recv().is_err());
    client.send(false, 1, 9 * 512, 1024, &[3; 1024]);
    let request = reached.recv().unwrap();
    assert_eq!(
        (request.kind, request.lba, request.sectors),
        (Kind::Write, 9, 2)
    );
}

#[test]
fn writes_are_counted_in_a_range_only() {
    let bench = Bench::new();
    let disk = bench.power_on();
    let mut client = bench.client();
    let reached = disk.cut_at(CutPoint::WritesIn {
        first: 10,
        end: 12,
        count: 2,
    });
    for lba in [12, 11, 9] {
        client.write(lba, 1, 1, false);
    }
    client.flush();
    assert!(reached.try_recv().is_err());
    client.send(false, 1, 9 * 512, 1024, &[3; 1024]);
    assert_eq!(reached.recv().unwrap().lba, 9);
}

#[test]
fn changes_are_counted_from_when_the_cut_is_armed() {
    let bench = Bench::new();
    let disk = bench.power_on();
    let mut client = bench.client();
    client.write(0, 1, 1, false);
    let reached = disk.cut_at(CutPoint::Change(1));
    client.send(false, 3, 0, 0, &[]);
    assert_eq!(reached.recv().unwrap().kind, Kind::Flush);
}

#[test]
fn requests_off_the_disk_or_off_the_sector_grid_are_refused() {
    let bench = Bench::new();
    let _disk = bench.power_on();
    let mut client = bench.client();
    let end = DISK_SECTORS as u64 * 512;
    for (command, offset, length) in [
        (0, end, 512),
        (0, 100, 512),
        (6, end - 512, 1024),
        (6, 0, 100),
        (6, u64::MAX - 511, 512),
        (9, 0, 0),
    ] {
        client.send(false, command, offset, length, &[]);
        assert_eq!(
            client.answer(),
            Some(22),
            "command {command} at {offset} of {length}"
        );
    }
    assert_eq!(client.read(0, 1), [0xee], "the connection goes on");
}

#[test]
fn a_disk_is_a_whole_number_of_sectors() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("disk.img");
    for bytes in [0, 513] {
        std::fs::write(&image, vec![0; bytes]).unwrap();
        let error = CutServer::start(&image, &directory.path().join("s")).unwrap_err();
        assert!(matches!(error, NbdError::Size { .. }), "{error}");
        assert!(error.to_string().contains("disk.img has"), "{error}");
    }
}

#[test]
fn the_same_image_can_be_powered_on_again() {
    let bench = Bench::new();
    let disk = bench.power_on();
    bench.client().write(0, 1, 1, true);
    disk.cut(Survive::Nothing).unwrap();
    let disk = bench.power_on();
    assert_eq!(bench.client().read(0, 2), [1, 0xee]);
    assert_eq!(disk.log(), []);
}
