//! Messages in receive buffers that live as long as their messages.
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Deref;
use snapfs::Held;

/// Bytes of the longest message: the msize that the kernel offers, and that is
/// offered to the lower server.
pub const MSIZE: usize = 128 * 1024 + 4096;
/// The least number of free buffers that are kept; more are allocated and freed as
/// needed.
const SPARE: usize = 8;
/// Messages up to this length are copied out of the receive buffer, as most are
/// a page fault's few bytes; longer ones take the buffer with them.
const SHORT: usize = 64;

/// One message.
pub enum Message {
    /// In place.
    Short {
        /// Its bytes, and others.
        bytes: [u8; SHORT],
        /// The number of them.
        len: u8,
    },
    /// In the buffer that it came in, which anything may hold for longer.
    Long {
        /// The buffer.
        buffer: Rc<Buffer>,
        /// Bytes at its front.
        len: usize,
    },
}

/// A receive buffer.
pub struct Buffer(Vec<u8>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Message {
    /// The memory that it is in, if that can be held.
    pub fn memory(&self) -> Option<(Held, usize)> {
        match self {
            Message::Short { .. } => None,
            Message::Long { buffer, len } => Some((buffer.clone(), *len)),
        }
    }
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (bytes, len) = match self {
            Message::Short { bytes, len } => (bytes.as_slice(), usize::from(*len)),
            Message::Long { buffer, len } => ((**buffer).as_ref(), *len),
        };
        bytes.get(..len).unwrap_or(bytes)
    }
}

/// The receive buffer, and buffers for when it is given away. A buffer is free while
/// nothing else holds it.
pub struct Buffers {
    current: Rc<Buffer>,
    others: Vec<Rc<Buffer>>,
    /// Where the next look for a free one begins.
    next: usize,
    /// The number of buffers that are kept, free or not.
    kept: usize,
}

fn new_buffer() -> Rc<Buffer> {
    Rc::new(Buffer(vec![0; MSIZE]))
}

impl Buffers {
    /// They keep at most about `memory` bytes when they are free.
    pub(crate) fn new(memory: usize) -> Self {
        Buffers {
            current: new_buffer(),
            others: Vec::new(),
            next: 0,
            kept: SPARE.max(memory / MSIZE),
        }
    }

    /// Where the next message goes.
    pub(crate) fn current(&mut self) -> &mut [u8] {
        if Rc::get_mut(&mut self.current).is_none() {
            self.current = self.take_free();
        }
        match Rc::get_mut(&mut self.current) {
            Some(buffer) => &mut buffer.0,
            None => &mut [],
        }
    }

    /// The message of `len` bytes that came last.
    pub fn message(&mut self, len: usize) -> Message {
        if let (Ok(short), Some(came)) = (u8::try_from(len), self.current.0.get(..len))
            && len <= SHORT
        {
            let mut bytes = [0; SHORT];
            bytes[..len].copy_from_slice(came);
            return Message::Short { bytes, len: short };
        }
        let buffer = self.current.clone();
        Message::Long { buffer, len }
    }

    /// A buffer that nothing else holds; the current one, which something does, is kept
    /// among the others.
    fn take_free(&mut self) -> Rc<Buffer> {
        let count = self.others.len();
        for _ in 0..count {
            let at = self.next % count;
            self.next = at + 1;
            if let Some(other) = self.others.get_mut(at)
                && Rc::get_mut(other).is_some()
            {
                return core::mem::replace(other, self.current.clone());
            }
        }
        if count < self.kept {
            self.others.push(self.current.clone());
        }
        new_buffer()
    }
}
