//! The messages of a commit. Those that stay within the file are in flight
//! together, in any order of answers; one past its end goes alone, so that a file
//! never gets longer than what is acknowledged.

use crate::doubt::Failed;
use crate::file::Locked;
use crate::lent::{Chunk, LentBytes};
use crate::lower::LowerFid;
use crate::plan::{Step, What};
use crate::snap::Snapshot;
use crate::{Backing, Snapfs};
use abi::Errno;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

/// Messages of one commit in flight at most, and bytes in them: the rest of the
/// backing's memory is for others.
const FLIGHTS_MAX: usize = 24;
const FLYING_MAX: u64 = 512 << 10;

/// Zeros are written from here.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A part of a step that fits into one message.
#[derive(Clone, Copy)]
struct Part<'p> {
    step: &'p Step<'p>,
    /// Where the write ends if nothing of the part is written: zeros before `at` are
    /// there only with its byte.
    from: u64,
    at: u64,
    len: u64,
}

impl<'p> Part<'p> {
    /// The part of a step from `at` on, in a file of `size` bytes. Zeros past the
    /// end of the file need one byte, at their own end.
    fn of(step: &'p Step<'p>, at: u64, size: u64, iounit: u32) -> Part<'p> {
        let (from, end) = (at, step.off + step.len);
        let (at, most) = match step.what {
            What::Zeros if at >= size => (end - 1, 1),
            What::Zeros => (at, (size - at).min(ZEROS.len() as u64)),
            _ => (at, u64::MAX),
        };
        let len = (end - at).min(u64::from(iounit)).min(most);
        Part {
            step,
            from,
            at,
            len,
        }
    }

    fn end(&self) -> u64 {
        self.at + self.len
    }

    /// All but its first `done` bytes.
    fn after(self, done: u64) -> Part<'p> {
        let done = done.min(self.len);
        Part {
            from: if done > 0 { self.at + done } else { self.from },
            at: self.at + done,
            len: self.len - done,
            ..self
        }
    }

    /// Its bytes, or where a snapshot has them.
    fn bytes(&self) -> Result<Chunk<'p>, (&'p Snapshot, u64)> {
        let from = self.at - self.step.off;
        let whole = match &self.step.what {
            What::Bytes(bytes) => *bytes,
            What::Copied(bytes) => Chunk::Here(bytes),
            What::Zeros => {
                let zeros = ZEROS.get(..self.len as usize);
                return Ok(Chunk::Here(zeros.unwrap_or(&ZEROS)));
            }
            What::Kept(source, off) => return Err((source, off + from)),
        };
        Ok(whole.get(from as usize..(from + self.len) as usize))
    }
}

/// A message whose answer counts in its turn.
struct Flight<'p, W> {
    part: Part<'p>,
    answer: Answer<W>,
}

enum Answer<W> {
    /// It has not come, or is in the backing's memory.
    Awaited(W),
    Here(Result<u32, Errno>),
}

impl<W: Future<Output = Result<u32, Errno>> + Unpin> Answer<W> {
    /// Takes it out of the backing's memory, if it has come.
    fn look(&mut self, context: &mut Context<'_>) {
        if let Answer::Awaited(answer) = self
            && let Poll::Ready(answer) = Pin::new(answer).poll(context)
        {
            *self = Answer::Here(answer);
        }
    }
}

/// The messages of one commit, in ascending order.
struct Sender<'s, 'p, B: Backing + 's> {
    fs: &'s Snapfs<B>,
    file: &'s Locked<'s>,
    fid: LowerFid,
    flights: VecDeque<Flight<'p, B::Write<'s>>>,
    /// Bytes in them.
    flying: u64,
    /// The end of what was sent.
    sent: u64,
    /// The first message, by its place in the file, that failed.
    failed: Option<Failed>,
}

