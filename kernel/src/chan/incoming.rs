//! Messages that the kernel's own 9P client takes at once, from the memory of
//! the process that sends them.
use super::Piece;
use super::kept::Driver;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hw::frames::FrameRef;

/// Why a copy that must not wait came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The page at this address has to be made ready first.
    NotReady(u64),
    /// It cannot be done.
    Failed(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Failed(errno)
    }
}

/// A message in the memory of the running process. Copies do not wait: nothing
/// else runs while it is taken.
pub trait Incoming {
    /// Bytes in all.
    fn len(&self) -> u64;

    /// Copies bytes from `from` on; how many there were.
    ///
    /// # Errors
    /// [`Stop::NotReady`]; part of `to` may have been written.
    fn copy(&self, from: u64, to: &mut [u8]) -> Result<usize, Stop>;

    /// The same for `len` bytes, to a frame from an offset on.
    ///
    /// # Errors
    /// As [`Incoming::copy`].
    fn copy_to_frame(&self, from: u64, to: (&FrameRef, usize), len: usize) -> Result<(), Stop>;
}

/// Takes the messages for one side of a channel in place of a process.
pub trait Client: Send + Sync {
    /// Takes one message from the running process, without waiting.
    ///
    /// # Errors
    /// Nothing has been taken: the sender's fault, or a page of the message is not
    /// ready.
    fn deliver(&self, message: &dyn Incoming) -> Result<(), Stop>;

    /// Lends the memory that the data of the reply to a message goes to, of which a
    /// device may write every byte until the message, or a Tflush of it, is answered:
    /// physical addresses, of a page each but for the first, which may be within one;
    /// how many. 0: it is not lent. Called when all of the message has been received,
    /// by a process that is trusted with all memory, one of that driver.
    fn lend(&self, tag: u16, to: &mut [u64], borrower: &Arc<Driver>) -> usize;

    /// Returns true if the data that follows this head of a message stays with the
    /// client, so that a device can read it there, and if there is room to keep it: by
    /// [`Client::keep_data`], before anything else runs.
    fn lends_data(&self, head: &[u8]) -> bool;

    /// Keeps the data after that head until the server is done with it, which is that
    /// driver.
    fn keep_data(&self, head: &[u8], data: Vec<Piece>, borrower: &Arc<Driver>);

    /// The piece of data that is kept with that physical address in it, from there on.
    fn kept_data(&self, at: u64) -> Option<Piece>;

    /// The message is received again.
    fn take_back(&self, tag: u16);

    /// The other side is closed.
    fn hang_up(&self);
}
