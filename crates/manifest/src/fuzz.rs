//! Bodies of the fuzz targets. Each takes arbitrary bytes and fails only when a promise of this
//! crate is broken.

use switchback_types::Digest;

use crate::{BlobRef, Channel, FrameTable, Image, ImageFormat, Pack, Release, SegmentList};

/// What parses is written and read back unchanged.
pub fn release(data: &[u8]) {
    if let Ok(release) = Release::parse(data) {
        let text = release.to_json().expect("what was accepted can be written");
        let again = Release::parse(text.as_bytes()).expect("what was written can be read");
        assert_eq!(again, release);
        let last = release.image.segment_count() - 1;
        let (offset, length) = release
            .image
            .segment_range(last)
            .expect("the last segment exists");
        assert_eq!(offset + u64::from(length), release.image.size);
        assert_eq!(release.image.segment_range(last + 1), None);
        assert_eq!(release.delta_from(&release.image.sha256), None);
        for delta in &release.deltas {
            let found = release.delta_from(&delta.from);
            assert_eq!(found == Some(delta), delta.format.is_known());
        }
    }
}

/// What parses is written and read back unchanged.
pub fn channel(data: &[u8]) {
    if let Ok(channel) = Channel::parse(data) {
        let text = channel.to_json().expect("what was accepted can be written");
        let again = Channel::parse(text.as_bytes()).expect("what was written can be read");
        assert_eq!(again, channel);
    }
}

/// A list for an image of as many segments as the data has room for is read and written back.
pub fn segment_list(data: &[u8]) {
    let image = image(data.len() as u64 / 32, data.len() as u64);
    if let Ok(list) = SegmentList::parse(data, &image) {
        assert_eq!(list.to_bytes(), data);
        assert_eq!(list.count(), image.segment_count());
        assert_eq!(list.get(list.count()), None);
    }
}

/// Frames follow each other without gaps and fill the pack.
pub fn frame_table(data: &[u8]) {
    let (lengths, _) = data.as_chunks::<4>();
    let sum = lengths
        .iter()
        .map(|length| u64::from(u32::from_le_bytes(*length)))
        .sum();
    let image = image(lengths.len() as u64, 0);
    let pack = Pack {
        blob: blob(sum),
        frames: blob(data.len() as u64),
    };
    if let Ok(table) = FrameTable::parse(data, &image, &pack) {
        let mut next = 0;
        for index in 0..table.count() {
            let (offset, length) = table.range(index).expect("the frame exists");
            assert_eq!(offset, next);
            next = offset + u64::from(length);
        }
        assert_eq!(next, pack.blob.length);
        assert_eq!(table.range(table.count()), None);
    }
}

fn image(segments: u64, list_length: u64) -> Image {
    Image {
        format: ImageFormat::Raw,
        size: segments * 65_536,
        sha256: Digest::from_bytes([0; 32]),
        segment_size: 65_536,
        segments: blob(list_length),
        kernel_id: None,
    }
}

fn blob(length: u64) -> BlobRef {
    BlobRef {
        sha256: Digest::from_bytes([0; 32]),
        length,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// A valid document with some bytes replaced: reaches deeper than random bytes do.
    fn mutated(document: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
        let changes = proptest::collection::vec((0..document.len(), any::<u8>()), 0..6);
        (changes, 0..=document.len()).prop_map(move |(changes, keep)| {
            let mut bytes = document.to_vec();
            for (place, value) in changes {
                bytes[place] = value;
            }
            // Half of the cases keep the whole document.
            bytes.truncate(if keep % 2 == 0 { document.len() } else { keep });
            bytes
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_break_no_promise(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            super::release(&bytes);
            super::channel(&bytes);
            super::segment_list(&bytes);
            super::frame_table(&bytes);
        }

        #[test]
        fn damaged_documents_break_no_promise(
            release in mutated(include_bytes!("../../../docs/schema/examples/release.json")),
            channel in mutated(include_bytes!("../../../docs/schema/examples/channel.json")),
        ) {
            super::release(&release);
            super::channel(&channel);
        }
    }
}
