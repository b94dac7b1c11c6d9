//! What replies from below say, as far as they may be believed.
use ninep::consts::{IOHDRSZ, RREAD, VERSION_L};
use ninep::{Reply, decode_reply, payload_start, peek};
use rt::{Errno, Failure};

/// Bytes of data in the `Rread` to a request for `asked`.
///
/// # Errors
/// What came instead; `EPROTO`: nothing that may come, or more than was asked
/// for.
#[inline]
pub fn read(reply: &[u8], asked: usize) -> Result<usize, Errno> {
    if matches!(peek(reply), Some((_, RREAD, _))) {
        // Not decoded any further: this is what a page fault waits for.
        let start = payload_start(reply).ok_or(Errno::EPROTO)?;
        let got = reply.len() - start;
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

/// The msize that was agreed on, and the most data in one message: whole pages.
///
/// # Errors
/// There is nothing that `who` and we agree on.
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
