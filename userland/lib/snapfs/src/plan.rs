//! What a commit is going to write: its operations looked at one by one, with
//! everything read that is to be copied from where the write itself goes, before
//! anything is changed.

use crate::budget::reserve;
use crate::commit::Put;
use crate::conn::{Conn, Entry};
use crate::file::{File, Locked};
use crate::put::Bytes;
use crate::snap::Snapshot;
use crate::sync::Held;
use crate::versions::Place;
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::PutKind;

/// Runs of zeros from this size on are not copied but made: shorter ones would
/// only tear a copy into pieces.
const ZEROS_MIN: u64 = 128 << 10;

/// One thing to apply.
pub struct Step<'a> {
    pub off: u64,
    pub len: u64,
    pub what: What<'a>,
}

/// Where a step's bytes are.
pub enum What<'a> {
    Bytes(&'a [u8]),
    /// Read before the write changes them.
    Copied(Vec<u8>),
    /// In a snapshot from this offset on; the write changes none of them.
    Kept(Rc<Snapshot>, u64),
    Zeros,
}

/// Everything to apply, in ascending order.
pub struct Plan<'a> {
    pub steps: Vec<Step<'a>>,
    /// Bytes of the write that have been planned, from the base.
    pub count: u64,
    /// All bytes that the write is about.
    hull: Range<u64>,
    /// Bytes that will be written, and the most.
    moved: u64,
    wmax: u64,
    /// Why it does not go on.
    pub error: Option<Errno>,
    /// So many bytes may yet be read early, though the write does not change them:
    /// while they are few, an error is found before anything is done.
    early: u64,
    /// It has bytes that it copies in memory: only one write at a time does.
    alone: Option<Held<'a>>,
}

impl<'a> Plan<'a> {
    fn room(&self) -> u64 {
        self.wmax - self.moved
    }

    /// May the write change any of these bytes of a snapshot? Those that were
    /// saved it does not.
    fn overwrites(
        &self,
        file: &File,
        source: &Snapshot,
        bytes: &Range<u64>,
    ) -> Result<bool, Errno> {
        let (start, end) = (self.hull.start, self.hull.end);
        if !core::ptr::eq(&*source.file, file) || bytes.end <= start || end <= bytes.start {
            return Ok(false);
        }
        let mut at = bytes.start;
        while at < bytes.end {
            let (place, until) = source.run(at..bytes.end)?;
            if place == Place::Live {
                return Ok(true);
            }
            at = until;
        }
        Ok(false)
    }

    fn push(&mut self, off: u64, len: u64, what: What<'a>) {
        if len > 0 {
            self.moved += len;
            self.steps.push(Step { off, len, what });
        }
    }
}