impl<B: Backing> Snapfs<B> {
    /// Writes `steps`, ascending, through `fid`. Returns how many were begun, and
    /// the first failure: no message is sent after it was seen.
    pub(crate) async fn apply(
        &self,
        file: &Locked<'_>,
        fid: LowerFid,
        steps: &[Step<'_>],
    ) -> (usize, Option<Failed>) {
        let mut sender = Sender {
            fs: self,
            file,
            fid,
            flights: VecDeque::new(),
            flying: 0,
            sent: 0,
            failed: None,
        };
        let mut begun = 0;
        for step in steps {
            begun += 1;
            let bytes = step.off..step.off + step.len;
            file.state.borrow_mut().begin_write(bytes);
            sender.send_step(step).await;
            if sender.failed.is_some() {
                break;
            }
        }
        sender.settle(0).await;
        if let Some(failed) = &mut sender.failed {
            failed.until = failed.until.max(sender.sent);
        }
        (begun, sender.failed)
    }

    /// Bytes of a snapshot in one buffer of the backing, if they fit and are all in
    /// the live file.
    async fn in_one_buffer(&self, source: &Snapshot, off: u64, len: u64) -> Option<B::Buf> {
        let bytes = off..off + len;
        if source.is_in_doubt(&bytes) {
            return None;
        }
        let read = self.read_live_part(source, &bytes).await;
        read.ok()
            .flatten()
            .filter(|buf| buf.as_ref().len() as u64 == len)
    }
}

impl<'s, 'p, B: Backing> Sender<'s, 'p, B> {
    /// Sends a step, as far as nothing fails.
    async fn send_step(&mut self, step: &'p Step<'p>) {
        let (mut at, end) = (step.off, step.off + step.len);
        while at < end && self.failed.is_none() {
            // No message in flight changes the size.
            let size = self.file.state.borrow().size;
            let part = Part::of(step, at, size, self.fs.backing.iounit());
            let past = part.end() > size;
            if past {
                self.settle(0).await;
            }
            self.send(part).await;
            if past {
                self.settle(0).await;
            }
            at = part.end();
        }
    }

    async fn send(&mut self, part: Part<'p>) {
        self.settle_for(part.len).await;
        match part.bytes() {
            Ok(Chunk::Here(bytes)) => self.send_bytes(part, bytes).await,
            Ok(Chunk::Lent(bytes)) => self.send_lent(part, bytes).await,
            Err((source, off)) => self.send_kept(part, source, off).await,
        }
    }

    /// Sends bytes from where the client has them, or a copy if that cannot be done now.
    async fn send_lent(&mut self, part: Part<'p>, bytes: LentBytes<'_>) {
        let backing = &self.fs.backing;
        if let Some(answer) = backing.write_lent(self.fid, part.at, bytes) {
            return self.sent(part, answer);
        }
        match backing.copy_lent(bytes) {
            Ok(copy) => self.send_bytes(part, &copy).await,
            Err(errno) => {
                self.settle(0).await;
                self.fail(part, errno, part.at);
            }
        }
    }

    /// Waits until there may be another message of `len` bytes.
    async fn settle_for(&mut self, len: u64) {
        while self.flights.len() >= FLIGHTS_MAX || self.flying + len > FLYING_MAX {
            if !self.settle_one().await {
                break;
            }
        }
    }

    async fn send_bytes(&mut self, part: Part<'p>, bytes: &[u8]) {
        while self.failed.is_none() {
            let backing = &self.fs.backing;
            match backing.write_now(self.fid, part.at, bytes) {
                Some(answer) => return self.sent(part, answer),
                None if self.settle_one().await => {}
                None => return self.write_alone(part, bytes).await,
            }
        }
    }

    /// Sends bytes of a snapshot: those in the live file from the memory in which
    /// they came.
    async fn send_kept(&mut self, part: Part<'p>, source: &Snapshot, off: u64) {
        let read = self.fs.in_one_buffer(source, off, part.len);
        let Some(mut buf) = self.meanwhile(read).await else {
            return self.send_copied(part, source, off).await;
        };
        while self.failed.is_none() {
            let backing = &self.fs.backing;
            buf = match backing.write_back(self.fid, part.at, buf) {
                Ok(answer) => return self.sent(part, answer),
                Err(buf) => buf,
            };
            if !self.settle_one().await {
                return self.write_alone(part, buf.as_ref()).await;
            }
        }
    }

