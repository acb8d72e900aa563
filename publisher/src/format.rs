//! Recognises what lies in an image by the numbers that file systems begin with.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use switchback_manifest::ImageFormat;

use crate::error::{RepoError, io};

/// Enough of an image for every number below.
const HEAD: u64 = 1088;

/// Offset in bytes, the bytes that stand there, and what they mean.
const MAGIC: [(usize, &[u8], ImageFormat); 3] = [
    (0, b"hsqs", ImageFormat::Squashfs),
    (1024, &0xe0f5_e1e2_u32.to_le_bytes(), ImageFormat::Erofs),
    (1080, &0xef53_u16.to_le_bytes(), ImageFormat::Ext4),
];

/// The format of an image; [`ImageFormat::Raw`] when nothing is recognised.
///
/// # Errors
/// [`RepoError::Io`].
pub(crate) fn detect(path: &Path) -> Result<ImageFormat, RepoError> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HEAD).read_to_end(&mut head))
        .map_err(io("read", path))?;
    Ok(recognise(&head))
}

fn recognise(head: &[u8]) -> ImageFormat {
    MAGIC
        .into_iter()
        .find(|(offset, magic, _)| {
            head.get(*offset..)
                .is_some_and(|rest| rest.starts_with(magic))
        })
        .map_or(ImageFormat::Raw, |(_, _, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_file_systems_and_calls_the_rest_raw() {
        for (offset, magic, format) in MAGIC {
            let mut head = vec![0; 1088];
            head[offset..offset + magic.len()].copy_from_slice(magic);
            assert_eq!(recognise(&head), format);
            assert_eq!(recognise(&head[..offset]), ImageFormat::Raw);
        }
        assert_eq!(recognise(b""), ImageFormat::Raw);
    }
}
