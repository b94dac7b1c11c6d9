//! Messages that wait to be served.

use ninep::consts::WRITE_HEAD;
use virtioblk::Buffer;

/// Messages up to this length are copied out of the buffer they came in.
const SHORT: usize = 64;

/// One message. A long one, which is mostly a `Twrite`, stays where it was received,
/// so that its data begins at the first page of the buffer.
pub enum Message {
    Short { bytes: [u8; SHORT], len: usize },
    Long { buffer: Buffer, len: usize },
}

impl Message {
    /// The message of `len` bytes in `buffer`; and the buffer, if it is free again.
    pub fn of(buffer: Buffer, len: usize) -> (Message, Option<Buffer>) {
        let mut bytes = [0; SHORT];
        let came = buffer.message(WRITE_HEAD, len);
        match (bytes.get_mut(..len), came.len() == len) {
            (Some(to), true) => {
                to.copy_from_slice(came);
                (Message::Short { bytes, len }, Some(buffer))
            }
            _ => (Message::Long { buffer, len }, None),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Message::Short { bytes, len } => bytes.get(..*len).unwrap_or_default(),
            Message::Long { buffer, len } => buffer.message(WRITE_HEAD, *len),
        }
    }
}
