//! The commit of a write: under the file's lock, first everything is looked
//! at and every source read, then every rescue done, then the write applied
//! in ascending order, then times, then the epoch.

use crate::budget::reserve;
use crate::conn::{Conn, Entry, Open};
use crate::file::{File, HOLLOW_MIN, Locked, SIZE_MAX};
use crate::lower::LowerFid;
use crate::options::Check;
use crate::plan::{Plan, Step, What};
use crate::put::Bytes;
use crate::snap::Snapshot;
use crate::versions::{ENTRY, RANGE};
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;
use ninep::consts::setattr;
use ninep::{Changes, PutKind, PutOp, Reply, SetAttr};

/// Bytes that one more of many small ranges takes.
const SPAN: usize = 4 * ENTRY;

/// Zeros are written from here.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A write as staged.
pub struct Put<'a> {
    /// The base; `None`: the end of the file.
    pub off: Option<u64>,
    pub ops: &'a [PutOp],
    pub data: Bytes<'a>,
    /// The snapfid that the result becomes part of.
    pub into: Option<u32>,
}

/// What became of a write.
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
    /// There already.
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

/// How many of the first bytes are the same.
fn prefix<'b>(found: &[u8], wanted: impl Iterator<Item = &'b u8>) -> usize {
    found.iter().zip(wanted).take_while(|(a, b)| a == b).count()
}

/// What became of a plan.
struct Outcome {
    /// Bytes done, from the base of the write.
    count: u64,
    /// Why no more.
    error: Option<Errno>,
    /// Up to here bytes of the file may be others than they were.
    touched: u64,
}

/// Does a write at `base` write zeros past the end of a file of `size` bytes,
/// or leave a hole behind it that is worth knowing?
fn relies_on_the_end(ops: &[PutOp], base: u64, size: u64) -> bool {
    let mut end = size;
    ops.iter().any(|op| {
        let (start, before) = (base + op.off, end);
        end = end.max(start + op.len);
        let hole = start.saturating_sub(before) >= HOLLOW_MIN;
        hole || op.kind == PutKind::Zero && end > before
    })
}

