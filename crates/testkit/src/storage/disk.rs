//! A disk with a volatile cache.

use std::sync::Arc;

use super::Fate;

/// What a disk writes as a whole, in bytes.
pub const SECTOR: usize = 512;

/// A disk, a partition or a file of fixed length that is written in place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    durable: Arc<Vec<u8>>,
    /// Writes whose sync failed: programs still see them, and they never become durable.
    doomed: Vec<Write>,
    pending: Vec<Write>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Write {
    offset: usize,
    bytes: Arc<[u8]>,
}

fn put(into: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = into
        .get_mut(offset..)
        .and_then(|rest| rest.get_mut(..bytes.len()))
    {
        place.copy_from_slice(bytes);
    }
}

impl Disk {
    /// A disk that holds `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            durable: Arc::new(bytes),
            doomed: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.durable.len()
    }

    /// What a power cut would leave if everything pending were lost.
    #[must_use]
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// What running programs see.
    #[must_use]
    pub fn live(&self) -> Arc<Vec<u8>> {
        if self.doomed.is_empty() && self.pending.is_empty() {
            return Arc::clone(&self.durable);
        }
        let mut bytes = self.durable.as_ref().clone();
        for write in self.doomed.iter().chain(&self.pending) {
            put(&mut bytes, write.offset, &write.bytes);
        }
        Arc::new(bytes)
    }

    /// Up to `length` live bytes from `offset` on.
    #[must_use]
    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let end = offset.saturating_add(length).min(self.size());
        let mut bytes = self
            .durable
            .get(offset..end)
            .map(<[u8]>::to_vec)
            .unwrap_or_default();
        for write in self.doomed.iter().chain(&self.pending) {
            let from = write.offset.max(offset);
            let to = (write.offset + write.bytes.len()).min(end);
            if from < to
                && let Some(part) = write.bytes.get(from - write.offset..to - write.offset)
            {
                put(&mut bytes, from - offset, part);
            }
        }
        bytes
    }

    /// Writes; not durable before [`Disk::sync`].
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len());
        // What is written anew has another chance.
        self.doomed
            .retain(|old| old.offset < offset || old.offset + old.bytes.len() > end);
        self.pending.push(Write {
            offset,
            bytes: bytes.into(),
        });
    }

    /// Makes everything durable.
    pub fn sync(&mut self) {
        self.cut(&mut |_| Fate::Kept);
    }

    /// A sync that fails: what was written is lost, and the next sync succeeds without it.
    pub fn fail_sync(&mut self) {
        self.doomed.append(&mut self.pending);
    }

    /// What was not synced is gone, and is seen to be gone.
    pub fn lose(&mut self) {
        self.pending.clear();
    }

    /// The machine is reset: nothing is left of what could not be synced.
    pub fn forget_doomed(&mut self) {
        self.doomed.clear();
    }

    /// Writes that are not durable.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Bytes of the newest write that is not durable.
    #[must_use]
    pub fn newest(&self) -> usize {
        self.pending.last().map_or(0, |write| write.bytes.len())
    }

    /// The power goes; `fate` decides for each pending write, oldest first.
    pub fn cut(&mut self, fate: &mut dyn FnMut(usize) -> Fate) {
        if self.pending.is_empty() {
            return;
        }
        let mut bytes = self.durable.as_ref().clone();
        for (index, write) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let kept = match fate(index) {
                Fate::Lost => 0,
                Fate::Kept => write.bytes.len(),
                Fate::Torn(length) => length.min(write.bytes.len()),
            };
            put(
                &mut bytes,
                write.offset,
                write.bytes.get(..kept).unwrap_or_default(),
            );
        }
        self.durable = Arc::new(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_synced_may_survive_in_any_part_and_order() {
        let mut disk = Disk::new(vec![0; 8]);
        disk.write(0, &[1; 4]);
        disk.write(2, &[2; 4]);
        assert_eq!(disk.read(1, 6), [1, 2, 2, 2, 2, 0]);
        let fates = |fates: [Fate; 2]| {
            let mut disk = disk.clone();
            disk.cut(&mut |index| fates[index]);
            disk.durable().to_vec()
        };
        assert_eq!(fates([Fate::Lost, Fate::Lost]), [0; 8]);
        assert_eq!(fates([Fate::Lost, Fate::Kept]), [0, 0, 2, 2, 2, 2, 0, 0]);
        assert_eq!(fates([Fate::Kept, Fate::Torn(1)]), [1, 1, 2, 1, 0, 0, 0, 0]);
        disk.sync();
        disk.cut(&mut |_| Fate::Lost);
        assert_eq!(disk.durable(), [1, 1, 2, 2, 2, 2, 0, 0]);
    }
}
