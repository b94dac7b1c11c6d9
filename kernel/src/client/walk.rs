//! Walks at a server, in as few requests as it can do them.
use super::remote::{Remote, open_flags, stat_of};
use super::{Mount, rpc};
use crate::counters;
use abi::{Errno, Stat, Stat64};
use alloc::sync::Arc;
use names::Last;
use ninep::client::Failed;
use ninep::consts::{MAXWELEM, NOFID, getattr, qid};
use ninep::{ByteStr, List, Qid, Reply, Request};

/// What is wanted of the file at the end of a walk.
#[derive(Clone, Copy)]
pub enum Aim {
    /// A fid that is not open.
    Fid,
    /// The file, open; [`abi::mode`] bits.
    Open(u32),
    /// Its attributes.
    Stat,
}

/// What was found at the end of a walk: what was wanted, or, from a server that does
/// not do it in one request, the fid.
pub enum Found {
    /// A fid that is not open.
    Fid(Remote),
    /// The file, open.
    Open(Remote),
    /// Its attributes.
    Stat(Stat),
}

impl Found {
    /// The fid of a walk that wants no more.
    fn fid(self) -> Result<Remote, Errno> {
        match self {
            Found::Fid(remote) => Ok(remote),
            Found::Open(_) | Found::Stat(_) => Err(Errno::EPROTO),
        }
    }

    /// The attributes.
    pub fn stat(self) -> Result<Stat, Errno> {
        match self {
            Found::Stat(stat) => Ok(stat),
            Found::Fid(remote) | Found::Open(remote) => remote.stat(),
        }
    }
}

/// Where a walk has led.
pub enum Reached {
    /// To the end.
    End(Found),
    /// The name with that index is a symbolic link; its fid, if it was the last
    /// one walked.
    Link(usize, Option<Remote>),
    /// The name with that index is nothing, or below something that has none.
    Nothing(usize, Errno),
}

/// One `Twalk`.
struct Step<'n> {
    names: &'n [ByteStr<'n>],
    from: u32,
    from_qid: Qid,
    /// Index of a name at which a link is no reason to stop.
    kept: Option<usize>,
    aim: Aim,
}

/// The qids of the names walked, and the attributes at the end.
type Walked = ([Qid; MAXWELEM], Option<Stat>);

impl Step<'_> {
    fn take(&self, mount: &Arc<Mount>) -> Result<Reached, Errno> {
        let aim = match mount.has_snapshots() {
            true => self.aim,
            false => Aim::Fid,
        };
        match (self.aimed(mount, aim), aim) {
            // A server that speaks no more of the dialect than the snapshots.
            (Err(Errno::EOPNOTSUPP), Aim::Open(_) | Aim::Stat) => self.aimed(mount, Aim::Fid),
            // A link was put at its end after the walk.
            (Err(Errno::ELOOP), Aim::Open(_)) => Err(Errno::ESTALE),
            (taken, _) => taken,
        }
    }

    fn request(&self, newfid: u32, aim: Aim) -> Request<'_> {
        let (fid, names) = (self.from, List::new(self.names));
        match aim {
            Aim::Fid => Request::Walk { fid, newfid, names },
            Aim::Open(mode) => Request::Walkopen {
                fid,
                newfid,
                flags: open_flags(mode),
                names,
            },
            Aim::Stat => Request::Walkattr {
                fid,
                mask: getattr::BASIC,
                names,
            },
        }
    }

    fn aimed(&self, mount: &Arc<Mount>, aim: Aim) -> Result<Reached, Errno> {
        // A Twalkattr makes none.
        let fid = match aim {
            Aim::Stat => None,
            Aim::Fid | Aim::Open(_) => Some(mount.new_fid()?),
        };
        let mut found: Walked = ([Qid::default(); MAXWELEM], None);
        let walked = match mount.call(&self.request(fid.unwrap_or(NOFID), aim)) {
            Ok(answer) => self.walked(mount, &answer, &mut found),
            Err(failed @ (Failed::Unsent(_) | Failed::Refused(_))) => Err(failed.errno()),
            Err(failed @ Failed::Lost(_)) => {
                // The server may have made it, or may do so yet.
                if let Some(fid) = fid {
                    mount.clunk_later(fid);
                }
                return Err(failed.errno());
            }
        };
        let (qids, stat) = found;
        let last = self.names.len().checked_sub(1).and_then(|at| qids.get(at));
        let qid = last.copied().unwrap_or(self.from_qid);
        let opens_no_link = matches!(aim, Aim::Open(_)) && qid.kind & qid::SYMLINK != 0;
        let arrived = walked == Ok(self.names.len());
        let end = match fid {
            None => stat.filter(|_| arrived).map(Found::Stat),
            Some(fid) if arrived && !opens_no_link => {
                counters::add(Stat64::Fids, 1);
                let mount = mount.clone();
                let remote = Remote { mount, fid, qid };
                Some(match aim {
                    Aim::Open(_) => Found::Open(remote),
                    Aim::Fid | Aim::Stat => Found::Fid(remote),
                })
            }
            // A walk that stops half way makes no fid.
            Some(fid) => {
                mount.free_fid(fid);
                None
            }
        };
        let walked = match walked {
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR)) => return Ok(Reached::Nothing(0, errno)),
            walked => walked?,
        };
        let mut links = qids.iter().take(walked).enumerate();
        let link = links.find(|(at, q)| q.kind & qid::SYMLINK != 0 && Some(*at) != self.kept);
        let end = match (link, end) {
            (Some((at, _)), end) if at + 1 == self.names.len() => {
                return Ok(Reached::Link(at, end.and_then(|end| end.fid().ok())));
            }
            (Some((at, _)), _) => return Ok(Reached::Link(at, None)),
            (None, end) => end,
        };
        let last = walked.checked_sub(1).and_then(|at| qids.get(at));
        let errno = match last.unwrap_or(&self.from_qid).kind & qid::DIR {
            0 => Errno::ENOTDIR,
            _ => Errno::ENOENT,
        };
        Ok(end.map_or(Reached::Nothing(walked, errno), Reached::End))
    }

    /// The number of names walked, and what was found.
    fn walked(
        &self,
        mount: &Mount,
        answer: &rpc::Answer,
        found: &mut Walked,
    ) -> Result<usize, Errno> {
        let walked = match answer.reply()? {
            Reply::Walk { qids } | Reply::Walkopen { qids } => qids,
            Reply::Walkattr { qids, attr } => {
                found.1 = Some(stat_of(mount, &attr));
                qids
            }
            _ => return Err(Errno::EPROTO),
        };
        for (slot, qid) in found.0.iter_mut().zip(walked.iter()) {
            *slot = qid;
        }
        match walked.len() <= self.names.len() {
            true => Ok(walked.len()),
            false => Err(Errno::EPROTO),
        }
    }
}

