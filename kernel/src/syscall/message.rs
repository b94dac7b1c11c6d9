//! Calls on channels and receive ports.
use super::Arguments;
use crate::chan::{self, Event, Port, Stop, What, interrupt};
use crate::file::{Node, OpenFile, channel};
use crate::seg::iovec::{IoVec, Parts};
use crate::seg::{SpaceLock, user};
use abi::{Errno, IRQ_MSI, LOAN_MAX, Received, mode, privilege};
use alloc::sync::Arc;
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
    let one = a.descriptor(one)?;
    let told = a.descriptor(other).and_then(|other| {
        let told = user::put(a.space(), a.words()[0], &(other << 32 | one));
        told.inspect_err(|_| a.close(other).unwrap_or_default())
    });
    told.inspect_err(|_| a.close(one).unwrap_or_default())
}

pub fn port(a: &Arguments) -> Result<u64, Errno> {
    a.descriptor(open_file(Node::Port(Port::new()?))?)
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

pub fn recv(a: &Arguments) -> Result<u64, Errno> {
    let [_, va, room, to, timeout, loan] = a.words();
    if loan != 0 {
        // A device writes to physical addresses.
        a.check(privilege::DEVICE)?;
    }
    let space = a.space();
    user::within(space, va, room, Access::Store)?;
    user::within(space, to, size_of::<Received>() as u64, Access::Store)?;
    let port = get_port(a, 0)?;
    let deadline = (timeout != u64::MAX).then(|| time::now_ns().saturating_add(timeout));
    user::waiting(space, Access::Store, || {
        let event = port.receive(deadline)?;
        let told = tell(space, &event, (va, room), to);
        let told = told.and_then(|()| match loan {
            0 => Ok(0),
            loan => lend(space, &port, &event, loan),
        });
        match told {
            // Documented: a message that is too long is lost.
            Ok(_) | Err(Stop::Failed(Errno::EMSGSIZE)) => event.done(),
            Err(_) => port.put_back(event),
        }
        told
    })
}

/// Lends the memory that waits for the data of the reply to a message, and copies its
/// addresses to user memory, without waiting; how many pages.
fn lend(space: &SpaceLock, port: &Port, event: &Event, va: u64) -> Result<u64, Stop> {
    let Some((client, tag)) = port.sender(event) else {
        return Ok(0);
    };
    let mut lent = [0; LOAN_MAX];
    let pages = client.lend(tag, &mut lent);
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
    let [_, va, count, ..] = a.words();
    let file = a.file(0)?;
    if let Node::Channel(end) = &file.node
        && let Some(message) = channel::copy_small(a.space(), end, va, count)
    {
        let len = message.len() as u64;
        return end.send(message).map(|()| len);
    }
    let mut parts = Parts::default();
    let message = IoVec::from_user(a.space(), va, count, &mut parts)?;
    match &file.node {
        Node::Channel(end) => channel::send(a.space(), end, &message),
        Node::Root(_) | Node::Remote(_) | Node::Port(_) => Err(Errno::EINVAL),
    }
}
