//! The resources that clients hold at a server that kills them, which must come
//! back.

use alloc::vec;
use alloc::vec::Vec;
use ninep::consts::put;
use ninep::{Changes, Reply, Request};
use rt::{File, process, send, sys};

/// Messages of writes that the kernel has in flight at most: a tag each, but one that is
/// kept for a Tflush.
const HELD: usize = 63;

/// The state of [`crate::tiny::Fault::Kills`].
#[derive(Default)]
pub struct Kills {
    /// Snapshots made and not given back.
    snapfids: Vec<u32>,
    /// Writes staged, and neither committed nor given up.
    wids: Vec<u64>,
    /// Tags of staged messages that have no answer yet.
    unanswered: Vec<u16>,
}

impl Kills {
    /// Returns true if no client holds anything.
    pub fn has_all_back(&self) -> bool {
        self.snapfids.is_empty() && self.wids.is_empty()
    }

    /// Meets a request before it is answered; `true`: it is not to be.
    pub fn meet(&mut self, channel: &File, tag: u16, request: &Request<'_>) -> bool {
        match *request {
            Request::Snap { snapfid, off, .. } => {
                self.snapfids.push(snapfid);
                // The answer comes before the process has run again.
                let _ = process::kill(off, "asked for a snapshot");
            }
            Request::Clunk { fid } => self.snapfids.retain(|other| *other != fid),
            Request::Put {
                wid, flags, off, ..
            } => {
                self.wids.retain(|other| *other != wid);
                if flags & (put::COMMIT | put::ABORT) == 0 {
                    self.wids.push(wid);
                    self.stage(channel, tag, off);
                    return true;
                }
            }
            _ => {}
        }
        false
    }

    /// With as many in flight as may be the writer waits, and ends waiting; all is answered
    /// when it is gone.
    fn stage(&mut self, channel: &File, tag: u16, writer: u64) {
        self.unanswered.push(tag);
        if self.unanswered.len() < HELD {
            return;
        }
        let _ = process::kill(writer, "wrote much");
        let _ = sys::sleep(30_000_000);
        let mut out = vec![0; 128];
        for tag in self.unanswered.drain(..) {
            let reply = Reply::Put {
                off: writer,
                count: 0,
                epoch: 0,
                assoc: false,
                changes: Changes::NONE,
            };
            if let Ok(len) = ninep::encode_reply(tag, &reply, &mut out) {
                let _ = send(channel, [&out[..len]]);
            }
        }
    }
}
