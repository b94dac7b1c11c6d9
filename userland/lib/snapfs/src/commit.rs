//! The commit of a write: under the file's lock, first everything is looked
//! at and every source read, then every rescue done, then the write applied
//! in ascending order, then times, then the epoch.

use crate::budget::Growth;
use crate::conn::{Conn, Entry, Open};
use crate::doubt::Failed;
use crate::file::{File, HOLLOW_MIN, Locked, SIZE_MAX};
use crate::options::Check;
use crate::plan::Plan;
use crate::put::Bytes;
use crate::snap::Snapshot;
use crate::versions::{ENTRY, RANGE};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::consts::setattr;
use ninep::{Changes, PutKind, PutOp, Reply, SetAttr};

/// Bytes that one more of many small ranges takes.
const SPAN: usize = 4 * ENTRY;

/// A write as staged.
pub struct Put<'a> {
    /// The base; `None`: the end of the file.
    pub off: Option<u64>,
    pub ops: &'a [PutOp],
    pub data: Bytes<'a>,
    /// The snapfid that the result becomes part of.
    pub into: Option<u32>,
}

/// The result of a write.
#[derive(Clone, Copy)]
pub struct Done {
    off: u64,
    /// Bytes done from `off`.
    pub count: u64,
    /// The file's epoch afterwards.
    epoch: u64,
    assoc: bool,
}

impl Done {
    /// As a reply that lists `changes`.
    pub fn reply<'c>(&self, changes: Changes<'c>) -> Reply<'c> {
        let &Done {
            off,
            count,
            epoch,
            assoc,
        } = self;
        Reply::Put {
            off,
            count,
            epoch,
            assoc,
            changes,
        }
    }
}

/// The snapshot that a write becomes part of.
enum Target {
    /// An existing snapshot.
    Old(Rc<Snapshot>),
    /// To be made when something has been written.
    New(u32),
}

impl Target {
    fn find(conn: &Conn, snapfid: u32, file: &Rc<File>) -> Result<Target, Errno> {
        match conn.get(snapfid) {
            Ok(Entry::Snap(snapshot)) if Rc::ptr_eq(&snapshot.file, file) => {
                Ok(Target::Old(snapshot))
            }
            Ok(_) => Err(Errno::EINVAL),
            Err(_) => Ok(Target::New(snapfid)),
        }
    }
}

/// Whether a write has to save blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Saving {
    /// None: only the snapshot that the write becomes part of refers to them, at the
    /// bytes written.
    Nothing,
    /// Those that snapshots refer to. The references of the snapshot that the write
    /// becomes part of are set aside meanwhile.
    Referred,
}

/// The result of applying a plan.
struct Outcome {
    /// Bytes done, from the base of the write.
    count: u64,
    /// The reason to stop.
    failed: Option<Failed>,
}

/// Returns true if a write at `base` writes zeros past the end of a file of
/// `size` bytes, or leaves a hole behind it that is worth knowing.
fn relies_on_the_end(ops: &[PutOp], base: u64, size: u64) -> bool {
    let mut end = size;
    ops.iter().any(|op| {
        let (start, before) = (base + op.off, end);
        end = end.max(start + op.len);
        let hole = start.saturating_sub(before) >= HOLLOW_MIN;
        hole || op.kind == PutKind::Zero && end > before
    })
}

/// The ranges written by the operations within the first `count` bytes of a
/// write at `base`, neighbours merged; gaps between operations are not
/// included.
fn spans(ops: &[PutOp], base: u64, count: u64) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for op in ops.iter().take_while(|op| op.off < count) {
        let (start, end) = (base + op.off, base + count.min(op.off + op.len));
        match spans.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => spans.push(start..end),
        }
    }
    spans
}

