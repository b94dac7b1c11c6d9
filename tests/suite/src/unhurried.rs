//! A file server that takes its time for reads of snapshots, and drops a read at once
//! when that is flushed.

use crate::tiny::{Fault, Tiny};
use alloc::vec;
use ninep::Request;
use rt::abi::Received;
use rt::{Errno, File, Port, send};

/// How long a read takes.
const READ_NS: u64 = 60_000_000;
const MESSAGE: usize = 128 * 1024;

/// Serves until the other end is closed. The status is 1 after an error.
pub fn serve(channel: &File) -> u8 {
    u8::from(try_serve(channel).is_err())
}

fn try_serve(channel: &File) -> Result<(), Errno> {
    let tiny = Tiny {
        snapshots: true,
        fault: Fault::None,
    };
    let mut content = crate::check::patterned(crate::tiny::SEED, 0, crate::tiny::LEN);
    let (mut message, mut out) = (vec![0; MESSAGE], vec![0; MESSAGE]);
    let port = Port::new()?;
    port.add(channel, 0)?;
    // A read that has no answer yet.
    let mut held = None;
    loop {
        let patience = if held.is_some() { READ_NS } else { u64::MAX };
        let request = match port.receive(&mut message, patience) {
            Ok(received) if received.kind == Received::HANGUP => return Ok(()),
            Ok(received) => message[..received.len as usize].to_vec(),
            Err(Errno::ETIMEDOUT) => held.take().ok_or(Errno::EIO)?,
            Err(errno) => return Err(errno),
        };
        let (tag, decoded) = ninep::decode_request(&request).map_err(|_| Errno::EPROTO)?;
        match decoded {
            Request::Read { .. } if patience == u64::MAX => {
                held = Some(request);
                continue;
            }
            Request::Flush { .. } => held = None,
            _ => {}
        }
        let len = tiny.respond(tag, &decoded, &mut content, &mut out);
        if send(channel, [&out[..len.ok_or(Errno::EPROTO)?]]).is_err() {
            return Ok(());
        }
    }
}
