//! What a commit is going to write: its operations looked at one by one, with
//! everything read that is to be copied, before anything is changed.

use crate::commit::Put;
use crate::conn::{Conn, Entry};
use crate::file::File;
use crate::put::WMAX;
use crate::snap::Snapshot;
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::PutKind;

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
            self.plan_copy(plan, &source, soff, range).await
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
        let (changed, lost) = source.changed(range.clone());
        for part in changed {
            let until = self.plan_copy(plan, source, part.start, &part).await?;
            if until < part.end {
                return Ok(until);
            }
        }
        match lost {
            Some(at) if at == range.start => Err(Errno::ESTALE),
            Some(at) => Ok(at),
            None => Ok(range.end),
        }
    }

    /// KEEP elsewhere: the snapshot's bytes from `soff` on are read now.
    async fn plan_copy(
        &self,
        plan: &mut Plan<'_>,
        source: &Snapshot,
        soff: u64,
        range: &Range<u64>,
    ) -> Result<u64, Errno> {
        let len = (range.end - range.start).min(plan.room());
        let mut bytes = Vec::new();
        if len > 0 {
            self.copy_snapshot(source, soff, len, &mut bytes).await?;
        }
        let len = bytes.len() as u64;
        plan.push(range.start, len, What::Copied(bytes));
        Ok(range.start + len)
    }
}

/// Plans zeros for `range`, as far as there is room; those past the end of
/// the file need none. Returns how many.
fn plan_zeros(plan: &mut Plan<'_>, file: &File, range: &Range<u64>) -> u64 {
    let (off, len) = (range.start, range.end - range.start);
    let planned_end = plan.steps.last().map_or(0, |step| step.off + step.len);
    let size = file.state.borrow().size.max(planned_end);
    let inside = size.saturating_sub(off).min(len);
    let fits = inside.min(plan.room());
    let len = if fits < inside { fits } else { len };
    if len > 0 {
        plan.moved += fits;
        plan.steps.push(Step {
            off,
            len,
            what: What::Zeros,
        });
    }
    len
}
