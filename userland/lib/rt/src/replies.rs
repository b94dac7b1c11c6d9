//! The replies of a server: a short one is sent by the call that waits for the next
//! message.

use crate::{File, Port, port};
use abi::{Errno, LOAN_MAX, Received};
use core::cell::RefCell;

/// Bytes of a reply that is held; longer ones are sent at once.
const HELD_MAX: usize = 128;

struct Held {
    bytes: [u8; HELD_MAX],
    /// 0: nothing is held.
    len: usize,
}

/// The channel of a server to its client. Replies are sent in the order in which they
/// are given. A server that is about to wait for anything but the next message has to
/// call [`Replies::flush`] before.
pub struct Replies {
    channel: File,
    held: RefCell<Held>,
}

impl Replies {
    /// The replies into `channel`.
    pub const fn new(channel: File) -> Replies {
        let held = Held {
            bytes: [0; HELD_MAX],
            len: 0,
        };
        let held = RefCell::new(held);
        Replies { channel, held }
    }

    /// The channel.
    pub const fn channel(&self) -> &File {
        &self.channel
    }

    /// Sends a reply, gathered from `parts`, before the next wait. A client that is gone
    /// is noticed as a hang-up.
    #[inline]
    pub fn send<const N: usize>(&self, parts: [&[u8]; N]) {
        let held = &mut *self.held.borrow_mut();
        self.send_held(held);
        let (mut rest, mut len) = (held.bytes.as_mut_slice(), 0);
        for part in parts {
            let Some((to, after)) = rest.split_at_mut_checked(part.len()) else {
                let _ = port::send(&self.channel, parts);
                return;
            };
            to.copy_from_slice(part);
            (rest, len) = (after, len + part.len());
        }
        held.len = len;
    }

    /// Sends the reply that is held.
    pub fn flush(&self) {
        self.send_held(&mut self.held.borrow_mut());
    }

    #[inline]
    fn send_held(&self, held: &mut Held) {
        if held.len > 0 {
            let _ = port::send(&self.channel, [held.bytes.get(..held.len).unwrap_or(&[])]);
            held.len = 0;
        }
    }

    /// Sends a reply after the one that is held, and receives at `port` without a limit, in
    /// one call if none is held. A client that is gone is noticed as a hang-up.
    ///
    /// # Errors
    /// Those of receiving.
    #[inline]
    pub fn send_and_receive<const N: usize>(
        &self,
        port: &Port,
        parts: [&[u8]; N],
        buffer: &mut [u8],
    ) -> Result<(Received, usize), Errno> {
        self.flush();
        let reply = (&self.channel, parts);
        let (_, received) = port.reply_and_receive(reply, buffer, u64::MAX, None);
        received
    }

    /// Sends the reply that is held, and receives at `port`; see
    /// [`Port::receive_with_loans`].
    ///
    /// # Errors
    /// Those of receiving.
    #[inline]
    pub fn receive(
        &self,
        port: &Port,
        buffer: &mut [u8],
        timeout: u64,
        loan: Option<&mut [u64; LOAN_MAX]>,
    ) -> Result<(Received, usize), Errno> {
        let held = &mut *self.held.borrow_mut();
        if let Some(reply) = held.bytes.get(..held.len).filter(|held| !held.is_empty()) {
            let (_, received) =
                port.reply_and_receive((&self.channel, [reply]), buffer, timeout, loan);
            held.len = 0;
            return received;
        }
        match loan {
            Some(loan) => port.receive_with_loans(buffer, timeout, loan),
            None => port.receive(buffer, timeout).map(|received| (received, 0)),
        }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.flush();
    }
}
