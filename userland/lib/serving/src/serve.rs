//! The server loop: requests in, answers out, and the replies of the lower
//! server in between.
use crate::message::{Buffers, Message};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use rt::abi::{LOAN_MAX, Received, SERVICE_FD};
use rt::{ByteStr, Errno, Failure, File, Named, Port, Replies, stats};
use snapfs::{Answer, Backing, Executor, Fill, Filled, Lent, LowerRead, Snapfs};

/// Key of the kernel's channel at the receive port.
const REQUESTS: u64 = 0;
/// The key under which the port receives from the lower server.
pub const BELOW: u64 = 1;

/// Page faults served in the short way at a time.
const FILLS: usize = u32::BITS as usize;

/// The longest idle time, in nanoseconds, and the most events until the times of
/// files that were changed are learnt.
const UNLEARNT_NS: u64 = 10_000_000;
const UNLEARNT_EVENTS: u32 = 64;

/// The one connection there is.
const KERNEL: snapfs::ConnId = 0;

/// The connection to the lower server.
pub trait Transport: Backing {
    /// The name of the served tree, for messages.
    const TREE: &'static str;
    /// [`Transport::begin_fill`] makes use of memory that the kernel lends.
    const LENT: bool;

    /// Agrees on version and message size.
    fn negotiate(&self) -> impl Future<Output = Result<(), Failure>>;

    /// Makes sure that the lower server knows of all submitted requests.
    fn flush(&self);

    /// Submits a read for the server itself: [`Transport::deliver`] gives its result
    /// back under `key`. The data goes to lent memory if there is any: physical
    /// addresses, see [`Port::receive_with_loan`]. `false`: not now.
    fn begin_fill(&self, key: u16, read: &LowerRead, lent: &[u64]) -> bool;

    /// Passes events from the lower server to the tasks that wait for them, and the
    /// results of fills to `filled`.
    ///
    /// # Errors
    /// The lower server is unusable, and so is this one.
    fn deliver(
        &self,
        came: Came,
        buffers: &mut Buffers,
        filled: &mut dyn FnMut(u16, Result<Filled<Self::Buf>, Errno>),
    ) -> Result<(), Failure>;

    /// Replies may have been given back.
    fn freed(&self);
}

/// An event from the lower server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Came {
    /// Interrupts.
    Interrupts,
    /// A message of that many bytes, in [`Buffers::message`].
    Message(usize),
    /// A message that was longer than any may be, and is lost.
    TooLong,
    /// The other end is closed.
    HangUp,
}

/// The server and its ends.
pub struct Server<'f, T: Transport> {
    replies: Replies,
    port: Port,
    fs: &'f Snapfs<T>,
    buffers: Buffers,
    /// Came, and not started yet.
    waiting: VecDeque<Work>,
    /// Page faults that wait for the lower server, by key.
    fills: [Option<Fill>; FILLS],
    /// The free keys, one bit each.
    free: u32,
    /// Events since files were changed whose times are not learnt yet.
    unlearnt: u32,
    /// A task learns times, or is to. Another would only wait for the same file.
    learning: bool,
    /// Tasks have run since the figures were published. Page faults that are served in
    /// the short way change none of them.
    unsaid: bool,
    phase: Phase,
    /// Where the kernel names the memory that it lends.
    loan: Loan,
}

type Loan = [u64; LOAN_MAX];

/// What becomes of requests that come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// They wait.
    Starting,
    /// They are served.
    Serving,
    /// None come any more: the kernel has hung up.
    HungUp,
}

/// Something to be served by a task.
enum Work {
    Message(Message),
    /// The head of a message whose data is lent.
    Lent(Vec<u8>, Lent),
    /// A page fault that could not be served in the short way.
    Fill(Fill),
    /// The times of changed files are to be learnt.
    Times,
}

/// Work that is done.
enum Served<B> {
    /// A request; its answer.
    Request(Answer<B>),
    Times,
}