impl<B: Backing> Snapfs<B> {
    /// Does a write, all of it or a part from its beginning.
    ///
    /// # Errors
    /// Only if nothing was done.
    pub(crate) async fn commit(
        &self,
        conn: &Conn,
        open: &Open,
        put: Put<'_>,
    ) -> Result<Done, Errno> {
        let file = &self.lock(&open.file).await?;
        if !open.writable || open.closed.get() {
            return Err(Errno::EBADF);
        }
        self.promise_epochs().await?;
        self.need_reader(file, open.back).await?;
        self.check_open(file, open).await?;
        let base = self.base_of(file, open, &put).await?;
        if file.state.borrow().doubt.is_some() {
            Box::pin(self.end_doubt(file, base, put.ops)).await?;
        }
        self.revalidate_before(file, open, (base, &put)).await?;
        let into = self.target_of(conn, file, open, &put).await?;
        let plan = self.plan(conn, file, base, &put).await;
        let spans = match into {
            Some(_) => spans(put.ops, base, plan.count),
            None => Vec::new(),
        };
        let memory = RANGE + spans.len() * SPAN;
        let into = into.filter(|_| {
            let state = &mut *file.state.borrow_mut();
            state.make_room(memory, Growth::Refer).is_ok()
        });
        let saving = self.set_aside(file, into.as_ref(), &spans);
        let before = file.state.borrow().epoch;
        file.state.borrow_mut().changing += 1;
        let Outcome { count, failed } = self
            .carry_out((file, open), &plan, base, (into.as_ref(), saving))
            .await;
        let (epoch, error) = (
            file.state.borrow().epoch,
            failed.as_ref().map(|failed| failed.errno),
        );
        let assoc = match into {
            Some(into) => {
                let target = (into, saving);
                self.associate(conn, (file, open), target, &spans, (base + count, failed))
                    .await
            }
            None => false,
        };
        if count == 0 && before == epoch {
            file.state.borrow_mut().changing -= 1;
        } else if error.is_none() && self.learn_later(file) {
            self.log_done(file).await;
        } else {
            self.learn_change(file, open.back, error).await;
        }
        match error.or(plan.error) {
            Some(errno) if count == 0 => Err(errno),
            _ => Ok(Done {
                off: base,
                count,
                epoch,
                assoc,
            }),
        }
    }

    /// Finds out whether the write of `spans` has to save blocks, and if so sets the
    /// target's references to them aside, so that nothing is saved for it.
    fn set_aside(&self, file: &Locked<'_>, into: Option<&Target>, spans: &[Range<u64>]) -> Saving {
        let Some(Target::Old(snapshot)) = into else {
            return Saving::Referred;
        };
        let state = &mut *file.state.borrow_mut();
        let references = snapshot.references.borrow();
        let alone = state.snaps == 1 && !state.versions.in_grace();
        if alone && !references.has_beside(spans) {
            return Saving::Nothing;
        }
        references.set_aside(spans, &mut state.versions);
        Saving::Referred
    }

    /// Of a message that failed, finds out what the write needs to know.
    ///
    /// # Errors
    /// It cannot be done before that is known.
    async fn end_doubt(&self, file: &Locked<'_>, base: u64, ops: &[PutOp]) -> Result<(), Errno> {
        let kept = ops.iter().filter_map(|op| match op.kind {
            PutKind::Keep { soff, .. } => Some(soff..soff.saturating_add(op.len)),
            PutKind::Data | PutKind::Zero => None,
        });
        self.resolve_doubt_for(file, kept).await;
        let written = ops.iter().map(|op| base + op.off..base + op.off + op.len);
        self.resolve_doubt_before(file, written).await
    }

    /// Where a write begins.
    async fn base_of(&self, file: &Locked<'_>, open: &Open, put: &Put<'_>) -> Result<u64, Errno> {
        let base = match put.off {
            Some(off) => off,
            None => {
                self.revalidate(file, open.back).await?;
                file.state.borrow().size
            }
        };
        let end = put.ops.last().map_or(0, |op| op.off + op.len);
        let end = base.checked_add(end).filter(|end| *end <= SIZE_MAX);
        end.map(|_| base).ok_or(Errno::EFBIG)
    }

    /// The snapshot that the written ranges become part of; `None` also if a
    /// restart would not know about it, because it is not promised then.
    async fn target_of(
        &self,
        conn: &Conn,
        file: &Locked<'_>,
        open: &Open,
        put: &Put<'_>,
    ) -> Result<Option<Target>, Errno> {
        let into = put.into.filter(|_| open.readable && !put.ops.is_empty());
        let Some(snapfid) = into else {
            return Ok(None);
        };
        match Target::find(conn, snapfid, &open.file)? {
            Target::New(_) if self.log_known(file).await.is_err() => Ok(None),
            target => Ok(Some(target)),
        }
    }

