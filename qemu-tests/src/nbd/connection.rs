//! One client: its requests, in order, against the shared disk.

use super::cache::SECTOR;
use super::wire::{self, Command, Handshake, PAYLOAD_LIMIT, Refusal, Request};
use super::{Armed, CutPoint, Kind, LoggedRequest, Shared, State, UnderWay, Written};
use std::io::{self, BufReader, BufWriter, Read};
use std::os::unix::net::UnixStream;

/// Whether an answer may be sent, or the power went while the request was under way.
enum Carried {
    Out(Result<(), Refusal>),
    PowerLost,
}

/// Serves one client until it leaves or the power goes.
pub(super) fn serve(stream: &UnixStream, shared: &Shared) -> io::Result<()> {
    let mut from = BufReader::with_capacity(256 << 10, stream);
    let mut to = BufWriter::with_capacity(256 << 10, stream);
    let disk_bytes = shared.state().disk.bytes();
    if wire::greet(&mut from, &mut to, disk_bytes)? == Handshake::Aborted {
        return Ok(());
    }
    let mut buffer = Vec::new();
    loop {
        let request = wire::request(&mut from)?;
        buffer.clear();
        if request.command == Command::Disconnect {
            return Ok(());
        }
        let length = usize::try_from(request.length).map_err(io::Error::other)?;
        let carries = matches!(request.command, Command::Read | Command::Write);
        if carries && request.length > PAYLOAD_LIMIT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "request above the limit",
            ));
        }
        if carries {
            buffer.resize(length, 0);
        }
        if request.command == Command::Write {
            from.read_exact(&mut buffer)?;
        }
        match carry_out(shared, request, &mut buffer) {
            Carried::PowerLost => return Ok(()),
            Carried::Out(Err(refusal)) => wire::reply(&mut to, request.cookie, Err(refusal))?,
            Carried::Out(Ok(())) => {
                let payload = if request.command == Command::Read {
                    &buffer[..]
                } else {
                    &[]
                };
                wire::reply(&mut to, request.cookie, Ok(payload))?;
            }
        }
    }
}

fn carry_out(shared: &Shared, request: Request, buffer: &mut Vec<u8>) -> Carried {
    let mut state = shared.state();
    if state.under_way.is_some() {
        // The disk has stopped at its cut point: nothing is answered any more.
        state = wait_for_cut(shared, state);
    }
    if !state.powered {
        return Carried::PowerLost;
    }
    if request.command == Command::Read {
        return Carried::Out(state.read(request, buffer));
    }
    let Some(logged) = state.note(request) else {
        return Carried::Out(Err(Refusal::Invalid));
    };
    if let Some(armed) = state.armed.take_if(|armed| armed.is_reached_by(&logged)) {
        let bytes = (logged.kind == Kind::Write).then(|| std::mem::take(buffer));
        state.under_way = Some(UnderWay {
            request: logged,
            bytes,
        });
        // Nobody listening any more means that nobody will cut: the harness is on its way out.
        let _unheard = armed.reached.send(logged);
        drop(wait_for_cut(shared, state));
        return Carried::PowerLost;
    }
    Carried::Out(
        state
            .change(request, logged.kind, buffer)
            .map_err(|_| Refusal::Io),
    )
}

fn wait_for_cut<'a>(
    shared: &Shared,
    state: std::sync::MutexGuard<'a, State>,
) -> std::sync::MutexGuard<'a, State> {
    shared
        .power_lost
        .wait_while(state, |state| state.powered)
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Armed {
    /// Whether this request is the one to stop at; counts it when it is one on the way there.
    fn is_reached_by(&mut self, request: &LoggedRequest) -> bool {
        let behind = request.lba + request.sectors;
        match (&mut self.point, request.kind) {
            (_, Kind::Trim)
            | (CutPoint::WriteAtOrBeyond(_) | CutPoint::WritesIn { .. }, Kind::Flush) => false,
            (CutPoint::Change(number), _) => request.change >= *number,
            (CutPoint::WriteAtOrBeyond(lba), _) => behind > *lba,
            (CutPoint::WritesIn { first, end, count }, _) => {
                if request.lba >= *end || behind <= *first {
                    return false;
                }
                *count = count.saturating_sub(1);
                *count == 0
            }
        }
    }
}

impl State {
    fn read(&mut self, request: Request, buffer: &mut [u8]) -> Result<(), Refusal> {
        if !self.disk.holds(request.offset, request.length.into()) {
            return Err(Refusal::Invalid);
        }
        self.traffic.reads += 1;
        self.traffic.read_bytes += u64::from(request.length);
        self.disk
            .read(request.offset, buffer)
            .map_err(|_| Refusal::Io)
    }

    /// Puts a request that is not a read into the log; `None` if the disk cannot do it.
    fn note(&mut self, request: Request) -> Option<LoggedRequest> {
        let kind = match request.command {
            Command::Write => Kind::Write,
            Command::WriteZeroes => Kind::WriteZeroes,
            Command::Flush => Kind::Flush,
            Command::Trim => Kind::Trim,
            Command::Read | Command::Disconnect | Command::Unknown => return None,
        };
        let (offset, length) = match kind {
            Kind::Flush => (0, 0),
            Kind::Write | Kind::WriteZeroes | Kind::Trim => {
                (request.offset, u64::from(request.length))
            }
        };
        if !self.disk.holds(offset, length) {
            return None;
        }
        if kind != Kind::Trim {
            self.traffic.changes += 1;
        }
        let logged = LoggedRequest {
            change: self.traffic.changes,
            kind,
            lba: offset / SECTOR,
            sectors: length / SECTOR,
            fua: request.fua,
        };
        self.log.push(logged);
        Some(logged)
    }

    fn change(&mut self, request: Request, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        let (offset, length) = (request.offset, u64::from(request.length));
        match kind {
            Kind::Write => {
                if let Some(kept) = &mut self.kept {
                    kept.push(Written {
                        lba: offset / SECTOR,
                        bytes: bytes.to_vec(),
                    });
                }
                self.disk.write(offset, length, Some(bytes));
            }
            Kind::WriteZeroes => self.disk.write(offset, length, None),
            Kind::Flush => return self.disk.flush(),
            Kind::Trim => return Ok(()),
        }
        if request.fua || self.writes_through {
            return self.disk.force(offset, length);
        }
        Ok(())
    }
}