impl<B: Backing> Snapfs<B> {
    /// Decides what is to be done, as far as one commit goes, and reads what it
    /// is itself going to overwrite. Other sources stay where they are, however
    /// many bytes they have: what a snapshot has does not change.
    pub(crate) async fn plan<'a>(
        &'a self,
        conn: &Conn,
        file: &Locked<'_>,
        base: u64,
        put: &Put<'a>,
    ) -> Plan<'a> {
        let end = put.ops.last().map_or(0, |op| op.off + op.len);
        let mut plan = Plan {
            steps: Vec::new(),
            count: 0,
            hull: base..base + end,
            moved: 0,
            wmax: self.wmax,
            error: None,
            early: u64::from(self.backing.iounit()),
            alone: None,
        };
        let mut data = put.data;
        for op in put.ops {
            let range = base + op.off..base + op.off + op.len;
            let planned = match op.kind {
                PutKind::Data => Ok(plan_data(&mut plan, &mut data, &range)),
                PutKind::Zero => Ok(range.start + plan_zeros(&mut plan, file, &range)),
                PutKind::Keep { snapfid, soff } => {
                    let (steps, moved) = (plan.steps.len(), plan.moved);
                    let kept = self
                        .plan_keep(conn, &mut plan, file, (snapfid, soff), &range)
                        .await;
                    if kept.is_err() {
                        plan.steps.truncate(steps);
                        plan.moved = moved;
                    }
                    kept
                }
            };
            match planned {
                Ok(until) => plan.count = until - base,
                Err(errno) => plan.error = Some(errno),
            }
            if plan.error.is_some() || base + plan.count < range.end {
                break;
            }
        }
        plan
    }

    /// One KEEP. Returns up to where.
    async fn plan_keep<'a>(
        &'a self,
        conn: &Conn,
        plan: &mut Plan<'a>,
        file: &Locked<'_>,
        (snapfid, soff): (u32, u64),
        range: &Range<u64>,
    ) -> Result<u64, Errno> {
        let Entry::Snap(source) = conn.get(snapfid)? else {
            return Err(Errno::EBADF);
        };
        if file.is(&source.file) && soff == range.start {
            self.plan_restore(plan, file, &source, range).await
        } else {
            self.plan_copy(plan, file, &source, soff, range).await
        }
    }

    /// KEEP in place: what others changed is restored, the rest costs
    /// nothing. Returns up to where.
    async fn plan_restore<'a>(
        &'a self,
        plan: &mut Plan<'a>,
        file: &Locked<'_>,
        source: &Rc<Snapshot>,
        range: &Range<u64>,
    ) -> Result<u64, Errno> {
        let mut at = range.start;
        while at < range.end {
            let (place, mut until) = match source.run(at..range.end) {
                Ok(run) => run,
                Err(_) if at > range.start => break,
                Err(errno) => return Err(errno),
            };
            if place != Place::Live {
                while until < range.end
                    && until - at <= plan.room()
                    && let Ok((next, end)) = source.run(until..range.end)
                    && next != Place::Live
                {
                    until = end;
                }
                let part = at..until;
                let copied = self.plan_copy(plan, file, source, at, &part).await;
                match copied {
                    Ok(end) if end == until => {}
                    Err(Errno::ESTALE) if at > range.start => break,
                    short => return short,
                }
            }
            at = until;
        }
        Ok(at)
    }

    /// KEEP elsewhere: the snapshot's bytes from `soff` on, but for long runs of
    /// zeros. Returns up to where.
    async fn plan_copy<'a>(
        &'a self,
        plan: &mut Plan<'a>,
        file: &Locked<'_>,
        source: &Rc<Snapshot>,
        soff: u64,
        range: &Range<u64>,
    ) -> Result<u64, Errno> {
        let reader = source.file.state.borrow().reader;
        if let Some(reader) = reader {
            self.verify_zeros(&source.file, reader).await;
        }
        let (mut at, end) = (soff, soff + (range.end - range.start));
        let to = |at: u64| range.start + (at - soff);
        while at < end {
            let (zeros, until) = match next_copy(source, at..end, plan.room()) {
                Ok(next) => next,
                Err(_) if at > soff => break,
                Err(errno) => return Err(errno),
            };
            let done = if zeros {
                plan_zeros(plan, file, &(to(at)..to(until)))
            } else {
                let len = (until - at).min(plan.room());
                let bytes = at..at + len;
                let what = if len <= plan.early {
                    plan.early -= len;
                    self.read_now(source, bytes).await?
                } else if plan.overwrites(file, source, &bytes)? {
                    if plan.alone.is_none() {
                        plan.alone = Some(self.copying.exclusive().await);
                    }
                    self.read_now(source, bytes).await?
                } else {
                    What::Kept(source.clone(), at)
                };
                plan.push(to(at), len, what);
                len
            };
            at += done;
            if at < until {
                break;
            }
        }
        Ok(to(at))
    }

    /// Bytes of a snapshot that the write may overwrite, or a few.
    async fn read_now<'a>(&self, source: &Snapshot, bytes: Range<u64>) -> Result<What<'a>, Errno> {
        let (len, mut copied) = (bytes.end - bytes.start, Vec::new());
        reserve(&mut copied, len as usize)?;
        self.copy_snapshot(source, bytes.start, len, &mut copied)
            .await?;
        match copied.len() as u64 == len {
            true => Ok(What::Copied(copied)),
            false => Err(Errno::ESTALE),
        }
    }
}

/// Plans bytes that came with the write. Returns up to where.
fn plan_data<'a>(plan: &mut Plan<'a>, data: &mut Bytes<'a>, range: &Range<u64>) -> u64 {
    let mut at = range.start;
    while at < range.end {
        let most = (range.end - at).min(plan.room());
        let bytes = data.take(most as usize);
        if bytes.is_empty() {
            break;
        }
        plan.push(at, bytes.len() as u64, What::Bytes(bytes));
        at += bytes.len() as u64;
    }
    at
}

/// What to copy next from `bytes` of a snapshot: a long run of zeros (`true`),
/// or what comes before one. Looks no further than `room` bytes and a run.
fn next_copy(source: &Snapshot, bytes: Range<u64>, room: u64) -> Result<(bool, u64), Errno> {
    let long = |at: u64| {
        let (place, until) = source.run_to_copy(at..bytes.end)?;
        Ok::<_, Errno>((place == Place::Zero && until - at >= ZEROS_MIN, until))
    };
    let (zeros, mut until) = long(bytes.start)?;
    while !zeros
        && until < bytes.end
        && until - bytes.start < room
        && let Ok((false, end)) = long(until)
    {
        until = end;
    }
    Ok((zeros, until))
}

/// Plans zeros for `range`, as far as there is room. What is known to be zeros
/// is left alone, and what is past the end of the file needs only its last
/// byte. Returns how many bytes.
fn plan_zeros(plan: &mut Plan<'_>, file: &File, range: &Range<u64>) -> u64 {
    let planned_end = plan.steps.last().map_or(0, |step| step.off + step.len);
    let state = file.state.borrow();
    let size = state.size.max(planned_end);
    let inside = range.end.min(size);
    let mut at = range.start;
    while at < inside {
        let known = state.zeros.next(at..inside).unwrap_or(inside..inside);
        let fits = (known.start - at).min(plan.room());
        plan.push(at, fits, What::Zeros);
        if at + fits < known.start {
            return at + fits - range.start;
        }
        at = known.end;
    }
    if at < range.end {
        let (off, len) = (at, range.end - at);
        let what = What::Zeros;
        plan.steps.push(Step { off, len, what });
    }
    range.end - range.start
}
