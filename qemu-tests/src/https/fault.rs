//! What the server does wrong when a test asks for it.

/// A fault. Positions in an answer are counted from the start of its content, so a client that
/// resumes by range meets them again in every answer that is long enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Connections are refused, and those that exist break.
    Unreachable,
    /// Every request gets this status and no content.
    Status(u16),
    /// The connection closes in the middle of an answer.
    Truncate {
        /// Which requests: those whose path contains this.
        path_contains: String,
        /// How many bytes of content arrive.
        after_bytes: u64,
    },
    /// One byte of the file arrives with all its bits inverted.
    Corrupt {
        /// Which requests: those whose path contains this.
        path_contains: String,
        /// Which byte of the file, counted from its start also in a range.
        offset: u64,
    },
    /// The answer stops in the middle and the connection stays open until the client gives up.
    Stall {
        /// Which requests: those whose path contains this.
        path_contains: String,
        /// How many bytes of content arrive.
        after_bytes: u64,
    },
    /// `Range` is not understood: the whole file comes, with status 200.
    NoRanges,
    /// No answer is faster than this.
    Rate {
        /// Bytes of content per second and answer.
        bytes_per_second: u64,
    },
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

/// What goes wrong in the content of one answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Disturbance {
    pub(super) truncate_after: Option<u64>,
    pub(super) stall_after: Option<u64>,
    pub(super) corrupt_at: Option<u64>,
    pub(super) bytes_per_second: Option<u64>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        let kind = std::mem::discriminant(&fault);
        self.0
            .retain(|existing| std::mem::discriminant(existing) != kind);
        self.0.push(fault);
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.0.iter().find_map(|fault| match fault {
            Fault::Status(status) => Some(*status),
            _ => None,
        })
    }

    pub(super) fn ranges_are_understood(&self) -> bool {
        !self.0.contains(&Fault::NoRanges)
    }

    pub(super) fn disturbance(&self, path: &str) -> Disturbance {
        let mut disturbance = Disturbance::default();
        for fault in &self.0 {
            match fault {
                Fault::Truncate {
                    path_contains,
                    after_bytes,
                } if path.contains(path_contains) => {
                    disturbance.truncate_after = Some(*after_bytes);
                }
                Fault::Stall {
                    path_contains,
                    after_bytes,
                } if path.contains(path_contains) => {
                    disturbance.stall_after = Some(*after_bytes);
                }
                Fault::Corrupt {
                    path_contains,
                    offset,
                } if path.contains(path_contains) => {
                    disturbance.corrupt_at = Some(*offset);
                }
                Fault::Rate { bytes_per_second } => {
                    disturbance.bytes_per_second = Some((*bytes_per_second).max(1));
                }
                Fault::Truncate { .. }
                | Fault::Stall { .. }
                | Fault::Corrupt { .. }
                | Fault::Unreachable
                | Fault::Status(_)
                | Fault::NoRanges => {}
            }
        }
        disturbance
    }
}
