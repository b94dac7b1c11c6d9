//! The server loop: requests in, answers out, and the replies of the lower
//! server in between.
use crate::message::{Buffers, Message};
use alloc::collections::VecDeque;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use rt::abi::{Received, SERVICE_FD};
use rt::{ByteStr, Errno, Failure, File, Named, Port, stats};
use snapfs::{Answer, Backing, Executor, Snapfs};

/// Key of the kernel's channel at the receive port.
const REQUESTS: u64 = 0;
/// The key under which the port receives from the lower server.
pub const BELOW: u64 = 1;

/// Requests served at a time. Each may hold one reply from below while it waits
/// for another.
pub const TOGETHER: usize = 32;

/// The one connection there is.
const KERNEL: snapfs::ConnId = 0;

/// The connection to the lower server.
pub trait Transport: Backing {
    /// The name of the served tree, for messages.
    const TREE: &'static str;

    /// Agrees on version and message size.
    fn negotiate(&self) -> impl Future<Output = Result<(), Failure>>;

    /// Makes sure that the lower server knows of all submitted requests.
    fn flush(&self);

    /// Passes events from the lower server to the tasks that wait for them.
    ///
    /// # Errors
    /// The lower server is unusable, and so is this one.
    fn deliver(&self, came: Came, buffers: &mut Buffers) -> Result<(), Failure>;

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
    channel: File,
    port: Port,
    fs: &'f Snapfs<T>,
    buffers: Buffers,
    /// Came, and not started yet.
    waiting: VecDeque<Message>,
    hung_up: bool,
}

/// A request and its answer.
struct Served<B> {
    answer: Answer<B>,
    message: Message,
}

async fn serve<T: Transport>(fs: &Snapfs<T>, message: Message) -> Served<T::Buf> {
    let answer = fs.handle(KERNEL, &message).await;
    Served { answer, message }
}

impl<'f, T: Transport> Server<'f, T> {
    /// A server for the channel [`SERVICE_FD`]. `port` receives events of the
    /// lower server under the key [`BELOW`].
    pub fn new(port: Port, fs: &'f Snapfs<T>) -> Result<Self, Failure> {
        let channel = File::from_fd(SERVICE_FD as u32);
        port.add(&channel, REQUESTS).about("service channel")?;
        Ok(Server {
            channel,
            port,
            fs,
            buffers: Buffers::new(),
            waiting: VecDeque::new(),
            hung_up: false,
        })
    }

    /// Serves until the kernel hangs up.
    ///
    /// # Errors
    /// The lower server is unusable.
    pub fn run(mut self) -> Result<(), Failure> {
        self.wait_for(self.fs.backing().negotiate())??;
        self.wait_for(self.fs.start(ByteStr::default(), ByteStr::default()))?
            .about(T::TREE)?;
        let mut tasks = Executor::default();
        let mut running = 0;
        // After a hang-up, requests in flight hold locks that the clean-up
        // needs.
        while !(self.hung_up && tasks.is_idle()) {
            while running < TOGETHER
                && let Some(message) = self.waiting.pop_front()
            {
                match tasks.spawn(serve(self.fs, message)) {
                    Ok(Some(served)) => self.finish(served),
                    Ok(None) => running += 1,
                    // More room than TOGETHER was made sure of.
                    Err(_) => return Err(Failure::new("too many requests at a time")),
                }
            }
            self.fs.backing().flush();
            self.receive()?;
            tasks.run(|served| {
                running -= 1;
                self.finish(served);
            });
        }
        self.wait_for(self.fs.hangup(KERNEL))?;
        Ok(())
    }

    /// Waits for one message, interrupt or hang-up and takes note of it.
    fn receive(&mut self) -> Result<(), Failure> {
        self.say_what_is_kept();
        let came = match self.port.receive(self.buffers.current(), u64::MAX) {
            Ok(received) => match (received.key, received.kind) {
                (REQUESTS, Received::MESSAGE) => {
                    let message = self.buffers.message(received.len as usize);
                    self.waiting.push_back(message);
                    return Ok(());
                }
                (REQUESTS, _) => {
                    self.hung_up = true;
                    return Ok(());
                }
                (_, Received::MESSAGE) => Came::Message(received.len as usize),
                (_, Received::INTERRUPT) => Came::Interrupts,
                _ => Came::HangUp,
            },
            // The kernel keeps to the agreed size.
            Err(Errno::EMSGSIZE) => Came::TooLong,
            Err(errno) => return Err(errno).about("receive port"),
        };
        self.fs.backing().deliver(came, &mut self.buffers)
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
        let Served { answer, message } = served;
        let parts = [answer.head.as_slice(), answer.payload.as_slice()];
        // Fails only if the other end is closed; the hang-up event follows.
        let _ = rt::send(&self.channel, parts);
        drop(answer);
        self.buffers.give_back(message);
        self.fs.backing().freed();
    }

    /// Runs one future to its end; requests that arrive meanwhile wait.
    ///
    /// # Errors
    /// The kernel has hung up, so that the result is no longer needed.
    fn wait_for<F: Future>(&mut self, future: F) -> Result<F::Output, Failure> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        let hung_up = self.hung_up;
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            if self.hung_up != hung_up {
                return Err(Failure::new("nobody to serve any more"));
            }
            self.fs.backing().flush();
            self.receive()?;
        }
    }
}