    async fn send_copied(&mut self, part: Part<'p>, source: &Snapshot, off: u64) {
        let copied = self.fs.copied(source, off, part.len);
        match self.meanwhile(copied).await {
            Ok(bytes) => self.send_bytes(part, &bytes).await,
            Err(errno) => {
                self.settle(0).await;
                self.fail(part, errno, part.at);
            }
        }
    }

    fn sent(&mut self, part: Part<'p>, answer: B::Write<'s>) {
        self.sent = part.end();
        self.flying += part.len;
        let answer = Answer::Awaited(answer);
        self.flights.push_back(Flight { part, answer });
    }

    /// Waits for something else while messages are in flight. Their answers are taken
    /// out of the backing's memory as they come: it may be what the wait is for, here
    /// or in other commits.
    async fn meanwhile<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        poll_fn(|context| {
            for flight in &mut self.flights {
                flight.answer.look(context);
            }
            wait.as_mut().poll(context)
        })
        .await
    }

    /// Writes a part, however long that waits.
    async fn write_alone(&mut self, part: Part<'p>, bytes: &[u8]) {
        self.sent = part.end();
        let write = self.fs.write_lower(self.fid, part.at, bytes);
        let written = self.meanwhile(write).await;
        let done = written.map_or_else(|(done, _)| done, |()| bytes.len());
        self.wrote(part, done as u64);
        if let Err((_, errno)) = written {
            self.fail(part.after(done as u64), errno, part.end());
        }
    }

    /// Waits for the answers of all but the last `left` messages.
    async fn settle(&mut self, left: usize) {
        while self.flights.len() > left {
            self.settle_one().await;
        }
    }

    /// Waits for the answer of the first message in flight. Returns false if there
    /// is none.
    async fn settle_one(&mut self) -> bool {
        let Some(Flight { part, answer }) = self.flights.pop_front() else {
            return false;
        };
        let answer = match answer {
            Answer::Awaited(answer) => answer.await,
            Answer::Here(answer) => answer,
        };
        self.flying -= part.len;
        if self.failed.is_some() {
            return true;
        }
        match answer {
            Ok(0) => self.fail(part, Errno::EIO, part.end()),
            Ok(done) => {
                let done = u64::from(done).min(part.len);
                self.wrote(part, done);
                if done < part.len {
                    self.write_rest(part.after(done)).await;
                }
            }
            Err(errno) => self.fail(part, errno, part.end()),
        }
        true
    }

    /// A message was written in part, and did not fail.
    async fn write_rest(&mut self, part: Part<'p>) {
        let copy = match part.bytes() {
            Ok(Chunk::Here(bytes)) => return self.write_alone(part, bytes).await,
            Ok(Chunk::Lent(bytes)) => self.fs.backing.copy_lent(bytes),
            Err((source, off)) => {
                let copied = self.fs.copied(source, off, part.len);
                self.meanwhile(copied).await
            }
        };
        match copy {
            Ok(bytes) => self.write_alone(part, &bytes).await,
            Err(errno) => self.fail(part, errno, part.at),
        }
    }

    /// The first `done` bytes of a part are written.
    fn wrote(&self, part: Part<'p>, done: u64) {
        let (mut state, bytes) = (self.file.state.borrow_mut(), part.at..part.at + done);
        state.wrote(bytes.clone());
        if matches!(part.step.what, What::Zeros) {
            state.zeros.add(bytes);
        }
    }

    /// The write ends where `part` begins; bytes before `until` may have been changed.
    fn fail(&mut self, part: Part<'p>, errno: Errno, until: u64) {
        let unsure = part
            .bytes()
            .map(|bytes| bytes.get(0..(until - part.at) as usize));
        let unsure = match unsure {
            Ok(Chunk::Here(bytes)) => bytes.to_vec(),
            // Without them, what was there before is lost to its snapshots.
            Ok(Chunk::Lent(bytes)) => self.fs.backing.copy_lent(bytes).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        self.failed.get_or_insert(Failed {
            at: part.from,
            errno,
            unsure,
            until,
        });
    }
}
