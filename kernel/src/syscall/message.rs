//! Calls on channels and receive ports.
use super::Arguments;
use crate::chan::{self, Event, Port, Source, Stop, What, interrupt};
use crate::file::{Node, OpenFile, channel};
use crate::sched;
use crate::seg::iovec::{IoVec, Parts};
use crate::seg::{SpaceLock, user};
use abi::{
    Errno, IRQ_MSI, LOAN_DATA, LOAN_MAX, Outgoing, Received, Replying, lent, mode, privilege,
};
use alloc::sync::Arc;
use core::mem::offset_of;
use hw::heap::new_arc_str;
use hw::{interrupts, time};
use vm::Access;
use zerocopy::IntoBytes;

fn open_file(node: Node) -> Result<OpenFile, Errno> {
    Ok(OpenFile::new(node, mode::ORDWR, new_arc_str("")?))
}

pub fn pipe(a: &Arguments) -> Result<(), Errno> {
    let (one, other) = chan::pair()?;
    let one = open_file(Node::Channel(one))?;
    let other = open_file(Node::Channel(other))?;
    let one = a.descriptor(|| Ok(one))?;
    let told = a.descriptor(|| Ok(other)).and_then(|other| {
        let told = user::put(a.space(), a.words()[0], &(other << 32 | one));
        told.inspect_err(|_| a.close(other).unwrap_or_default())
    });
    told.inspect_err(|_| a.close(one).unwrap_or_default())
}

pub fn port(a: &Arguments) -> Result<u64, Errno> {
    a.descriptor(|| open_file(Node::Port(Port::new()?)))
}

/// The port that a descriptor refers to.
fn get_port(a: &Arguments, at: usize) -> Result<Arc<Port>, Errno> {
    match &a.file(at)?.node {
        Node::Port(port) => Ok(port.clone()),
        Node::Root(_) | Node::Remote(_) | Node::Channel(_) => Err(Errno::EINVAL),
    }
}

pub fn port_add(a: &Arguments) -> Result<(), Errno> {
    get_port(a, 0)?.add_channel(&*a.end(1)?, a.words()[2])
}

pub fn port_irq(a: &Arguments) -> Result<u64, Errno> {
    let [_, key, line, ..] = a.words();
    a.check(privilege::DEVICE)?;
    let port = get_port(a, 0)?;
    if line == IRQ_MSI {
        let vector = interrupt::free_vector()?;
        port.add_interrupt(vector, key)?;
        return Ok(u64::from(vector));
    }
    if line >= u64::from(interrupt::LINES) {
        return Err(Errno::EINVAL);
    }
    let line = line as u8;
    let vector = interrupt::FIRST + line;
    port.add_interrupt(vector, key)?;
    interrupts::ioapic_route(line, vector);
    Ok(u64::from(vector))
}

/// Where a message is received, and what is told of it: the arguments of a call, of
/// which all that can be checked before has been.
struct Receipt {
    port: Arc<Port>,
    /// The memory for the message.
    memory: (u64, u64),
    /// Where the record goes.
    to: u64,
    deadline: Option<u64>,
    /// Where the names of lent pages go, or 0.
    loan: u64,
    /// Whether the data of requests may be lent as well.
    data: bool,
}

impl Receipt {
    /// That of a call with a record of `size` bytes.
    #[inline]
    fn of(a: &Arguments, size: usize) -> Result<Receipt, Errno> {
        let [_, va, room, to, timeout, loan] = a.words();
        if loan != 0 {
            // A device writes to physical addresses.
            a.check(privilege::DEVICE)?;
        }
        let space = a.space();
        user::both_within(space, [(va, room), (to, size as u64)], Access::Store)?;
        Ok(Receipt {
            port: get_port(a, 0)?,
            memory: (va, room),
            to,
            deadline: (timeout != u64::MAX).then(|| time::now_ns().saturating_add(timeout)),
            loan: loan & !LOAN_DATA,
            data: loan & LOAN_DATA != 0,
        })
    }

    /// Waits for an event and copies it to user memory; pages lent.
    #[inline]
    fn receive(&self, space: &SpaceLock) -> Result<u64, Errno> {
        let (port, to) = (&*self.port, self.to);
        user::waiting(space, Access::Store, || {
            let mut event = port.receive(self.deadline)?;
            let lent = match self.data && event.has_body() {
                true => self.lend_data(space, &mut event),
                false => None,
            };
            let told = match lent {
                Some(told) => told,
                None => tell(space, &event, self.memory, to).and_then(|()| match self.loan {
                    0 => Ok(0),
                    loan => lend(space, port, &event, loan),
                }),
            };
            match told {
                // Documented: a message that is too long is lost.
                Ok(_) | Err(Stop::Failed(Errno::EMSGSIZE)) => event.done(),
                Err(_) => port.put_back(event),
            }
            told
        })
    }

