//! The lower server at the other end of a channel.
use core::cell::RefCell;
use ninep::consts::READ_HEAD;
use ninep::{Request, Shape};
use rt::{Errno, Failure, File, Named, Port, send};
use serving::{BELOW, Buffers, Came, Event, Link, MSIZE, Message};

/// Bytes of the longest request, its data not counted.
const HEAD: usize = 4096;

/// The channel to the lower server.
pub struct Channel {
    /// `None` when there is no server any more.
    channel: RefCell<Option<File>>,
}

impl Channel {
    /// A link to the server at the other end of `channel`, whose messages
    /// arrive at `port`.
    pub fn new(channel: File, port: &Port) -> Result<Channel, Failure> {
        port.add(&channel, BELOW).about(Channel::NAME)?;
        Ok(Channel {
            channel: RefCell::new(Some(channel)),
        })
    }
}

/// A message in its buffer.
pub struct Reply(Message);

impl AsRef<[u8]> for Reply {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Link for Channel {
    type Room = ();
    type Reply = Reply;
    const NAME: &'static str = "the server beneath";
    const TREE: &'static str = Self::NAME;
    /// Fewer than messages may wait at an end of a channel, so that neither side ever
    /// waits until it can send.
    const TAGS: u16 = 32;
    const MSIZE: u32 = MSIZE as u32;

    fn room(&self, _: Shape) -> Option<()> {
        Some(())
    }

    fn send(
        &self,
        (): (),
        request: &Request<'_>,
        data: &[u8],
        tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno> {
        let mut head = [0; HEAD];
        let len = ninep::encode_request_head(0, request, data.len(), &mut head);
        let len = len.map_err(|_| Errno::ENAMETOOLONG)?;
        let tag = tag(len + data.len())?;
        ninep::set_tag(&mut head, tag);
        let channel = self.channel.borrow();
        let channel = channel.as_ref().ok_or(Errno::EIO)?;
        send(channel, [&head[..len], data]).map_err(|_| Errno::EIO)?;
        Ok(())
    }

    fn send_back(
        &self,
        reply: Reply,
        request: &Request<'_>,
        len: usize,
        tag: impl FnOnce(usize) -> Result<u16, Errno>,
    ) -> Result<(), Errno> {
        let data = reply.as_ref().get(READ_HEAD..).unwrap_or_default();
        let data = data.get(..len).ok_or(Errno::EIO)?;
        self.send((), request, data, tag)
    }

    fn receive(
        &self,
        came: Came,
        buffers: &mut Buffers,
        mut each: impl FnMut(Event<Reply>),
    ) -> Result<(), Failure> {
        match came {
            Came::Message(len) => each(Event::Reply(Reply(buffers.message(len)))),
            Came::TooLong => each(Event::HungUp(Errno::EPROTO)),
            Came::HangUp => each(Event::HungUp(Errno::EIO)),
            // None were asked for.
            Came::Interrupts => {}
        }
        Ok(())
    }

    fn hang_up(&self) {
        self.channel.take();
    }
}
