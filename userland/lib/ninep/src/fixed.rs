//! The messages of a page fault, `Tread` and the head of `Rread`: a few fields, all at
//! fixed places, written and read at once.
use crate::Request;
use crate::consts::{READ_HEAD, RREAD, TREAD};

/// Bytes of a `Tread`.
pub const TREAD_LEN: usize = 23;

/// Tag and content of a `Tread`; `None`: it is none.
#[inline]
pub fn tread(msg: &[u8]) -> Option<(u16, Request<'static>)> {
    let msg: &[u8; TREAD_LEN] = msg.try_into().ok()?;
    let [
        s0,
        s1,
        s2,
        s3,
        kind,
        t0,
        t1,
        f0,
        f1,
        f2,
        f3,
        o0,
        o1,
        o2,
        o3,
        o4,
        o5,
        o6,
        o7,
        c0,
        c1,
        c2,
        c3,
    ] = *msg;
    if kind != TREAD || u32::from_le_bytes([s0, s1, s2, s3]) != TREAD_LEN as u32 {
        return None;
    }
    let request = Request::Read {
        fid: u32::from_le_bytes([f0, f1, f2, f3]),
        offset: u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
        count: u32::from_le_bytes([c0, c1, c2, c3]),
    };
    Some((u16::from_le_bytes([t0, t1]), request))
}

/// A `Tread`.
#[inline]
pub fn put_tread(tag: u16, fid: u32, offset: u64, count: u32) -> [u8; TREAD_LEN] {
    let mut out = [0; TREAD_LEN];
    out[..4].copy_from_slice(&(TREAD_LEN as u32).to_le_bytes());
    out[4] = TREAD;
    out[5..7].copy_from_slice(&tag.to_le_bytes());
    out[7..11].copy_from_slice(&fid.to_le_bytes());
    out[11..19].copy_from_slice(&offset.to_le_bytes());
    out[19..].copy_from_slice(&count.to_le_bytes());
    out
}

/// The head of an `Rread` with `len` bytes of data; `None`: there are too many.
#[inline]
pub fn put_rread(tag: u16, len: usize) -> Option<[u8; READ_HEAD]> {
    let size = u32::try_from(len.checked_add(READ_HEAD)?).ok()?;
    let mut out = [0; READ_HEAD];
    out[..4].copy_from_slice(&size.to_le_bytes());
    out[4] = RREAD;
    out[5..7].copy_from_slice(&tag.to_le_bytes());
    out[7..].copy_from_slice(&(len as u32).to_le_bytes());
    Some(out)
}
