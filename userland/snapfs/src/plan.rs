//! What a commit is going to write: its operations looked at one by one, with
//! everything read that is to be copied, before anything is changed.

use crate::commit::Put;
use crate::conn::{Conn, Entry};
use crate::file::File;
use crate::journal::Place;
use crate::put::WMAX;
use crate::snap::Snapshot;
use crate::{Backing, Snapfs};
use abi::Errno;
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
    Copied(Vec<u8>),
    Zeros,
}

/// Everything to apply, in ascending order.
#[derive(Default)]
pub struct Plan<'a> {
    pub steps: Vec<Step<'a>>,
    /// Bytes of the write that have been planned, from the base.
    pub count: u64,
    /// Bytes that will be written.
    moved: u64,
    /// Why it does not go on.
    pub error: Option<Errno>,
}

impl<'a> Plan<'a> {
    fn room(&self) -> u64 {
        WMAX - self.moved
    }

    fn push(&mut self, off: u64, len: u64, what: What<'a>) {
        if len > 0 {
            self.moved += len;
            self.steps.push(Step { off, len, what });
        }
    }
}

impl<B: Backing> Snapfs<B> {
    /// Decides what is to be done and reads every source, as far as one
    /// commit goes.
    pub(crate) async fn plan<'a>(
        &self,
        conn: &Conn,
        file: &File,
        base: u64,
        put: &Put<'a>,
    ) -> Plan<'a> {
        let mut plan = Plan::default();
        let mut data = put.data;
        for op in put.ops {
            let range = base + op.off..base + op.off + op.len;
            let planned = match op.kind {
                PutKind::Data => {
                    let len = (op.len as usize).min(data.len());
                    let (bytes, rest) = data.split_at(len);
                    data = rest;
                    let bytes = &bytes[..len.min(plan.room() as usize)];
                    plan.push(range.start, bytes.len() as u64, What::Bytes(bytes));
                    Ok(range.start + bytes.len() as u64)
                }
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
    async fn plan_keep(
        &self,
        conn: &Conn,
        plan: &mut Plan<'_>,
        file: &File,
        (snapfid, soff): (u32, u64),
        range: &Range<u64>,
    ) -> Result<u64, Errno> {
        let Entry::Snap(source) = conn.get(snapfid)? else {
            return Err(Errno::EBADF);
        };
        if core::ptr::eq(&*source.file, file) && soff == range.start {
            self.plan_restore(plan, &source, range).await
        } else {
            self.plan_copy(plan, file, &source, soff, range).await
        }
    }

    /// KEEP in place: what somebody changed is restored, the rest costs
    /// nothing. Returns up to where.
    async fn plan_restore(
        &self,
        plan: &mut Plan<'_>,
        source: &Snapshot,
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
                let copied = self.plan_copy(plan, &source.file, source, at, &part).await;
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

    /// KEEP elsewhere: the snapshot's bytes from `soff` on are read now, but
    /// for long runs of zeros. Returns up to where.
    async fn plan_copy(
        &self,
        plan: &mut Plan<'_>,
        file: &File,
        source: &Snapshot,
        soff: u64,
        range: &Range<u64>,
    ) -> Result<u64, Errno> {
        self.settle_doubt(&source.file).await;
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
                let mut bytes = Vec::new();
                if len > 0 {
                    self.copy_snapshot(source, at, len, &mut bytes).await?;
                }
                let len = bytes.len() as u64;
                plan.push(to(at), len, What::Copied(bytes));
                len
            };
            at += done;
            if at < until {
                break;
            }
        }
        Ok(to(at))
    }
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