/// What the first `count` bytes of a write at `base` are written by its
/// operations, neighbours joined: not what lies between them.
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
        let file = &open.file.lock().await;
        if !open.writable || open.closed.get() {
            return Err(Errno::EBADF);
        }
        self.promise_epochs().await?;
        self.need_reader(file, open.back).await?;
        let base = self.base_of(file, open, &put).await?;
        self.look_before(file, open, (base, &put)).await?;
        let into = self.target_of(conn, file, open, &put).await?;
        let plan = self.plan(conn, file, base, &put).await;
        let spans = match into {
            Some(_) => spans(put.ops, base, plan.count),
            None => Vec::new(),
        };
        let memory = RANGE + spans.len() * SPAN;
        let into = into.filter(|_| self.tables.check(memory).is_ok());
        if let Some(Target::Old(snapshot)) = &into {
            let versions = &mut file.state.borrow_mut().versions;
            snapshot.references.borrow().set_aside(&spans, versions);
        }
        let before = file.state.borrow().epoch;
        file.state.borrow_mut().changing += 1;
        let Outcome {
            count,
            error,
            touched,
        } = self
            .carry_out((file, open), &plan, base, into.is_some())
            .await;
        let epoch = file.state.borrow().epoch;
        let written = (base + count, touched);
        let assoc =
            into.is_some_and(|into| self.associate(conn, (file, open), into, &spans, written));
        if count > 0 || before != epoch {
            let failed = error.is_some();
            self.look_after_change(file, open.back, failed).await;
        }
        file.state.borrow_mut().changing -= 1;
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

    /// Where a write begins.
    async fn base_of(&self, file: &Locked<'_>, open: &Open, put: &Put<'_>) -> Result<u64, Errno> {
        let base = match put.off {
            Some(off) => off,
            None => {
                self.look(file, open.back).await?;
                file.state.borrow().size
            }
        };
        let end = put.ops.last().map_or(0, |op| op.off + op.len);
        let end = base.checked_add(end).filter(|end| *end <= SIZE_MAX);
        end.map(|_| base).ok_or(Errno::EFBIG)
    }

    /// The snapshot that a write becomes part of; `None` also where a restart
    /// would not know of it, for then it is not promised.
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

    /// What is kept, becomes part of a snapshot, or is not written because it
    /// is zeros already must be known; so must be the end of the file where
    /// zeros go past it or a hole is left behind it.
    async fn look_before(
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
        if !plain && doubtful || relies_on_the_end(put.ops, base, size) {
            self.look(file, open.back).await?;
        }
        if zeros {
            self.settle_doubt(file, open.back).await;
        }
        Ok(())
    }

    /// What lies before `until` of `spans` becomes part of the snapshot as it is
    /// now; from there to `touched` it keeps what was saved for others, for a
    /// write that failed may have changed the rest. `false`: nothing was
    /// written, or the snapfid was taken meanwhile.
    fn associate(
        &self,
        conn: &Conn,
        (file, open): (&Locked<'_>, &Open),
        into: Target,
        spans: &[Range<u64>],
        (until, touched): (u64, u64),
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
            if !new {
                let references = snapshot.references.borrow();
                references.take_back(spans, &mut state.versions);
            }
            state.epoch
        };
        for bytes in spans {
            let written = bytes.start..until.clamp(bytes.start, bytes.end);
            self.refer(file, &snapshot, &written, Some(epoch));
        }
        for bytes in spans.iter().filter(|_| !new) {
            let unknown = bytes.start.max(until)..bytes.end.min(touched);
            self.lose_live(file, &snapshot, unknown);
        }
        some
    }

    /// Everything that a plan overwrites is saved, and the log says that the
    /// file is being changed. `snapped`: the result becomes a snapshot's.
    async fn prepare(
        &self,
        file: &Locked<'_>,
        plan: &Plan<'_>,
        snapped: bool,
    ) -> Result<(), Errno> {
        for step in &plan.steps {
            self.rescue(file, step.off..step.off + step.len).await?;
        }
        match plan.count {
            0 => Ok(()),
            _ => self.log_begin(file, snapped).await,
        }
    }

    /// Rescues, applies, sets times and epoch.
    async fn carry_out(
        &self,
        (file, open): (&Locked<'_>, &Open),
        plan: &Plan<'_>,
        base: u64,
        snapped: bool,
    ) -> Outcome {
        let mut outcome = Outcome {
            count: plan.count,
            error: None,
            touched: base,
        };
        if let Err(errno) = self.prepare(file, plan, snapped).await {
            (outcome.count, outcome.error) = (0, Some(errno));
            return outcome;
        }
        if plan.steps.is_empty() {
            if plan.count > 0 {
                self.set_times(open).await;
            }
            return outcome;
        }
        let size = file.state.borrow().size;
        let mut tried = 0;
        for step in &plan.steps {
            tried += 1;
            if let Err((done, errno)) = self.apply(open, step).await {
                (outcome.count, outcome.error) = (step.off + done - base, Some(errno));
                outcome.touched = self.written_all_the_same(file, step, done).await;
                break;
            }
        }
        let (state, epoch) = (&mut file.state.borrow_mut(), self.next_epoch());
        for step in plan.steps.iter().take(tried) {
            // One that failed may have changed any byte of its own.
            state.changed(&(step.off.min(size)..step.off + step.len), epoch);
        }
        outcome
    }

    /// The times of a write of which nothing had to be sent. They go by name at
    /// some servers: if a stranger gave that to another file, the other file is
    /// none of our business.
    async fn set_times(&self, open: &Open) {
        let attr = SetAttr {
            valid: setattr::MTIME | setattr::CTIME,
            ..SetAttr::default()
        };
        if let Ok(Some(_)) = self.own_attr(&open.file, open.back).await {
            // Who may write may not always set times; the write is done.
            let _ = self.set_attr_lower(open.back, attr).await;
        }
    }

    /// Writes one step; on an error says how many bytes got there.
    async fn apply(&self, open: &Open, step: &Step<'_>) -> Result<(), (u64, Errno)> {
        let bytes = step.off..step.off + step.len;
        open.file.state.borrow_mut().begin_write(bytes);
        let written = match &step.what {
            What::Bytes(bytes) => self.write_lower(open.back, step.off, bytes).await,
            What::Copied(bytes) => self.write_lower(open.back, step.off, bytes).await,
            What::Kept(source, off) => {
                let copied = self.copy_lower(source, *off, open.back, step).await;
                copied.map_err(|(done, errno)| (done as usize, errno))
            }
            What::Zeros => return self.apply_zeros(open, step).await,
        };
        let (done, result) = match written {
            Ok(()) => (step.len, Ok(())),
            Err((done, errno)) => (done as u64, Err((done as u64, errno))),
        };
        let bytes = step.off..step.off + done;
        open.file.state.borrow_mut().wrote(bytes);
        result
    }

    /// Copies a step from `off` on of a snapshot, a message at a time; on an error
    /// says how many bytes got there.
    async fn copy_lower(
        &self,
        source: &Snapshot,
        off: u64,
        fid: LowerFid,
        step: &Step<'_>,
    ) -> Result<(), (u64, Errno)> {
        let mut bytes = Vec::new();
        let mut done = 0;
        while done < step.len {
            bytes.clear();
            let copied = self.copy_piece(source, off, step, done, &mut bytes).await;
            copied.map_err(|errno| (done, errno))?;
            let written = self.write_lower(fid, step.off + done, &bytes).await;
            written.map_err(|(part, errno)| (done + part as u64, errno))?;
            done += bytes.len() as u64;
        }
        Ok(())
    }

    /// Reads what one message takes of a step that copies from `off` on.
    async fn copy_piece(
        &self,
        source: &Snapshot,
        off: u64,
        step: &Step<'_>,
        done: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let len = (step.len - done).min(u64::from(self.backing.iounit()));
        reserve(out, len as usize)?;
        self.copy_snapshot(source, off + done, len, out).await?;
        match out.len() as u64 == len {
            true => Ok(()),
            // It was given up meanwhile.
            false => Err(Errno::ESTALE),
        }
    }

    /// A message of a step failed after `done` bytes, and may have written a
    /// part all the same, from its beginning. Up to where the file has what was
    /// to be written.
    async fn written_all_the_same(&self, file: &File, step: &Step<'_>, done: u64) -> u64 {
        let from = step.off + done;
        let len = (step.len - done).min(u64::from(self.backing.iounit()));
        let Some(reader) = file.state.borrow().reader else {
            return from;
        };
        let mut found = Vec::new();
        // Where it cannot be read either, the answer is all there is to go by.
        let _ = self
            .read_lower(reader, from, len as usize, &mut found)
            .await;
        let same = match &step.what {
            What::Bytes(bytes) => prefix(&found, bytes.iter().skip(done as usize)),
            What::Copied(bytes) => prefix(&found, bytes.iter().skip(done as usize)),
            What::Kept(source, off) => {
                let mut bytes = Vec::new();
                let _ = self.copy_piece(source, *off, step, done, &mut bytes).await;
                prefix(&found, bytes.iter())
            }
            What::Zeros => prefix(&found, core::iter::repeat(&0)),
        };
        from + same as u64
    }

    /// Zeros past the end of the file need one byte, at their own end.
    async fn apply_zeros(&self, open: &Open, step: &Step<'_>) -> Result<(), (u64, Errno)> {
        let mut done = 0;
        while done < step.len {
            let at = step.off + done;
            let inside = open.file.state.borrow().size.saturating_sub(at);
            let (at, len) = match inside {
                0 => (step.off + step.len - 1, 1),
                inside => (at, inside.min(step.len - done).min(ZEROS.len() as u64)),
            };
            let zeros = ZEROS.get(..len as usize).unwrap_or(&ZEROS);
            if let Err((part, errno)) = self.write_lower(open.back, at, zeros).await {
                let part = if inside == 0 { 0 } else { part as u64 };
                return Err((done + part, errno));
            }
            let mut state = open.file.state.borrow_mut();
            state.wrote(at..at + len);
            state.zeros.add(at..at + len);
            done = at + len - step.off;
        }
        Ok(())
    }

    /// Sets the size, with the rescues that takes.
    pub(crate) async fn resize(&self, file: &Locked<'_>, fid: u32, size: u64) -> Result<(), Errno> {
        let attr = SetAttr {
            valid: setattr::SIZE,
            size,
            ..SetAttr::default()
        };
        self.change_attr(file, fid, attr).await
    }

    /// `Tsetattr`, with the rescues it takes. [`Snapfs::look`] comes first.
    pub(crate) async fn change_attr(
        &self,
        file: &Locked<'_>,
        fid: u32,
        attr: SetAttr,
    ) -> Result<(), Errno> {
        let sized = attr.valid & setattr::SIZE != 0;
        if sized && attr.size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.need_reader(file, fid).await?;
        if sized {
            self.rescue(file, attr.size..u64::MAX).await?;
        }
        self.log_begin(file, false).await?;
        file.state.borrow_mut().changing += 1;
        let changed = self.set_attr_lower(fid, attr).await;
        if sized {
            let mut state = file.state.borrow_mut();
            let size = state.size;
            // Also the rest of what was the last block. After a failure any
            // size is possible.
            let bytes = match changed {
                Ok(()) => size.min(attr.size)..size.max(attr.size),
                Err(_) => size.min(attr.size)..u64::MAX,
            };
            state.zeros.remove(bytes.clone());
            if changed.is_ok() {
                if attr.size > size {
                    state.zeros.add(size..attr.size);
                }
                state.size = attr.size;
            }
            if !bytes.is_empty() {
                state.changed(&bytes, self.next_epoch());
            }
        }
        self.look_after_change(file, fid, changed.is_err()).await;
        file.state.borrow_mut().changing -= 1;
        changed
    }
}
