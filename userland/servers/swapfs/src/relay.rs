//! A directory of the host instead of a block device: requests and replies are
//! passed on as they are.

use crate::server::{DEVICE, REQUESTS};
use alloc::vec;
use alloc::vec::Vec;
use ninep::{Reply, Request, Shape};
use rt::abi::Received;
use rt::{Errno, Failure, File, Named, Port, Replies, sys};
use virtio9p::{Completion, Device, IOUNIT, Slot};

/// Bytes of the longest message: the head of any request, and data.
const MSIZE: usize = IOUNIT + 4096;
/// Interval of a look at the device while all slots are in use.
const LOOK_NS: u64 = 100_000;

/// The two ends.
pub struct Relay {
    to_kernel: Replies,
    port: Port,
    device: Device,
    message: Vec<u8>,
}

impl Relay {
    /// Between a channel and the exported directory with that mount tag.
    ///
    /// # Errors
    /// See [`Device::open`].
    pub fn new(channel: File, port: Port, tag: &str) -> Result<Relay, Failure> {
        let device = Device::open(tag, &port, DEVICE)?;
        port.add(&channel, REQUESTS).about("service channel")?;
        let message = vec![0; MSIZE];
        Ok(Relay {
            to_kernel: Replies::new(channel),
            port,
            device,
            message,
        })
    }

    /// Passes messages on until the kernel hangs up.
    ///
    /// # Errors
    /// The device is unusable.
    pub fn run(mut self) -> Result<(), Failure> {
        loop {
            let (port, message) = (&self.port, &mut self.message);
            let received = match self.to_kernel.receive(port, message, u64::MAX, None) {
                Ok((received, _)) => received,
                // Longer than was agreed on: it has no answer.
                Err(Errno::EMSGSIZE) => continue,
                Err(errno) => return Err(errno).about("receive port"),
            };
            match (received.key, received.kind) {
                (REQUESTS, Received::MESSAGE) => self.request(received.len as usize)?,
                (DEVICE, Received::INTERRUPT) => self.replies()?,
                _ => return Ok(()),
            }
            self.device.kick();
        }
    }

    /// Passes the request on that was received, of `len` bytes.
    fn request(&mut self, len: usize) -> Result<(), Failure> {
        let Some(message) = self.message.get(..len) else {
            return Ok(());
        };
        let (tag, shape) = match ninep::decode_request(message) {
            Ok((tag, request)) => (tag, shape(&request)),
            Err(_) => {
                if let Some((_, _, tag)) = ninep::peek(message) {
                    self.refuse(tag);
                }
                return Ok(());
            }
        };
        let mut slot = loop {
            if let Some(slot) = self.device.pool().take(shape) {
                break slot;
            }
            self.device.kick();
            self.to_kernel.flush();
            sys::sleep(LOOK_NS).about("sleep")?;
            self.replies()?;
        };
        let request = self.message.get(..len);
        match (slot.request_mut().get_mut(..len), request) {
            (Some(to), Some(request)) => to.copy_from_slice(request),
            _ => {
                self.refuse(tag);
                return Ok(());
            }
        }
        self.device.submit(slot, tag, len).about("virtio-9p device")
    }

    /// Passes on the replies that have come.
    fn replies(&mut self) -> Result<(), Failure> {
        while let Some(completion) = self.device.completed().about("virtio-9p device")? {
            let Completion { slot, tag, len, .. } = completion;
            match len {
                Ok(len) => self.reply(&slot, len),
                Err(_) => self.refuse(tag),
            }
        }
        Ok(())
    }

    fn reply(&self, slot: &Slot, len: usize) {
        self.to_kernel.send([slot.reply(len)]);
    }

    fn refuse(&self, tag: u16) {
        let mut reply = [0; 64];
        if let Ok(len) = ninep::encode_reply(tag, &Reply::Error(Errno::EPROTO), &mut reply) {
            self.to_kernel.send([reply.get(..len).unwrap_or_default()]);
        }
    }
}

/// The memory that a request and its reply need.
fn shape(request: &Request<'_>) -> Shape {
    match request {
        Request::Read { count, .. } | Request::Readdir { count, .. } => {
            Shape::Reply((*count as usize).min(IOUNIT))
        }
        Request::Write { data, .. } => Shape::Data(data.len().min(IOUNIT)),
        _ => Shape::Reply(rt::abi::PAGE as usize),
    }
}
