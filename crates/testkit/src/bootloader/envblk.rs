//! GRUB's own reading and writing of an environment block (its `lib/envblk.c`, 2.06), step by
//! step. The product's codec is what the models judge, so it is not used here.

const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// Why GRUB does not write a block. It says `environment block too small` for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// A block whose first line is sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    bytes: Vec<u8>,
}

impl Block {
    /// GRUB takes the block for one if its first line is there, and something behind it.
    pub(super) fn open(bytes: &[u8]) -> Option<Self> {
        (bytes.len() > SIGNATURE.len() && bytes.starts_with(SIGNATURE)).then(|| Self {
            bytes: bytes.to_vec(),
        })
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The value that `load_env` gives `name`: the last one in the block.
    pub(super) fn load(&self, name: &str) -> Option<Vec<u8>> {
        let mut found = None;
        let mut at = SIGNATURE.len();
        while let Some(byte) = self.bytes.get(at) {
            if *byte != b'#' {
                let Some(equals) = self.find(at, b'=') else {
                    return found;
                };
                let (Some(end), Some(key)) =
                    (self.line_end(equals + 1), self.bytes.get(at..equals))
                else {
                    return found;
                };
                if until_nul(key) == name.as_bytes() {
                    found = self.bytes.get(equals + 1..end).map(unescaped);
                }
                at = end + 1;
            } else {
                at = self.next_line(at);
            }
        }
        found
    }

    /// `save_env` of one variable: its value in its place or behind the last line, or, with no
    /// value, its first line taken out.
    pub(super) fn save(&mut self, name: &str, value: Option<&[u8]>) -> Result<(), Refused> {
        match value {
            Some(value) => self.set(name.as_bytes(), &escaped(value)),
            None => {
                self.delete(name.as_bytes());
                Ok(())
            }
        }
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refused> {
        let size = self.bytes.len();
        // Free room begins behind the last line break, and only padding may follow that.
        let last = self.bytes.iter().rposition(|byte| *byte != b'#');
        let last = last.filter(|last| self.bytes.get(*last) == Some(&b'\n'));
        let space = last.ok_or(Refused)? + 1;

        let mut at = SIGNATURE.len();
        while at + name.len() + 1 < space {
            if self.is_at(name, at) {
                let start = at + name.len() + 1;
                let end = self.line_end(start).ok_or(Refused)?;
                return self.replace(start, end, value, size - space);
            }
            at = self.next_line(at);
        }

        if size - space < name.len() + 1 + value.len() + 1 {
            return Err(Refused);
        }
        self.bytes.truncate(space);
        for part in [name, b"=", value, b"\n"] {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.resize(size, b'#');
        Ok(())
    }

    /// Puts `value` in place of the bytes from `start` to `end`; what follows moves.
    fn replace(
        &mut self,
        start: usize,
        end: usize,
        value: &[u8],
        free: usize,
    ) -> Result<(), Refused> {
        let size = self.bytes.len();
        let old = end - start;
        if value.len() > old && free < value.len() - old {
            return Err(Refused);
        }
        self.bytes.splice(start..end, value.iter().copied());
        self.bytes.resize(size, b'#');
        Ok(())
    }

    fn delete(&mut self, name: &[u8]) {
        let size = self.bytes.len();
        let mut at = SIGNATURE.len();
        while at < size {
            if self.is_at(name, at) {
                if let Some(end) = self.line_end(at + name.len() + 1) {
                    self.bytes.drain(at..=end);
                    self.bytes.resize(size, b'#');
                }
                return;
            }
            at = self.next_line(at);
        }
    }

    /// Whether `name=` begins at `at`.
    fn is_at(&self, name: &[u8], at: usize) -> bool {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.strip_prefix(name)
            .is_some_and(|rest| rest.first() == Some(&b'='))
    }

    fn find(&self, from: usize, wanted: u8) -> Option<usize> {
        let rest = self.bytes.get(from..)?;
        let place = rest.iter().position(|byte| *byte == wanted)?;
        Some(from + place)
    }

    /// The next line break that has no backslash in front of it.
    fn line_end(&self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            at += match self.bytes.get(at)? {
                b'\n' => return Some(at),
                b'\\' => 2,
                _ => 1,
            };
        }
    }

    /// Behind the end of this line; behind the block where it has none.
    fn next_line(&self, from: usize) -> usize {
        self.line_end(from).unwrap_or(self.bytes.len()) + 1
    }
}

fn escaped(value: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len());
    for byte in value {
        if matches!(byte, b'\\' | b'\n') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        value.extend(if *byte == b'\\' {
            bytes.next()
        } else {
            Some(byte)
        });
    }
    until_nul(&value).to_vec()
}

/// Names and values are C strings.
fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What `name=$value` assigns: GRUB's script parts words here, too, and takes the first.
pub(super) fn assigned(value: &[u8]) -> &[u8] {
    words(value).next().unwrap_or_default()
}

const fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The words of an unquoted variable in GRUB's script.
pub(super) fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(is_blank).filter(|word| !word.is_empty())
}
