//! One SSE block, written field by field.

use serde::Serialize;

/// A block whose data is one JSON object.
pub(in crate::wire) struct Block<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Block<'a> {
    /// Begins an event of the Responses API.
    pub(in crate::wire) fn event(out: &'a mut Vec<u8>, kind: &str, sequence_number: u64) -> Self {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\"");
        Self { out }.field("sequence_number", &sequence_number)
    }

    /// Adds a field. What can't be written is null: all that comes here are strings, numbers and trees.
    pub(in crate::wire) fn field<T: Serialize + ?Sized>(self, name: &str, value: &T) -> Self {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        let start = self.out.len();
        if serde_json::to_writer(&mut *self.out, value).is_err() {
            self.out.truncate(start);
            self.out.extend_from_slice(b"null");
        }
        self
    }

    pub(in crate::wire) fn end(self) {
        self.out.extend_from_slice(b"}\n\n");
    }
}

/// Writes a block of nothing but data.
pub(in crate::wire) fn data<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    out.extend_from_slice(b"data: ");
    match serde_json::to_writer(&mut *out, value) {
        Ok(()) => out.extend_from_slice(b"\n\n"),
        Err(_) => out.truncate(start),
    }
}
