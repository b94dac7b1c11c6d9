//! Receive ports: how a server waits for messages and interrupts at once.

use crate::{File, process, sys};
use abi::{Call, Errno, LOAN_DATA, LOAN_MAX, Outgoing, Received, Replying};

/// A receive port.
pub struct Port(File);

impl Port {
    /// A new one that receives nothing yet.
    pub fn new() -> Result<Port, Errno> {
        // SAFETY: touches no memory.
        let fd = unsafe { sys::call0(Call::Port) }?;
        Ok(Port(File::from_fd(fd as u32)))
    }

    /// Its descriptor.
    pub const fn fd(&self) -> u32 {
        self.0.fd()
    }

    /// Messages that arrive on `channel` are received here under `key`.
    pub fn add(&self, channel: &File, key: u64) -> Result<(), Errno> {
        let (port, fd) = (u64::from(self.0.fd()), u64::from(channel.fd()));
        // SAFETY: touches no memory.
        unsafe { sys::call3(Call::PortAdd, port, fd, key) }.map(drop)
    }

    /// Interrupts of an ISA line (or [`abi::IRQ_MSI`]) are received here under
    /// `key`. Returns the data of a message-signalled one.
    pub fn add_interrupt(&self, key: u64, line: u64) -> Result<u64, Errno> {
        // SAFETY: touches no memory.
        unsafe { sys::call3(Call::PortIrq, u64::from(self.0.fd()), key, line) }
    }

    /// Waits for the next message or interrupt, at most `timeout` nanoseconds
    /// (`u64::MAX`: without limit), then returns `ETIMEDOUT`.
    #[inline]
    pub fn receive(&self, buffer: &mut [u8], timeout: u64) -> Result<Received, Errno> {
        self.receive_lending(buffer, timeout, 0)
            .map(|(received, _)| received)
    }

    /// As [`Port::receive`], for a driver whose device writes the data of replies
    /// itself: with a request for data the kernel lends the memory that waits for it.
    /// Physical addresses, of a page each but for the first, which may be within one;
    /// the second number says how many. They may be written until the request, or
    /// a Tflush of it, is answered.
    ///
    /// # Errors
    /// As for [`Port::receive`]; `EPERM` without the privilege of a driver.
    #[inline]
    pub fn receive_with_loan(
        &self,
        buffer: &mut [u8],
        timeout: u64,
        loan: &mut [u64; LOAN_MAX],
    ) -> Result<(Received, usize), Errno> {
        self.receive_lending(buffer, timeout, loan.as_mut_ptr() as u64)
    }

    /// The same for a driver whose device also reads the data of requests where the
    /// client has it: of a message of the kind [`Received::LENT`] the head is in the
    /// buffer, and the loan has the parts of the data ([`abi::lent`]). They stay until the
    /// write is over that the message belongs to.
    ///
    /// # Errors
    /// As for [`Port::receive_with_loan`].
    #[inline]
    pub fn receive_with_loans(
        &self,
        buffer: &mut [u8],
        timeout: u64,
        loan: &mut [u64; LOAN_MAX],
    ) -> Result<(Received, usize), Errno> {
        self.receive_lending(buffer, timeout, loan.as_mut_ptr() as u64 | LOAN_DATA)
    }

    /// `lent`: the loan's address, with [`LOAN_DATA`] or without; 0: nothing is lent.
    #[inline]
    fn receive_lending(
        &self,
        buffer: &mut [u8],
        timeout: u64,
        lent: u64,
    ) -> Result<(Received, usize), Errno> {
        let mut received = Received::default();
        let (port, (at, len)) = (u64::from(self.0.fd()), sys::of_mut(buffer));
        let to = &raw mut received as u64;
        // SAFETY: the kernel writes within `buffer`, one `Received`, and the loan, if there
        // is one, which the callers borrow.
        let pages = unsafe { sys::call6(Call::Recv, port, at, len, to, timeout, lent) }?;
        Ok((received, pages as usize))
    }
}

impl Port {
    /// Sends a reply, gathered from `parts`, into a channel, and receives as
    /// [`Port::receive_with_loans`] does, or without a loan as [`Port::receive`], in one
    /// call. The first result is that of sending; after an error of it the second is of
    /// a call of its own.
    #[inline]
    pub fn reply_and_receive<const N: usize>(
        &self,
        (channel, parts): (&File, [&[u8]; N]),
        buffer: &mut [u8],
        timeout: u64,
        loan: Option<&mut [u64; LOAN_MAX]>,
    ) -> (Result<(), Errno>, Result<(Received, usize), Errno>) {
        let slices = parts.map(process::slice);
        let (port, (at, len)) = (u64::from(self.0.fd()), sys::of_mut(buffer));
        let mut record = Replying {
            received: Received::default(),
            reply: Outgoing {
                fd: u64::from(channel.fd()),
                slices: slices.as_ptr() as u64,
                count: N as u64,
            },
        };
        let to = &raw mut record as u64;
        let lent = loan.map_or(0, |loan| loan.as_mut_ptr() as u64 | LOAN_DATA);
        // SAFETY: the kernel writes within `buffer`, `loan` and `record`, and reads the
        // slices and what they name.
        let result = unsafe { sys::call6(Call::ReplyRecv, port, at, len, to, timeout, lent) };
        let received = record.received;
        match result {
            Ok(pages) => (Ok(()), Ok((received, pages as usize))),
            Err(errno) if received.kind == Received::NOTHING => (Ok(()), Err(errno)),
            Err(errno) => (Err(errno), self.receive_lending(buffer, timeout, lent)),
        }
    }
}

/// Copies from lent data ([`abi::lent`]) that the client at the channel `fd` has, from that
/// physical address on as far as its part goes; bytes copied. For a driver that has to see
/// what its device usually reads.
///
/// # Errors
/// `EPERM` without the privilege of a driver; `EINVAL`: nothing is lent there.
pub fn read_lent(fd: u64, to: &mut [u8], at: u64) -> Result<usize, Errno> {
    let (va, n) = sys::of_mut(to);
    // SAFETY: the kernel writes within `to`.
    unsafe { sys::call4(Call::ReadLent, fd, va, n, at) }.map(|n| n as usize)
}

/// Sends `message` into a channel, and reads the next message from there: what is asked
/// and its answer in one call. Bytes read; 0 once the other side is closed.
///
/// # Errors
/// `EAGAIN`: nothing was sent, because the other side is full, or a note came. `EINTR`:
/// a note came after it was sent.
#[inline]
pub fn exchange(channel: &File, message: &[u8], answer: &mut [u8]) -> Result<usize, Errno> {
    let (fd, (out, n)) = (u64::from(channel.fd()), sys::of(message));
    let (into, room) = sys::of_mut(answer);
    // SAFETY: the kernel reads `message` and writes within `answer`.
    let got = unsafe { sys::call5(Call::Exchange, fd, out, n, into, room) }?;
    Ok((got as usize).min(answer.len()))
}

/// Sends one message, gathered from `parts`, into a channel.
#[inline]
pub fn send<const N: usize>(channel: &File, parts: [&[u8]; N]) -> Result<(), Errno> {
    let slices = parts.map(process::slice);
    let (fd, at) = (u64::from(channel.fd()), slices.as_ptr() as u64);
    // SAFETY: the kernel only reads the slices and what they name.
    unsafe { sys::call3(Call::Send, fd, at, N as u64) }.map(drop)
}
