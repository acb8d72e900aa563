//! The network block device protocol as far as a QEMU client speaks it: fixed newstyle handshake,
//! simple replies. Names and numbers are those of the protocol document of the NBD project.

use std::io::{self, Read, Write};

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// Handshake flags: fixed newstyle, and no padding after the export information.
const SERVER_FLAGS: u16 = 1 | 2;
const CLIENT_NO_ZEROES: u32 = 2;
/// What this disk can do: flags present, FLUSH, FUA, TRIM, WRITE_ZEROES.
const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6;

const OPT_EXPORT_NAME: u32 = 1;
const OPT_ABORT: u32 = 2;
const OPT_INFO: u32 = 6;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_ERR_UNSUP: u32 = 0x8000_0001;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

/// An option longer than this is not one of ours.
const OPTION_LIMIT: u32 = 4096;
/// The most that one read or write may carry; announced, and what clients assume unasked.
pub(super) const PAYLOAD_LIMIT: u32 = 32 << 20;

/// Error numbers of the protocol, in replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Io,
    Invalid,
}

/// A command of the transmission phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    Trim,
    WriteZeroes,
    Unknown,
}

/// One request, without its payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) fua: bool,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// Whether the client wants to go on after the handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    Done,
    Aborted,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not an NBD client: {what}"),
    )
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn be_u16(from: &mut impl Read) -> io::Result<u16> {
    array(from).map(u16::from_be_bytes)
}

fn be_u32(from: &mut impl Read) -> io::Result<u32> {
    array(from).map(u32::from_be_bytes)
}

fn be_u64(from: &mut impl Read) -> io::Result<u64> {
    array(from).map(u64::from_be_bytes)
}

/// Greets a client and answers its options until it starts or leaves.
pub(super) fn greet(
    from: &mut impl Read,
    to: &mut impl Write,
    disk_bytes: u64,
) -> io::Result<Handshake> {
    to.write_all(GREETING)?;
    to.write_all(&SERVER_FLAGS.to_be_bytes())?;
    to.flush()?;
    let client_flags = be_u32(from)?;
    loop {
        if be_u64(from)? != OPTION_MAGIC {
            return Err(broken("an option without its magic number"));
        }
        let (option, length) = (be_u32(from)?, be_u32(from)?);
        if length > OPTION_LIMIT {
            return Err(broken("an option of absurd length"));
        }
        io::copy(&mut from.take(length.into()), &mut io::sink())?;
        match option {
            OPT_EXPORT_NAME => {
                to.write_all(&disk_bytes.to_be_bytes())?;
                to.write_all(&EXPORT_FLAGS.to_be_bytes())?;
                if client_flags & CLIENT_NO_ZEROES == 0 {
                    to.write_all(&[0; 124])?;
                }
                to.flush()?;
                return Ok(Handshake::Done);
            }
            OPT_ABORT => {
                option_reply(to, option, REP_ACK, &[])?;
                return Ok(Handshake::Aborted);
            }
            OPT_INFO | OPT_GO => {
                option_reply(to, option, REP_INFO, &export_information(disk_bytes))?;
                option_reply(to, option, REP_INFO, &block_sizes())?;
                option_reply(to, option, REP_ACK, &[])?;
                if option == OPT_GO {
                    return Ok(Handshake::Done);
                }
            }
            _ => option_reply(to, option, REP_ERR_UNSUP, &[])?,
        }
    }
}

fn export_information(disk_bytes: u64) -> Vec<u8> {
    let mut bytes = INFO_EXPORT.to_be_bytes().to_vec();
    bytes.extend(disk_bytes.to_be_bytes());
    bytes.extend(EXPORT_FLAGS.to_be_bytes());
    bytes
}

/// Smallest, preferred and largest request.
fn block_sizes() -> Vec<u8> {
    let mut bytes = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
    for size in [512_u32, 4096, PAYLOAD_LIMIT] {
        bytes.extend(size.to_be_bytes());
    }
    bytes
}

fn option_reply(to: &mut impl Write, option: u32, kind: u32, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(|_| broken("a reply too long"))?;
    to.write_all(&OPTION_REPLY_MAGIC.to_be_bytes())?;
    for word in [option, kind, length] {
        to.write_all(&word.to_be_bytes())?;
    }
    to.write_all(payload)?;
    to.flush()
}

/// Reads the header of the next request.
pub(super) fn request(from: &mut impl Read) -> io::Result<Request> {
    if be_u32(from)? != REQUEST_MAGIC {
        return Err(broken("a request without its magic number"));
    }
    let flags = be_u16(from)?;
    let command = match be_u16(from)? {
        0 => Command::Read,
        1 => Command::Write,
        2 => Command::Disconnect,
        3 => Command::Flush,
        4 => Command::Trim,
        6 => Command::WriteZeroes,
        _ => Command::Unknown,
    };
    let (cookie, offset, length) = (be_u64(from)?, be_u64(from)?, be_u32(from)?);
    Ok(Request {
        command,
        fua: flags & 1 != 0,
        cookie,
        offset,
        length,
    })
}

/// Answers a request; `payload` is what a read returns.
pub(super) fn reply(
    to: &mut impl Write,
    cookie: u64,
    outcome: Result<&[u8], Refusal>,
) -> io::Result<()> {
    let (error, payload) = match outcome {
        Ok(payload) => (0_u32, payload),
        Err(Refusal::Io) => (5, &[][..]),
        Err(Refusal::Invalid) => (22, &[][..]),
    };
    to.write_all(&REPLY_MAGIC.to_be_bytes())?;
    to.write_all(&error.to_be_bytes())?;
    to.write_all(&cookie.to_be_bytes())?;
    to.write_all(payload)?;
    to.flush()
}
