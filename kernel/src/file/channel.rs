//! Reading from channels and sending into them.
use crate::chan::{End, HEAD_MAX, HEAD_SMALL, Message, Piece};
use crate::seg::iovec::{IoVec, Outgoing};
use crate::seg::{SpaceLock, resident, user};
use abi::{Errno, PAGE, Slice};
use vm::Access;
use zerocopy::IntoBytes;

/// Reads up to `n` bytes of the next message to `va`; 0 once the other side is
/// closed. The rest of the message is read next.
pub fn read(space: &SpaceLock, end: &End, va: u64, n: u64) -> Result<u64, Errno> {
    let limit = usize::try_from(n).unwrap_or(usize::MAX);
    user::waiting(space, Access::Store, || {
        let Some(mut message) = end.receive()? else {
            return Ok(0);
        };
        let stored = user::try_store(space, va, limit, &message);
        message.take(stored.unwrap_or(0));
        match stored.is_ok() && message.len() == 0 {
            true => message.done(),
            false => end.put_back(message),
        }
        stored.map(|done| done as u64)
    })
}

/// Sends one message: to the process at the other side, or to the kernel's own
/// client there, which takes it at once. Bytes sent.
///
/// # Errors
/// `EBUSY` if this side is the client's: a message from elsewhere would be taken
/// for the kernel's own.
pub fn send(space: &SpaceLock, end: &End, message: &IoVec) -> Result<u64, Errno> {
    if let Some(client) = end.client() {
        resident::begin(space)?;
        let outgoing = Outgoing { space, message };
        user::waiting(space, Access::Load, || client.deliver(&outgoing))?;
    } else {
        end.send(copy_in(space, message)?)?;
    }
    Ok(message.len())
}

/// Sends the `n` bytes at `out` as one message, and reads the next that comes, as
/// [`read`] does. `plain`: [`user::Plain::of`] a moment ago.
///
/// # Errors
/// `EAGAIN`: nothing was sent, because the other side is full or a note came.
#[inline]
pub fn exchange(
    space: &SpaceLock,
    plain: Option<user::Plain>,
    end: &End,
    (out, n): (u64, u64),
    (into, room): (u64, u64),
) -> Result<u64, Errno> {
    let message = match plain.and_then(|memory| copy_smallest(&memory, end, out, n)) {
        Some(message) => message,
        None => match copy_whole(space, end, out, n)? {
            Some(message) => message,
            None => return read(space, end, into, room),
        },
    };
    let Some(mut answer) = end.exchange(message)? else {
        return Ok(0);
    };
    if let Some(got) = user::Plain::of(space).and_then(|memory| {
        let head = answer.as_head().filter(|head| head.len() as u64 <= room)?;
        memory.write(into, head)?;
        Some(head.len() as u64)
    }) {
        answer.done();
        return Ok(got);
    }
    // As in `read`, which goes on where the memory is not ready.
    let limit = usize::try_from(room).unwrap_or(usize::MAX);
    let stored = user::try_store(space, into, limit, &answer);
    answer.take(stored.unwrap_or(0));
    match stored.is_ok() && answer.len() == 0 {
        true => answer.done(),
        false => end.put_back(answer),
    }
    match stored {
        Ok(done) => Ok(done as u64),
        Err(_) => read(space, end, into, room),
    }
}

/// A copy of a message for another process that is small, in one part, and in memory
/// that is ready. `None` for any other.
#[inline]
fn copy_smallest(memory: &user::Plain, end: &End, va: u64, n: u64) -> Option<Message> {
    if n > HEAD_SMALL as u64 || end.has_client() {
        return None;
    }
    let mut message = Message::small(n as usize).ok()?;
    if memory.read(va, message.head_mut()).is_none() {
        message.done();
        return None;
    }
    Some(message)
}

/// A copy of any message; `None`: it is for the kernel's own client, which has it.
#[inline(never)]
fn copy_whole(space: &SpaceLock, end: &End, va: u64, n: u64) -> Result<Option<Message>, Errno> {
    let part = [Slice {
        address: va,
        len: n,
    }];
    let message = IoVec::new(&part)?;
    let sent = match end.has_client() {
        true => send(space, end, &message).map(|_| None),
        false => copy_in(space, &message).map(Some),
    };
    // That of waiting for the answer says that the message was sent.
    sent.map_err(|errno| match errno {
        Errno::EINTR => Errno::EAGAIN,
        errno => errno,
    })
}

/// Parts of a message that [`copy_small`] takes.
const SMALL_PARTS: usize = 2;

/// A copy of a message for another process that is small, in `count` slices at `va`, and
/// in memory that is ready. `None` for any other.
#[inline]
pub fn copy_small(space: &SpaceLock, end: &End, va: u64, count: u64) -> Option<Message> {
    if end.has_client() {
        return None;
    }
    let memory = user::Plain::of(space)?;
    let mut parts = [Slice::default(); SMALL_PARTS];
    let parts = parts.get_mut(..usize::try_from(count).ok()?)?;
    memory.read(va, parts.as_mut_bytes())?;
    let mut len = 0;
    for part in &*parts {
        len += part.len.min(HEAD_MAX as u64) as usize;
    }
    if len > HEAD_SMALL {
        return None;
    }
    let mut message = Message::small(len).ok()?;
    let mut rest = message.head_mut();
    for part in parts {
        let (to, after) = rest.split_at_mut_checked(part.len as usize)?;
        if memory.read(part.address, to).is_none() {
            message.done();
            return None;
        }
        rest = after;
    }
    Some(message)
}

/// A copy of a message in user memory: its first bytes in the head, the rest in
/// frames.
fn copy_in(space: &SpaceLock, message: &IoVec) -> Result<Message, Errno> {
    let len = message.len() as usize;
    // As few frames as can be, and all but the last one full.
    let in_head = match (len, len % PAGE as usize) {
        (len, _) if len <= HEAD_MAX => len,
        (_, rest) if rest <= HEAD_MAX => rest,
        _ => 0,
    };
    let mut copy = Message::new(in_head)?;
    message.read(space, 0, copy.head_mut())?;
    let body = Piece::alloc_all(len - in_head)?;
    message.read_to_pieces(space, in_head as u64, &body)?;
    copy.set_body(body);
    Ok(copy)
}
