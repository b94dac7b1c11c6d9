//! Requests, kept while they are served.
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Deref;

/// Bytes of the longest request: the msize the kernel offers.
const MSIZE: usize = 128 * 1024 + 4096;
/// Requests up to this length are copied out of the receive buffer, as most are
/// a page fault's few bytes; longer ones take the buffer with them.
const SHORT: usize = 64;

/// One request.
pub enum Message {
    Short { bytes: [u8; SHORT], len: u8 },
    Long { buffer: Vec<u8>, len: usize },
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (bytes, len) = match self {
            Message::Short { bytes, len } => (bytes.as_slice(), usize::from(*len)),
            Message::Long { buffer, len } => (buffer.as_slice(), *len),
        };
        bytes.get(..len).unwrap_or(bytes)
    }
}

/// The receive buffer, and buffers for when it is given away.
pub struct Buffers {
    current: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

impl Buffers {
    pub fn new() -> Self {
        Buffers {
            current: vec![0; MSIZE],
            spare: Vec::new(),
        }
    }

    /// Where the next request goes.
    pub fn current(&mut self) -> &mut [u8] {
        &mut self.current
    }

    /// The request of `len` bytes that came.
    pub fn message(&mut self, len: usize) -> Message {
        if let (Ok(short), Some(came)) = (u8::try_from(len), self.current.get(..len))
            && len <= SHORT
        {
            let mut bytes = [0; SHORT];
            bytes[..len].copy_from_slice(came);
            return Message::Short { bytes, len: short };
        }
        let next = self.spare.pop().unwrap_or_else(|| vec![0; MSIZE]);
        let buffer = core::mem::replace(&mut self.current, next);
        Message::Long { buffer, len }
    }

    /// The request has been answered.
    pub fn give_back(&mut self, message: Message) {
        if let Message::Long { buffer, .. } = message {
            self.spare.push(buffer);
        }
    }
}
