//! The 9P2000.L protocol, both directions, with the messages of the dialect
//! with snapshots
//! (`docs/protocol.md` describes every byte).
//!
//! [`client`] is the client's side of a connection as a state machine; all else here
//! is the codec.
//!
//! Messages borrow from the buffer they came in; nothing is allocated, nothing
//! panics, and whatever [`decode_request`] and [`decode_reply`] let through
//! satisfies what the types say (lists within their limits, ranges that do
//! not wrap, operations in order). What fields *mean* is not checked here.
//!
//! A payload (the data of `Rread`, `Rreaddir`, `Twrite` and `Tput`) is always
//! the end of its message, so that it can travel apart from the head:
//! [`encode_request_head`] and [`encode_reply_head`] write the head alone, and
//! [`payload_start`] tells a receiver where it ends.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod client;
pub mod consts;
mod fixed;
mod list;
mod message;
mod types;
mod wire;

pub use bytestr::{ByteStr, ByteString};
pub use list::{Changes, Entries, Entry, List, Names, PutKind, PutOp, PutOps, Qids, Ranges};
pub use list::{PUT_OP_MAX, check_put};
pub use message::{Reply, Request};
pub use types::{Attr, DirAttrs, DirEntries, DirEntry, Qid, SetAttr, Shape, StatFs};
pub use wire::{Malformed, TooSmall};

use consts::*;
use wire::{Reader, Wire, Writer};

/// Size, type number and tag of the message that starts with these bytes.
/// `None` if there are fewer than 7, or the size field says fewer.
#[inline]
pub fn peek(msg: &[u8]) -> Option<(u32, u8, u16)> {
    let &[a, b, c, d, kind, e, f] = msg.first_chunk::<HEADER>()?;
    let size = u32::from_le_bytes([a, b, c, d]);
    (size as usize >= HEADER).then_some((size, kind, u16::from_le_bytes([e, f])))
}

/// Puts another tag into a message; one shorter than a header stays as it is.
#[inline]
pub fn set_tag(msg: &mut [u8], tag: u16) {
    if let Some([_, _, _, _, _, at @ ..]) = msg.first_chunk_mut::<HEADER>() {
        *at = tag.to_le_bytes();
    }
}

/// Checks the header; type number, tag and the fields.
#[inline]
fn open(msg: &[u8]) -> Result<(u8, u16, Reader<'_>), Malformed> {
    open_head(msg, 0)
}

/// The same for a message of which `apart` bytes are elsewhere.
#[inline]
fn open_head(msg: &[u8], apart: usize) -> Result<(u8, u16, Reader<'_>), Malformed> {
    let (size, kind, tag) = peek(msg).ok_or(Malformed::Short)?;
    if size as usize != msg.len() + apart {
        return Err(Malformed::Size);
    }
    Ok((
        kind,
        tag,
        Reader::new(msg.get(HEADER..).ok_or(Malformed::Short)?),
    ))
}

/// Tag and content of one T message, which must be exactly `msg`.
#[inline]
pub fn decode_request(msg: &[u8]) -> Result<(u16, Request<'_>), Malformed> {
    if let Some(read) = fixed::tread(msg) {
        return Ok(read);
    }
    decode_request_head(msg, 0)
}

/// The same for a request whose data of `apart` bytes is elsewhere: a `Tput`, whose
/// `data` is empty then. Any other request has 0.
#[inline]
pub fn decode_request_head(msg: &[u8], apart: usize) -> Result<(u16, Request<'_>), Malformed> {
    let (kind, tag, mut fields) = open_head(msg, apart)?;
    let request = Request::get(kind, &mut fields)?;
    if fields.left() != 0 {
        return Err(Malformed::Long);
    }
    match &request {
        Request::Put {
            off,
            flags,
            ops,
            data,
            ..
        } => {
            if flags & !put::ALL != 0 {
                return Err(Malformed::Value);
            }
            let put = data.len() + apart;
            if apart > 0 && !data.is_empty() {
                return Err(Malformed::Long);
            }
            check_put(*off, ops, put)?;
        }
        _ if apart > 0 => return Err(Malformed::Size),
        Request::Snap { off, count, .. } => {
            off.checked_add(*count).ok_or(Malformed::Range)?;
        }
        _ => {}
    }
    Ok((tag, request))
}

