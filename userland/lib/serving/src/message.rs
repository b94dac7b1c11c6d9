//! Messages in receive buffers that live as long as their messages.
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Deref;

/// Bytes of the longest message: the msize that the kernel offers, and that is
/// offered to the lower server.
pub const MSIZE: usize = 128 * 1024 + 4096;
/// Buffers kept in reserve; more are allocated and freed as needed.
const SPARE: usize = 8;
/// Messages up to this length are copied out of the receive buffer, as most are
/// a page fault's few bytes; longer ones take the buffer with them.
const SHORT: usize = 64;

/// One message.
pub struct Message(Held);

enum Held {
    Short { bytes: [u8; SHORT], len: u8 },
    Long { buffer: Vec<u8>, len: usize },
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (bytes, len) = match &self.0 {
            Held::Short { bytes, len } => (bytes.as_slice(), usize::from(*len)),
            Held::Long { buffer, len } => (buffer.as_slice(), *len),
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
    pub(crate) fn new() -> Self {
        Buffers {
            current: vec![0; MSIZE],
            spare: Vec::new(),
        }
    }

    /// Where the next message goes.
    pub(crate) fn current(&mut self) -> &mut [u8] {
        &mut self.current
    }

    /// The message of `len` bytes that came last.
    pub fn message(&mut self, len: usize) -> Message {
        if let (Ok(short), Some(came)) = (u8::try_from(len), self.current.get(..len))
            && len <= SHORT
        {
            let mut bytes = [0; SHORT];
            bytes[..len].copy_from_slice(came);
            return Message(Held::Short { bytes, len: short });
        }
        let next = self.spare.pop().unwrap_or_else(|| vec![0; MSIZE]);
        let buffer = core::mem::replace(&mut self.current, next);
        Message(Held::Long { buffer, len })
    }

    /// The message is not needed any more.
    pub fn give_back(&mut self, message: Message) {
        if let Held::Long { buffer, .. } = message.0
            && self.spare.len() < SPARE
        {
            self.spare.push(buffer);
        }
    }
}