async fn serve<T: Transport>(fs: &Snapfs<T>, work: Work) -> Served<T::Buf> {
    match work {
        Work::Message(message) => {
            let answer = match message.memory() {
                Some((memory, len)) => fs.handle_held(KERNEL, &memory, len).await,
                None => fs.handle(KERNEL, &message).await,
            };
            Served::Request(answer)
        }
        Work::Lent(head, data) => Served::Request(fs.handle_lent(KERNEL, &head, &data).await),
        // Rare and large: a task's memory is moved when it begins.
        Work::Fill(fill) => Served::Request(Box::pin(fs.read_again(fill)).await),
        Work::Times => {
            Box::pin(fs.learn_times()).await;
            Served::Times
        }
    }
}

impl<'f, T: Transport> Server<'f, T> {
    /// A server for the channel [`SERVICE_FD`]. `port` receives events of the
    /// lower server under the key [`BELOW`].
    pub fn new(port: Port, fs: &'f Snapfs<T>) -> Result<Self, Failure> {
        let channel = File::from_fd(SERVICE_FD as u32);
        port.add(&channel, REQUESTS).about("service channel")?;
        Ok(Server {
            replies: Replies::new(channel),
            port,
            fs,
            buffers: Buffers::new(fs.memory() / 4),
            waiting: VecDeque::new(),
            fills: [const { None }; FILLS],
            free: u32::MAX,
            unlearnt: 0,
            learning: false,
            unsaid: true,
            phase: Phase::Starting,
            loan: [0; LOAN_MAX],
        })
    }

    /// Serves until the kernel hangs up. Every request is begun as soon as it comes, up to
    /// the number of tasks, and that is the number of the kernel's tags: none may have to
    /// wait for others to end, for these may wait for a file that one of them has for
    /// hours. No task holds memory of the lower server's link while it waits for more.
    ///
    /// # Errors
    /// The lower server is unusable.
    pub fn run(mut self) -> Result<(), Failure> {
        self.wait_for(self.fs.backing().negotiate())??;
        self.wait_for(self.fs.start(ByteStr::default(), ByteStr::default()))?
            .about(T::TREE)?;
        let mut tasks = Executor::default();
        // After a hang-up, requests in flight hold locks that the clean-up
        // needs.
        self.phase = self.phase.max(Phase::Serving);
        while !(self.phase == Phase::HungUp && tasks.is_idle() && self.free == u32::MAX) {
            while tasks.has_room()
                && let Some(work) = self.waiting.pop_front()
            {
                self.unsaid = true;
                match tasks.spawn(serve(self.fs, work)) {
                    Ok(Some(served)) => self.finish(served),
                    Ok(None) => {}
                    // Room was made sure of.
                    Err(_) => return Err(Failure::new("too many requests at a time")),
                }
            }
            self.fs.backing().flush();
            self.receive()?;
            self.unsaid |= !tasks.is_idle();
            tasks.run(|served| self.finish(served));
        }
        self.wait_for(self.fs.hangup(KERNEL))?;
        Ok(())
    }

    /// How long to wait for an event at most.
    fn patience(&mut self) -> u64 {
        if self.phase != Phase::Serving || self.learning || !self.fs.has_unlearnt() {
            return u64::MAX;
        }
        self.unlearnt += 1;
        UNLEARNT_NS
    }

    /// Begins to learn the times of changed files.
    fn learn_times(&mut self) {
        self.unlearnt = 0;
        self.learning = true;
        self.waiting.push_back(Work::Times);
    }

