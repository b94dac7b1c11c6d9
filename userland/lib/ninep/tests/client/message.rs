//! Messages, as far as they matter to the client.
use abi::Errno;
use dormouse_ninep as ninep;
use ninep::consts::{NOFID, put};
use ninep::{ByteStr, Changes, List, Qid, Reply, Request};

/// Messages are at most this long.
pub const MSIZE: u32 = 200;
/// The fid that all requests are about.
pub const FILE: u32 = 1000;

/// What matters of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Asked {
    Stat,
    Makes(u32),
    Part(u64),
    Commit(u64, u32),
    Trim,
    Flush(u16),
    Clunk(u32),
    Abort(u64),
}

/// A message on its way to the server, or there without a reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sent {
    pub tag: u16,
    pub asked: Asked,
}

/// How the server answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    Right,
    Error,
    /// With a message of another kind.
    Wrong,
    /// With a message longer than any may be.
    Long,
}

impl Asked {
    /// The fid that it makes, or adds to.
    pub fn made(self) -> Option<u32> {
        match self {
            Asked::Makes(fid) | Asked::Commit(_, fid) => Some(fid),
            _ => None,
        }
    }

    /// What the reply to it contains.
    pub fn content(self) -> u8 {
        match self {
            Asked::Makes(fid) => fid as u8,
            Asked::Commit(wid, _) => wid as u8,
            _ => NOFID as u8,
        }
    }
}

/// As a message.
pub fn request(asked: Asked) -> Request<'static> {
    let put = |wid, flags, into| Request::Put {
        fid: FILE,
        wid,
        ack: 0,
        flags,
        off: 0,
        into,
        known: 0,
        ops: List::new(&[]),
        data: &[],
    };
    match asked {
        Asked::Stat => Request::Getattr { fid: FILE, mask: 0 },
        Asked::Makes(fid) => Request::Walk {
            fid: FILE,
            newfid: fid,
            names: List::new(&[]),
        },
        Asked::Part(wid) => put(wid, 0, NOFID),
        Asked::Commit(wid, into) => put(wid, put::COMMIT, into),
        Asked::Trim => Request::Trim {
            snapfid: FILE,
            ranges: List::new(&[]),
        },
        Asked::Flush(oldtag) => Request::Flush { oldtag },
        Asked::Clunk(fid) => Request::Clunk { fid },
        Asked::Abort(wid) => put(wid, put::ABORT, NOFID),
    }
}

/// What the client sends on its own account.
pub fn asked(request: &Request<'_>) -> Asked {
    match *request {
        Request::Flush { oldtag } => Asked::Flush(oldtag),
        Request::Clunk { fid } => Asked::Clunk(fid),
        Request::Put { wid, .. } => Asked::Abort(wid),
        _ => panic!("the client sends {request:?}"),
    }
}

/// The reply to it, encoded; a message of another kind for [`Way::Wrong`].
pub fn reply(sent: Sent, way: Way) -> Vec<u8> {
    let right = match sent.asked {
        Asked::Stat => Reply::Getattr(Default::default()),
        Asked::Makes(_) => Reply::Walk {
            qids: List::new(&[]),
        },
        Asked::Part(_) | Asked::Commit(..) | Asked::Abort(_) => Reply::Put {
            off: 0,
            count: 0,
            epoch: 0,
            assoc: true,
            changes: Changes::NONE,
        },
        Asked::Trim => Reply::Trim,
        Asked::Flush(_) => Reply::Flush,
        Asked::Clunk(_) => Reply::Clunk,
    };
    let names = [Qid::default(); 16];
    let reply = match way {
        Way::Right => right,
        Way::Error => Reply::Error(Errno::EINTR),
        Way::Wrong => Reply::Version {
            msize: 0,
            version: ByteStr(b"no"),
        },
        Way::Long => Reply::Walk {
            qids: List::new(&names),
        },
    };
    let mut out = vec![0; 512];
    let len = ninep::encode_reply(sent.tag, &reply, &mut out).expect("it fits");
    out.truncate(len);
    out
}
