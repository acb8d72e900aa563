//! All parts of a delta, one behind the other.

use crate::blocks::Lists;
use crate::coding::bits::BitWriter;
use crate::container::{Group, HEADER_LEN, Header, Images, Part, Table, limit};
use crate::error::DeltaError;
use crate::limits::{MAX_FRAME, MAX_LISTS, MAX_MAP};
use crate::map::write_runs;
use crate::space::write_spaces;

use super::frame::Tally;
use super::plan::Planned;

/// Puts a delta together.
pub(super) fn assemble(
    images: Images,
    (segment_log, block_log): (u8, u8),
    lists: &Lists,
    planned: &[Planned],
    coded: Vec<(Vec<u8>, Tally)>,
) -> Result<(Vec<u8>, Tally, u64, usize), DeltaError> {
    let mut body = Vec::new();
    let lists = if lists.new.list.is_empty() {
        Vec::new()
    } else {
        let mut bits = BitWriter::new();
        lists.code(&mut bits)?;
        bits.finish()
    };
    limit("bytes of lists", lists.len() as u64, MAX_LISTS as u64)?;
    let mut tally = Tally::default();
    let mut maps = 0;
    let frames = coded.len();
    let mut coded = coded.into_iter();
    let mut table = Table::default();
    for group in planned {
        let mut bits = BitWriter::new();
        write_runs(&mut bits, group.shared.map.runs(), group.makes.start);
        write_spaces(&mut bits, &group.shared.spaces);
        group.shared.seals.code(&mut bits)?;
        let map = bits.finish();
        limit("bytes of a map", map.len() as u64, MAX_MAP as u64)?;
        maps += map.len() as u64;
        let map = part(&mut body, &map, &group.real);
        let mut frames = Vec::new();
        for (makes, (bytes, own)) in group.frames.iter().zip(&mut coded) {
            limit("bytes of a frame", bytes.len() as u64, MAX_FRAME as u64)?;
            tally.add(&own);
            frames.push(part(&mut body, &bytes, makes));
        }
        table.groups.push(Group { map, frames });
    }
    let table_bytes = table.to_bytes(segment_log);
    let header = Header {
        images,
        segment_log,
        block_log,
        groups: planned.len() as u32,
        table_len: table_bytes.len() as u32,
        table_crc: crc32fast::hash(&table_bytes),
        lists_len: lists.len() as u32,
        lists_crc: crc32fast::hash(&lists),
    };
    let mut blob = Vec::with_capacity(HEADER_LEN + table_bytes.len() + lists.len() + body.len());
    blob.extend_from_slice(&header.to_bytes());
    blob.extend_from_slice(&table_bytes);
    blob.extend_from_slice(&lists);
    blob.append(&mut body);
    Ok((blob, tally, maps, frames))
}

/// Appends a part. Its place counts from the first one here: the table needs lengths only.
fn part(body: &mut Vec<u8>, bytes: &[u8], makes: &core::ops::Range<u64>) -> Part {
    let start = body.len() as u64;
    body.extend_from_slice(bytes);
    Part {
        blob: start..body.len() as u64,
        crc: crc32fast::hash(bytes),
        makes: makes.clone(),
    }
}