/// Tag and content of one R message, which must be exactly `msg`.
#[inline]
pub fn decode_reply(msg: &[u8]) -> Result<(u16, Reply<'_>), Malformed> {
    let (kind, tag, mut fields) = open(msg)?;
    let reply = Reply::get(kind, &mut fields)?;
    if fields.left() != 0 {
        return Err(Malformed::Long);
    }
    Ok((tag, reply))
}

/// Writes a whole T message to the front of `out`; bytes written.
#[inline]
pub fn encode_request(tag: u16, request: &Request<'_>, out: &mut [u8]) -> Result<usize, TooSmall> {
    encode_request_to(tag, request, Writer::new(out, None))
}

/// Writes a T message without its payload of `payload_len` bytes, which the
/// size field counts and which is to follow; bytes written. The payload in
/// `request` is ignored. For messages without a payload, `payload_len` is 0.
#[inline]
pub fn encode_request_head(
    tag: u16,
    request: &Request<'_>,
    payload_len: usize,
    out: &mut [u8],
) -> Result<usize, TooSmall> {
    encode_request_to(tag, request, Writer::new(out, Some(payload_len)))
}

#[inline]
fn encode_request_to(
    tag: u16,
    message: &Request<'_>,
    mut w: Writer<'_>,
) -> Result<usize, TooSmall> {
    if let Request::Read { fid, offset, count } = *message {
        return w.only(&fixed::put_tread(tag, fid, offset, count));
    }
    header(tag, message.kind(), &mut w)?;
    message.put(&mut w)?;
    w.finish()
}

/// Writes a whole R message to the front of `out`; bytes written.
#[inline]
pub fn encode_reply(tag: u16, reply: &Reply<'_>, out: &mut [u8]) -> Result<usize, TooSmall> {
    encode_reply_to(tag, reply, Writer::new(out, None))
}

/// Writes an R message without its payload, as [`encode_request_head`] does.
#[inline]
pub fn encode_reply_head(
    tag: u16,
    reply: &Reply<'_>,
    payload_len: usize,
    out: &mut [u8],
) -> Result<usize, TooSmall> {
    encode_reply_to(tag, reply, Writer::new(out, Some(payload_len)))
}

#[inline]
fn encode_reply_to(tag: u16, message: &Reply<'_>, mut w: Writer<'_>) -> Result<usize, TooSmall> {
    if let (Reply::Read { .. }, Some(len)) = (message, w.apart()) {
        return w.only(&fixed::put_rread(tag, len).ok_or(TooSmall)?);
    }
    header(tag, message.kind(), &mut w)?;
    message.put(&mut w)?;
    w.finish()
}

/// The size is filled in at the end.
#[inline]
fn header(tag: u16, kind: u8, w: &mut Writer<'_>) -> Result<(), TooSmall> {
    0u32.put(w)?;
    kind.put(w)?;
    tag.put(w)
}

/// Where the payload of the message begins that starts with the bytes `head`;
/// it goes on to the end of the message ([`peek`] says where that is). `None`
/// if the message has no payload, if its count disagrees with its size, or if
/// `head` does not reach the payload.
#[inline]
pub fn payload_start(head: &[u8]) -> Option<usize> {
    let (size, kind, _) = peek(head)?;
    let start = match kind {
        RREAD | RREADDIR | RREADDIRATTR => READ_HEAD,
        TWRITE => WRITE_HEAD,
        TPUT => return put_start(head, size as usize),
        _ => return None,
    };
    let at = start.checked_sub(4)?;
    let count = u32::from_le_bytes(*head.get(at..)?.first_chunk::<4>()?);
    (start.checked_add(count as usize)? == size as usize).then_some(start)
}

/// The same for a `Tput`, whose operations have to be read.
fn put_start(head: &[u8], size: usize) -> Option<usize> {
    /// fid, wid, ack, flags, off, into and known.
    const FIXED: usize = 4 + 8 + 8 + 4 + 8 + 4 + 8;
    let mut fields = Reader::new(head.get(HEADER + FIXED..)?);
    let ops = fields.get::<PutOps<'_>>().ok()?;
    let start = head.len() - fields.left();
    let off = u64::from_le_bytes(*head.get(HEADER + 24..)?.first_chunk::<8>()?);
    check_put(off, &ops, size.checked_sub(start)?).ok()?;
    Some(start)
}