    /// Lends the data of a message, whose head is copied to user memory with the names
    /// of the parts, without waiting; how many parts. `None`: it is copied like others.
    #[inline(never)]
    fn lend_data(&self, space: &SpaceLock, event: &mut Event) -> Option<Result<u64, Stop>> {
        let What::Message(message) = &event.what else {
            return None;
        };
        let (body, (va, room)) = (message.whole_body()?, self.memory);
        let mut parts = [0; LOAN_MAX];
        let parts = parts.get_mut(..body.len())?;
        let (client, _) = self.port.sender(event)?;
        let driver = space.lock().driver().ok()?;
        let What::Message(message) = &mut event.what else {
            return None;
        };
        let head = message.head();
        if head.len() as u64 > room || !client.lends_data(head) {
            return None;
        }
        for (part, piece) in parts.iter_mut().zip(message.whole_body()?) {
            *part = lent::pack(piece.pa(), piece.len);
        }
        let (key, kind, len) = (event.key, Received::LENT, head.len() as u32);
        let told = user::try_write(space, va, head)
            .and_then(|()| user::try_write(space, self.loan, parts.as_bytes()))
            .and_then(|()| user::try_write(space, self.to, Received { key, kind, len }.as_bytes()));
        if told.is_ok() {
            let data = message.take_body();
            client.keep_data(message.head(), data, &driver);
        }
        Some(told.map(|()| parts.len() as u64))
    }
}

pub fn read_lent(a: &Arguments) -> Result<u64, Errno> {
    let [_, va, n, at, ..] = a.words();
    a.check(privilege::DEVICE)?;
    let client = a.end(0)?.client().ok_or(Errno::EINVAL)?;
    let piece = client.kept_data(at).ok_or(Errno::EINVAL)?;
    let len = piece.len.min(usize::try_from(n).unwrap_or(usize::MAX));
    user::within(a.space(), va, len as u64, Access::Store)?;
    let source = Source::Frame(&piece.frame, piece.at, len);
    user::write_source(a.space(), va, source, &(va..va + len as u64))?;
    Ok(len as u64)
}

pub fn recv(a: &Arguments) -> Result<u64, Errno> {
    Receipt::of(a, size_of::<Received>())?.receive(a.space())
}

pub fn reply_recv(a: &Arguments) -> Result<u64, Errno> {
    let receipt = Receipt::of(a, size_of::<Replying>())?;
    let space = a.space();
    let reply: Outgoing = user::get(space, receipt.to + offset_of!(Replying, reply) as u64)?;
    send_message(a, reply)?;
    let received = receipt.receive(space);
    if received.is_err() {
        let kind = receipt.to + offset_of!(Replying, received.kind) as u64;
        // The error of receiving is the one that counts. The reply must not be taken for
        // one that was not sent.
        let _ = sched::without_notes(|| user::put(space, kind, &Received::NOTHING));
    }
    received
}

pub fn exchange(a: &Arguments) -> Result<u64, Errno> {
    let [_, out, n, into, room, _] = a.words();
    let space = a.space();
    let plain = user::plain_within(space, into, room, Access::Store)?;
    let file = a.file(0)?;
    match &file.node {
        Node::Channel(end) => channel::exchange(space, plain, end, (out, n), (into, room)),
        Node::Root(_) | Node::Remote(_) | Node::Port(_) => Err(Errno::EINVAL),
    }
}

/// Lends the memory that waits for the data of the reply to a message, and copies its
/// addresses to user memory, without waiting; how many pages.
fn lend(space: &SpaceLock, port: &Port, event: &Event, va: u64) -> Result<u64, Stop> {
    let Some((client, tag)) = port.sender(event) else {
        return Ok(0);
    };
    let mut lent = [0; LOAN_MAX];
    let driver = space.lock().driver();
    let pages = match driver {
        Ok(driver) => client.lend(tag, &mut lent, &driver),
        // Without memory nothing is lent.
        Err(_) => 0,
    };
    let addresses = lent.get(..pages).unwrap_or(&[]);
    match user::try_write(space, va, addresses.as_bytes()) {
        Ok(()) => Ok(pages as u64),
        Err(stop) => {
            client.take_back(tag);
            Err(stop)
        }
    }
}

/// Copies a port's event to user memory, without waiting.
fn tell(space: &SpaceLock, event: &Event, (va, room): (u64, u64), to: u64) -> Result<(), Stop> {
    let (kind, len) = match &event.what {
        What::Message(message) => {
            let len = message.len();
            if len as u64 > room {
                return Err(Stop::Failed(Errno::EMSGSIZE));
            }
            user::try_store(space, va, len, message)?;
            (Received::MESSAGE, len as u32)
        }
        What::Interrupt(count) => (Received::INTERRUPT, *count),
        What::Hangup(_) => (Received::HANGUP, 0),
    };
    let key = event.key;
    user::try_write(space, to, Received { key, kind, len }.as_bytes())
}

pub fn send(a: &Arguments) -> Result<u64, Errno> {
    let [fd, slices, count, ..] = a.words();
    send_message(a, Outgoing { fd, slices, count })
}

/// Sends one message, gathered from user memory; its bytes.
#[inline]
fn send_message(a: &Arguments, message: Outgoing) -> Result<u64, Errno> {
    let Outgoing { fd, slices, count } = message;
    let file = a.descriptor_of(fd)?;
    if let Node::Channel(end) = &file.node
        && let Some(message) = channel::copy_small(a.space(), end, slices, count)
    {
        let len = message.len() as u64;
        return end.send(message).map(|()| len);
    }
    let mut parts = Parts::default();
    let message = IoVec::from_user(a.space(), slices, count, &mut parts)?;
    match &file.node {
        Node::Channel(end) => channel::send(a.space(), end, &message),
        Node::Root(_) | Node::Remote(_) | Node::Port(_) => Err(Errno::EINVAL),
    }
}