    /// Waits for one message, interrupt or hang-up and takes note of it.
    fn receive(&mut self) -> Result<(), Failure> {
        if core::mem::take(&mut self.unsaid) {
            self.say_what_is_kept();
        }
        let patience = self.patience();
        if self.unlearnt >= UNLEARNT_EVENTS {
            self.learn_times();
        }
        let buffer = self.buffers.current();
        let loan = T::LENT.then_some(&mut self.loan);
        let received = self.replies.receive(&self.port, buffer, patience, loan);
        let came = match received {
            Ok((received, lent)) => match (received.key, received.kind) {
                (REQUESTS, Received::MESSAGE) => {
                    self.came(received.len as usize, lent);
                    return Ok(());
                }
                (REQUESTS, Received::LENT) => {
                    // Short: the buffer is not held for it.
                    let head = self.buffers.current().get(..received.len as usize);
                    let head = head.unwrap_or_default().to_vec();
                    let data = self.loan.get(..lent).unwrap_or(&[]).into();
                    self.waiting.push_back(Work::Lent(head, data));
                    return Ok(());
                }
                (REQUESTS, _) => {
                    self.phase = Phase::HungUp;
                    return Ok(());
                }
                (_, Received::MESSAGE) => Came::Message(received.len as usize),
                (_, Received::INTERRUPT) => Came::Interrupts,
                _ => Came::HangUp,
            },
            Err(Errno::ETIMEDOUT) => {
                self.learn_times();
                return Ok(());
            }
            // The kernel keeps to the agreed size.
            Err(Errno::EMSGSIZE) => Came::TooLong,
            Err(errno) => return Err(errno).about("receive port"),
        };
        let Server {
            fs,
            replies,
            fills,
            free,
            waiting,
            ..
        } = self;
        let mut filled = |key: u16, read| {
            let Some(fill) = fills.get_mut(usize::from(key)).and_then(Option::take) else {
                return;
            };
            *free |= 1 << key;
            match fs.end_fill(fill, read) {
                Ok(answer) => send(replies, &answer),
                Err(fill) => waiting.push_front(Work::Fill(fill)),
            }
        };
        let backing = fs.backing();
        backing.deliver(came, &mut self.buffers, &mut filled)?;
        backing.freed();
        Ok(())
    }

    /// A request of that length came, and the kernel has lent so many pages for its data.
    fn came(&mut self, len: usize, lent: usize) {
        if !self.begin_fill(len, lent) {
            let message = self.buffers.current().get(..len);
            self.fs.foresee(KERNEL, message.unwrap_or_default());
            let message = self.buffers.message(len);
            self.waiting.push_back(Work::Message(message));
        }
    }

    /// Begins to serve the message in the short way, if it is a page fault, and no
    /// earlier request waits.
    fn begin_fill(&mut self, len: usize, lent: usize) -> bool {
        let key = self.free.trailing_zeros() as usize;
        let (message, slot) = (self.buffers.current().get(..len), self.fills.get_mut(key));
        let (Some(message), Some(slot)) = (message, slot) else {
            return false;
        };
        if self.phase != Phase::Serving || !self.waiting.is_empty() {
            return false;
        }
        let lent = self.loan.get(..lent).unwrap_or(&[]);
        let backing = self.fs.backing();
        let submit = |read: &LowerRead| backing.begin_fill(key as u16, read, lent);
        let Some(fill) = self.fs.begin_fill(KERNEL, message, submit) else {
            return false;
        };
        *slot = Some(fill);
        self.free &= !(1 << key);
        true
    }

    /// Publishes the figures for readers of the system's counters, while the
    /// server is idle.
    fn say_what_is_kept(&self) {
        let totals = self.fs.totals();
        stats::set_kept(stats::Kept {
            fids: totals.fids_lower.into(),
            files: totals.files as u64,
            snapshots: totals.snapshots.into(),
            saved: totals.saved.into(),
            rescued: totals.rescued,
        });
    }

    /// Sends an answer. Its buffers are free then.
    fn finish(&mut self, served: Served<T::Buf>) {
        match served {
            Served::Request(answer) => {
                send(&self.replies, &answer);
                drop(answer);
                self.fs.backing().freed();
            }
            Served::Times => self.learning = false,
        }
    }

    /// Runs one future to its end; requests that arrive meanwhile wait.
    ///
    /// # Errors
    /// The kernel has hung up, so that the result is no longer needed.
    fn wait_for<F: Future>(&mut self, future: F) -> Result<F::Output, Failure> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        let phase = self.phase;
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            if self.phase != phase {
                return Err(Failure::new("nobody to serve any more"));
            }
            self.fs.backing().flush();
            self.unsaid = true;
            self.receive()?;
        }
    }
}

/// Sends an answer.
fn send<B: AsRef<[u8]>>(replies: &Replies, answer: &Answer<B>) {
    replies.send([answer.head.as_slice(), answer.payload.as_slice()]);
}
