/// Why a body is not taken.
#[derive(Debug, thiserror::Error)]
pub enum DdiError {
    /// The body is longer than [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES).
    #[error("the body has {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// Bytes of the body.
        length: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// Not JSON, or none of this shape.
    #[error("{what}: not a document of this kind")]
    Json {
        /// Which document was read.
        what: &'static str,
        /// What is wrong, and where.
        #[source]
        source: serde_json::Error,
    },
    /// Not CBOR, or none that JSON can say.
    #[error("not a document in CBOR that JSON can say, too: {detail}")]
    Cbor {
        /// What is wrong.
        detail: String,
    },
    /// More attributes than a device may have.
    #[error("{count} attributes, at most {limit} are allowed")]
    TooManyAttributes {
        /// How many there are.
        count: usize,
        /// Most allowed.
        limit: usize,
    },
    /// An attribute's name or value is too long.
    #[error("attribute {name:?}: {length} characters, at most {limit} are allowed")]
    AttributeTooLong {
        /// The attribute, cut.
        name: String,
        /// Characters of the name or the value.
        length: usize,
        /// Most allowed.
        limit: usize,
    },
}