impl Remote {
    /// Walks from the root of `mount` along `path`: names separated by `/`. A
    /// link ends the walk, a link at the end of the path only if it is to be
    /// followed.
    ///
    /// # Errors
    /// Errors that are unrelated to the names.
    pub fn reach(mount: &Arc<Mount>, path: &[u8], last: Last, aim: Aim) -> Result<Reached, Errno> {
        let mut parts = path.split(|byte| *byte == b'/').filter(|p| !p.is_empty());
        let total = parts.clone().count();
        let mut names = [ByteStr::default(); MAXWELEM];
        let (mut here, mut done): (Option<Remote>, usize) = (None, 0);
        loop {
            let mut count = 0;
            for (slot, part) in names.iter_mut().zip(&mut parts) {
                *slot = ByteStr(part);
                count += 1;
            }
            let names = &names[..count];
            let (from, from_qid) = match &here {
                Some(here) => (here.fid, here.qid),
                None => mount.root(),
            };
            // A link before this name is followed in any case.
            let kept = (last == Last::Keep).then(|| total.wrapping_sub(done + 1));
            let ends = done + count == total;
            let step = Step {
                names,
                from,
                from_qid,
                kept,
                aim: if ends { aim } else { Aim::Fid },
            };
            match step.take(mount)? {
                Reached::End(found) if ends => return Ok(Reached::End(found)),
                Reached::End(next) => here = Some(next.fid()?),
                Reached::Link(index, link) => return Ok(Reached::Link(done + index, link)),
                Reached::Nothing(index, errno) => {
                    return Ok(Reached::Nothing(done + index, errno));
                }
            }
            done += count;
        }
    }

    /// The file `name` in this directory, a link itself.
    pub fn inside(&self, name: &[u8]) -> Result<Remote, Errno> {
        self.find_inside(name, Aim::Fid)?.fid()
    }

    /// The attributes of the file `name` in this directory, or of a link.
    pub fn stat_inside(&self, name: &[u8]) -> Result<Stat, Errno> {
        self.find_inside(name, Aim::Stat)?.stat()
    }

    fn find_inside(&self, name: &[u8], aim: Aim) -> Result<Found, Errno> {
        let step = Step {
            names: &[ByteStr(name)],
            from: self.fid,
            from_qid: self.qid,
            kept: Some(0),
            aim,
        };
        match step.take(&self.mount)? {
            Reached::End(found) => Ok(found),
            Reached::Nothing(_, errno) => Err(errno),
            Reached::Link(..) => Err(Errno::EPROTO),
        }
    }

    /// One more fid for the same file, not open.
    pub fn another(&self) -> Result<Remote, Errno> {
        let step = Step {
            names: &[],
            from: self.fid,
            from_qid: self.qid,
            kept: None,
            aim: Aim::Fid,
        };
        match step.take(&self.mount)? {
            Reached::End(found) => found.fid(),
            Reached::Link(..) | Reached::Nothing(..) => Err(Errno::EPROTO),
        }
    }
}
