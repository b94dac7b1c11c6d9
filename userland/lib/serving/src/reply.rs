//! Replies of the lower server, checked.
use ninep::consts::{IOHDRSZ, READ_HEAD, RREAD, VERSION_L};
use ninep::{Reply, decode_reply, peek};
use rt::{Errno, Failure};

/// Bytes of data in the `Rread`, of which the head is here, to a request for `asked`
/// bytes.
///
/// # Errors
/// The error that the server answered; `EPROTO` for any other message and for
/// more data than was asked for.
#[inline]
pub fn read(reply: &[u8], asked: usize) -> Result<usize, Errno> {
    if let Some((size, RREAD, _)) = peek(reply) {
        // Not decoded further: a page fault is waiting for it.
        let got = (size as usize)
            .checked_sub(READ_HEAD)
            .ok_or(Errno::EPROTO)?;
        return (got <= asked).then_some(got).ok_or(Errno::EPROTO);
    }
    match decode_reply(reply) {
        Ok((_, Reply::Error(errno))) => Err(errno),
        _ => Err(Errno::EPROTO),
    }
}

/// Bytes that a `Twrite` of `given` has written; errors as for [`read`].
pub fn written(reply: &[u8], given: usize) -> Result<u32, Errno> {
    match decode_reply(reply) {
        Ok((_, Reply::Write { count })) if count as usize <= given => Ok(count),
        Ok((_, Reply::Error(errno))) => Err(errno),
        _ => Err(Errno::EPROTO),
    }
}

/// The agreed msize, and the most data in one message: whole pages.
///
/// # Errors
/// `who` and this server have no version in common.
pub fn version(reply: &[u8], offered: u32, who: &str) -> Result<(u32, u32), Failure> {
    let Ok((_, Reply::Version { msize, version })) = decode_reply(reply) else {
        return Err(Failure::new(format_args!("{who}: no answer to Tversion")));
    };
    if version != VERSION_L {
        return Err(Failure::new(format_args!(
            "{who}: does not speak {VERSION_L}"
        )));
    }
    let (msize, page) = (msize.min(offered), rt::abi::PAGE as u32);
    match msize.saturating_sub(IOHDRSZ) / page * page {
        0 => Err(Failure::new(format_args!("{who}: msize too small"))),
        data => Ok((msize, data)),
    }
}
