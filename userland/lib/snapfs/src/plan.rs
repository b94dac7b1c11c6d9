//! The plan of a commit: its operations checked one by one, and all sources
//! read that the write itself overwrites, before any change.

use crate::commit::Put;
use crate::conn::{Conn, Entry};
use crate::file::{File, Locked};
use crate::lent::Chunk;
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

/// One step of the plan.
pub struct Step<'a> {
    pub off: u64,
    pub len: u64,
    pub what: What<'a>,
}

/// Where a step's bytes are.
pub enum What<'a> {
    Bytes(Chunk<'a>),
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
    /// The number of bytes that may be read early although the write does not
    /// change them: while they are few, an error is found before any change.
    early: u64,
    /// It has bytes that it copies in memory: only one write at a time does.
    alone: Option<Held<'a>>,
}

impl<'a> Plan<'a> {
    fn room(&self) -> u64 {
        self.wmax - self.moved
    }

    /// Returns true if the write may change any of these bytes of a snapshot.
    /// Saved bytes do not change.
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
    /// Plans the operations up to the limit of one commit, and reads the bytes
    /// that it overwrites itself. Other sources stay in place, of any length,
    /// because the content of a snapshot does not change.
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

    /// One KEEP: the snapshot's bytes from `soff` on, but for long runs of zeros
    /// and, in place, for what is still so. Returns up to where.
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
        let in_place = file.is(&source.file) && soff == range.start;
        let reader = source.file.state.borrow().reader;
        if let Some(reader) = reader.filter(|_| !in_place) {
            self.verify_zeros(&source.file, reader).await;
        }
        let source = Source { source, in_place };
        let (mut at, end) = (soff, soff + (range.end - range.start));
        let to = |at: u64| range.start + (at - soff);
        while at < end {
            let (kept, until) = match source.kind(at..end) {
                Ok(next) => next,
                Err(_) if at > soff => break,
                Err(errno) => return Err(errno),
            };
            let next = match kept {
                Kept::InPlace => until,
                Kept::Zeros => at + plan_zeros(plan, file, &(to(at)..to(until))),
                Kept::Bytes => {
                    let until = source.bytes_until(until..end, at + plan.room());
                    match self.plan_bytes(plan, file, &source.source, at..until).await {
                        Ok(what) => plan.push(to(at), until - at, what),
                        Err(Errno::ESTALE) if in_place && at > soff => break,
                        Err(errno) => return Err(errno),
                    }
                    until
                }
            };
            if next == at {
                break;
            }
            at = next;
        }
        Ok(to(at))
    }

    /// Where a write finds bytes that it keeps: they are read now, if it overwrites
    /// them or they are few.
    async fn plan_bytes<'a>(
        &'a self,
        plan: &mut Plan<'a>,
        file: &Locked<'_>,
        source: &Rc<Snapshot>,
        bytes: Range<u64>,
    ) -> Result<What<'a>, Errno> {
        let len = bytes.end - bytes.start;
        if len <= plan.early {
            plan.early -= len;
            return self
                .copied(source, bytes.start, len)
                .await
                .map(What::Copied);
        }
        if !plan.overwrites(file, source, &bytes)? {
            return Ok(What::Kept(source.clone(), bytes.start));
        }
        if plan.alone.is_none() {
            plan.alone = Some(self.copying.exclusive().await);
        }
        self.copied(source, bytes.start, len)
            .await
            .map(What::Copied)
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

/// What a write does with bytes that it keeps.
#[derive(PartialEq, Eq)]
enum Kept {
    /// Nothing: they are there.
    InPlace,
    /// It makes zeros.
    Zeros,
    /// It copies them.
    Bytes,
}

/// Where kept bytes come from.
struct Source {
    source: Rc<Snapshot>,
    /// They are to be where they were.
    in_place: bool,
}

impl Source {
    /// What is done with the first of `bytes`, and up to where with the others.
    ///
    /// # Errors
    /// As [`Snapshot::run`].
    fn kind(&self, bytes: Range<u64>) -> Result<(Kept, u64), Errno> {
        let start = bytes.start;
        let (place, until) = match self.in_place {
            true => self.source.run(bytes)?,
            false => self.source.run_to_copy(bytes)?,
        };
        let kept = match place {
            Place::Live if self.in_place => Kept::InPlace,
            Place::Zero if until - start >= ZEROS_MIN => Kept::Zeros,
            _ => Kept::Bytes,
        };
        Ok((kept, until))
    }

    /// Up to where the first of `rest` are copied like those before them, to
    /// `most` at most.
    fn bytes_until(&self, rest: Range<u64>, most: u64) -> u64 {
        let mut until = rest.start;
        while until < rest.end.min(most)
            && let Ok((Kept::Bytes, next)) = self.kind(until..rest.end)
        {
            until = next;
        }
        until.min(most)
    }
}

/// Plans zeros for `range`, as far as there is room. Known zeros are left
/// alone, and a range past the end of the file needs only its last byte.
/// Returns the number of bytes.
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
