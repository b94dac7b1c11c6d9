//! Calls on channels and receive ports.
use super::Arguments;
use super::file::descriptor;
use crate::chan::{self, Event, Port, Stop, What, interrupt};
use crate::file::{Node, OpenFile, channel};
use crate::proc::Process;
use crate::seg::SpaceLock;
use crate::seg::iovec::IoVec;
use crate::seg::user;
use abi::{Errno, IRQ_MSI, Received, mode, privilege};
use alloc::sync::Arc;
use hw::heap::new_arc_str;
use hw::{interrupts, time};
use vm::Access;

fn open_file(node: Node) -> Result<OpenFile, Errno> {
    Ok(OpenFile::new(node, mode::ORDWR, new_arc_str("")?))
}

pub fn pipe(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let (one, other) = chan::pair()?;
    let (one, other) = (
        open_file(Node::Channel(one))?,
        open_file(Node::Channel(other))?,
    );
    let one = descriptor(process, one)?;
    let other = match descriptor(process, other) {
        Ok(fd) => fd,
        Err(errno) => {
            close(process, one)?;
            return Err(errno);
        }
    };
    let pair = (other << 32 | one).to_le_bytes();
    if let Err(errno) = user::write(&process.space, a.0[0], &pair) {
        close(process, one)?;
        close(process, other)?;
        return Err(errno);
    }
    Ok(0)
}

fn close(process: &Process, fd: u64) -> Result<(), Errno> {
    let closed = process.descriptors.lock().set(fd, None)?;
    drop(closed);
    Ok(())
}

pub fn port(process: &Process) -> Result<u64, Errno> {
    descriptor(process, open_file(Node::Port(Port::new()?))?)
}

/// The port that `fd` refers to.
fn get_port(process: &Process, fd: u64) -> Result<Arc<Port>, Errno> {
    let file = process.descriptors.lock().get(fd)?;
    match &file.node {
        Node::Port(port) => Ok(port.clone()),
        Node::Root(_) | Node::Remote(_) | Node::Channel(_) => Err(Errno::EINVAL),
    }
}

pub fn port_add(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [port, fd, key, ..] = a.0;
    let port = get_port(process, port)?;
    let file = process.descriptors.lock().get(fd)?;
    match &file.node {
        Node::Channel(end) => port.add_channel(end, key).map(|()| 0),
        Node::Root(_) | Node::Remote(_) | Node::Port(_) => Err(Errno::EINVAL),
    }
}

pub fn port_irq(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [port, key, line, ..] = a.0;
    if !process.may(privilege::DEVICE) {
        return Err(Errno::EPERM);
    }
    let port = get_port(process, port)?;
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

pub fn recv(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [port, va, room, to, timeout, _] = a.0;
    let space = &process.space;
    user::within(space, va, room, Access::Store)?;
    user::within(space, to, size_of::<Received>() as u64, Access::Store)?;
    let port = get_port(process, port)?;
    let deadline = (timeout != u64::MAX).then(|| time::now_ns().saturating_add(timeout));
    user::waiting(space, Access::Store, || {
        let event = port.receive(deadline)?;
        let told = tell(space, &event, (va, room), to);
        match told {
            // Documented: a message that is too long is lost.
            Ok(()) | Err(Stop::Failed(Errno::EMSGSIZE)) => {}
            Err(_) => port.put_back(event),
        }
        told.map(|()| 0)
    })
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
    let mut record = [0; size_of::<Received>()];
    record[..8].copy_from_slice(&event.key.to_le_bytes());
    let tail = u64::from(len) << 32 | u64::from(kind);
    record[8..].copy_from_slice(&tail.to_le_bytes());
    user::try_write(space, to, &record)
}

pub fn send(process: &Process, a: &Arguments) -> Result<u64, Errno> {
    let [fd, va, count, ..] = a.0;
    let file = process.descriptors.lock().get(fd)?;
    let message = IoVec::from_user(&process.space, va, count)?;
    match &file.node {
        Node::Channel(end) => channel::send(&process.space, end, &message),
        Node::Root(_) | Node::Remote(_) | Node::Port(_) => Err(Errno::EINVAL),
    }
}