    /// Revalidates the file if the mount asks for it before each write, or if the
    /// write keeps ranges, associates them, or
    /// leaves known zeros unwritten, or if it depends on the end of the file
    /// because zeros go past it or a hole is left behind it.
    async fn revalidate_before(
        &self,
        file: &Locked<'_>,
        open: &Open,
        (base, put): (u64, &Put<'_>),
    ) -> Result<(), Errno> {
        let plain = put.into.is_none() && put.ops.iter().all(|op| op.kind == PutKind::Data);
        let zeros = put.ops.iter().any(|op| op.kind == PutKind::Zero);
        let (known, hollow, size) = {
            let state = file.state.borrow();
            let hollow = !state.zeros.is_empty();
            (state.times.is_some(), hollow, state.size)
        };
        let check = open.options.check == Check::Always;
        let doubtful = !known || zeros && hollow || check;
        if (check || !plain) && doubtful || relies_on_the_end(put.ops, base, size) {
            self.revalidate(file, open.back).await?;
        }
        if zeros {
            self.verify_zeros(file, open.back).await;
        }
        Ok(())
    }

    /// Associates `spans` up to `until` with the snapshot as they are now.
    /// Ranges behind it, which a failed message may have changed, keep the
    /// versions saved for others. `false`: nothing was written, or the snapfid
    /// was taken meanwhile.
    async fn associate(
        &self,
        conn: &Conn,
        (file, open): (&Locked<'_>, &Open),
        (into, saving): (Target, Saving),
        spans: &[Range<u64>],
        (until, failed): (u64, Option<Failed>),
    ) -> bool {
        let some = spans.first().is_some_and(|first| first.start < until);
        let (snapshot, new) = match into {
            Target::Old(snapshot) => (snapshot, false),
            Target::New(_) if !some => return false,
            Target::New(snapfid) => match self.snapshot_at(conn, snapfid, open) {
                Ok(snapshot) => (snapshot, true),
                Err(_) => return false,
            },
        };
        let epoch = {
            let state = &mut *file.state.borrow_mut();
            state.reader.get_or_insert(open.back);
            if !new && saving == Saving::Referred {
                let references = snapshot.references.borrow();
                references.take_back(spans, &mut state.versions);
            }
            state.epoch
        };
        for bytes in spans {
            let written = bytes.start..until.clamp(bytes.start, bytes.end);
            self.refer(file, &snapshot, &written, Some(epoch));
        }
        if let Some(failed) = failed.filter(|_| !new) {
            Box::pin(self.doubt(file, snapshot, spans, failed)).await;
        }
        some
    }

    /// Everything that a plan overwrites is saved, and the log says that the
    /// file is being changed.
    async fn prepare(
        &self,
        file: &Locked<'_>,
        plan: &Plan<'_>,
        (into, saving): (Option<&Target>, Saving),
    ) -> Result<(), Errno> {
        let steps = plan.steps.iter().filter(|_| saving == Saving::Referred);
        for step in steps {
            self.rescue(file, step.off..step.off + step.len).await?;
        }
        match into {
            _ if plan.count == 0 => Ok(()),
            Some(_) => self.log_begin_first(file).await,
            None => self.log_begin(file).await,
        }
    }

    /// Rescues, applies, sets times and epoch.
    async fn carry_out(
        &self,
        (file, open): (&Locked<'_>, &Open),
        plan: &Plan<'_>,
        base: u64,
        into: (Option<&Target>, Saving),
    ) -> Outcome {
        let mut outcome = Outcome {
            count: plan.count,
            failed: None,
        };
        if let Err(errno) = self.prepare(file, plan, into).await {
            outcome.count = 0;
            outcome.failed = Some(Failed {
                at: base,
                errno,
                unsure: Vec::new(),
                until: base,
            });
            return outcome;
        }
        if plan.steps.is_empty() {
            if plan.count > 0 {
                self.set_times(open).await;
            }
            return outcome;
        }
        let size = file.state.borrow().size;
        let (begun, failed) = self.apply(file, open.back, &plan.steps).await;
        if let Some(failed) = failed {
            outcome.count = failed.at - base;
            outcome.failed = Some(failed);
        }
        // One that failed, or came after it, may have changed any byte of its own.
        let begun = plan.steps.iter().take(begun);
        let changed = begun.map(|step| step.off.min(size)..step.off + step.len);
        file.state.borrow_mut().changed(changed, self.next_epoch());
        outcome
    }

    /// The times of a write of which nothing had to be sent. They go by name at
    /// some servers: if an external writer gave that to another file, the times
    /// of the other file stay.
    async fn set_times(&self, open: &Open) {
        let attr = SetAttr {
            valid: setattr::MTIME | setattr::CTIME,
            ..SetAttr::default()
        };
        if let Ok(Some(_)) = self.own_attr(&open.file, open.back).await {
            // The right to write does not imply the right to set times; the
            // write is done.
            let _ = self.set_attr_lower(open.back, attr).await;
        }
    }
}
