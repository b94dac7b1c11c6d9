//! A server that lies in the answers to messages of several steps: the program gets what
//! it would get by single steps.

use super::Case;
use crate::check::{Verdict, fails};
use crate::liar::{Liar, Next, Turn, served_at};
use alloc::collections::BTreeSet;
use alloc::format;
use ninep::consts::qid;
use ninep::{Attr, Names, Qid, Qids, Reply, Request};
use rt::abi::mode;
use rt::{Errno, File};

pub const CASES: &[Case] = &[
    Case::new("steps.lies", || lies(true)),
    Case::new("steps.lies.single", || lies(false)),
];

const fn of_kind(kind: u8) -> Qid {
    Qid {
        kind,
        version: 1,
        path: 78,
    }
}

const FILE: Qid = of_kind(0);
const DIR: Qid = of_kind(qid::DIR);
const LINK: Qid = of_kind(qid::SYMLINK);

/// The qids along a path of the server.
fn qids(names: Names<'_>) -> ([Qid; 2], usize) {
    let mut all = [FILE; 2];
    for (at, (name, qid)) in names.iter().zip(&mut all).enumerate() {
        *qid = match name.bytes() {
            b"dir" | b"real" => DIR,
            // What is below a link is not to be believed.
            b"link" | b"middle" => LINK,
            b"none" => return (all, at),
            _ => FILE,
        };
    }
    (all, names.len())
}

/// The fids that the server has given out.
#[derive(Default)]
struct Fids(BTreeSet<u32>);

impl Fids {
    /// Answers the request, if it is not for the honest server.
    fn meet(&mut self, turn: &mut Turn<'_>, combined: bool) -> Next {
        let (many, none) = ([FILE; 3], Reply::Error(Errno::EOPNOTSUPP));
        let (all, count, linked);
        let reply = match *turn.request {
            Request::Attach { .. } => Reply::Attach { qid: DIR },
            Request::Walk { newfid, names, .. } => {
                (all, count) = qids(names);
                if count == names.len() {
                    self.0.insert(newfid);
                }
                match count {
                    0 if !names.is_empty() => Reply::Error(Errno::ENOENT),
                    _ => Reply::Walk {
                        qids: Qids::new(&all[..count]),
                    },
                }
            }
            Request::Walkopen { .. } | Request::Walkattr { .. } if !combined => none,
            Request::Walkopen { newfid, names, .. } => {
                (all, count) = qids(names);
                let last = names.iter().last().unwrap_or_default();
                linked = all[count.saturating_sub(1)] == LINK;
                match last.bytes() {
                    b"loop" => Reply::Error(Errno::ELOOP),
                    b"many" => Reply::Walkopen {
                        qids: Qids::new(&many),
                    },
                    _ if count == 0 => Reply::Error(Errno::ENOENT),
                    _ => {
                        if count == names.len() && !linked {
                            self.0.insert(newfid);
                        }
                        Reply::Walkopen {
                            qids: Qids::new(&all[..count]),
                        }
                    }
                }
            }
            Request::Walkattr { names, .. } => {
                (all, count) = qids(names);
                let last = names.iter().last().unwrap_or_default();
                match last.bytes() {
                    b"many" => Reply::Walkattr {
                        qids: Qids::new(&many),
                        attr: Attr::default(),
                    },
                    _ => Reply::Walkattr {
                        qids: Qids::new(&all[..count]),
                        attr: Attr::default(),
                    },
                }
            }
            Request::Readlink { .. } => Reply::Readlink {
                target: "real".into(),
            },
            Request::Clunk { fid } if !self.0.remove(&fid) => return Next::End(5),
            _ => return Next::Honest,
        };
        match turn.reply(turn.tag, &reply) {
            Ok(()) => Next::Done,
            Err(_) => Next::End(4),
        }
    }
}

/// What a program may not get: a directory open for writing, a file below a link that the
/// server has followed. All fids are given back.
fn lies(combined: bool) -> Verdict {
    let serve = |channel: &File| {
        let mut fids = Fids::default();
        let status = Liar::WITH_SNAPSHOTS.serve(channel, |turn| fids.meet(turn, combined));
        match fids.0.is_empty() {
            true => status,
            false => 6,
        }
    };
    served_at("/mnt", serve, |path| {
        let open = |name: &str, mode| File::open(format!("{path}/{name}").as_str(), mode).map(drop);
        for writing in [
            mode::OWRITE,
            mode::ORDWR,
            mode::OREAD | mode::OTRUNC,
            mode::OWRITE | mode::OAPPEND,
        ] {
            fails("opening a directory", open("dir", writing), Errno::EISDIR)?;
            fails("by a link", open("link", writing), Errno::EISDIR)?;
        }
        open("dir", mode::OREAD)?;
        open("link", mode::OREAD)?;
        open("file", mode::ORDWR)?;
        open("dir/file", mode::ORDWR)?;
        open("middle/file", mode::ORDWR)?;
        fails("nothing", open("none", mode::OREAD), Errno::ENOENT)?;
        fails("nothing", open("dir/none", mode::OREAD), Errno::ENOENT)?;
        fails("below it", open("none/file", mode::OREAD), Errno::ENOENT)?;
        if combined {
            // A link in the place of the file: the name is walked to again.
            fails("a link", open("loop", mode::OREAD), Errno::ESTALE)?;
            fails("more names", open("many", mode::OREAD), Errno::EPROTO)?;
            let stat = File::stat_path(format!("{path}/many").as_str());
            fails("more names", stat, Errno::EPROTO)?;
        }
        Ok(())
    })
}
