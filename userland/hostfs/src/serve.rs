//! The loop: requests in, answers out, interrupts in between.
use crate::below::{Below, Data};
use crate::message::{Buffers, Message};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use rt::abi::Received;
use rt::{Failure, File, Named, Port, stats};
use snapfs::{Answer, Executor, Snapfs};

/// Keys at the receive port.
pub const REQUESTS: u64 = 0;
pub const INTERRUPTS: u64 = 1;

/// Requests served at a time. Each may hold one slot while it waits for
/// another, so there must be fewer of them than slots.
const TOGETHER: usize = 32;

/// The one connection there is.
const KERNEL: snapfs::ConnId = 0;

/// The server and its ends.
pub struct Server {
    channel: File,
    port: Port,
    fs: &'static Snapfs<Below>,
    buffers: Buffers,
    /// Came, and not started yet.
    waiting: VecDeque<Message>,
    hung_up: bool,
}

/// A request and its answer.
struct Served {
    answer: Answer<Data>,
    message: Message,
}

async fn serve(fs: &'static Snapfs<Below>, message: Message) -> Served {
    let answer = fs.handle(KERNEL, &message).await;
    Served { answer, message }
}

impl Server {
    pub fn new(channel: File, port: Port, below: Below) -> Self {
        Server {
            channel,
            port,
            fs: Box::leak(Box::new(Snapfs::new(below, 0))),
            buffers: Buffers::new(),
            waiting: VecDeque::new(),
            hung_up: false,
        }
    }

    /// Serves until the kernel hangs up.
    ///
    /// # Errors
    /// The device is broken, or the server behind it is of no use.
    pub fn run(mut self) -> Result<(), Failure> {
        self.wait_for(self.fs.backing().negotiate())??;
        self.wait_for(self.fs.start("", ""))?
            .about("the host's directory")?;
        let mut tasks = Executor::default();
        let mut running = 0;
        while !self.hung_up {
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
        let received = self
            .port
            .receive(self.buffers.current(), u64::MAX)
            .about("receive port")?;
        match received.kind {
            Received::MESSAGE => {
                let message = self.buffers.message(received.len as usize);
                self.waiting.push_back(message);
            }
            Received::INTERRUPT => self.fs.backing().deliver().about("virtio-9p")?,
            _ => self.hung_up = true,
        }
        Ok(())
    }

    /// For whoever looks at the system's counters while nothing happens here.
    fn say_what_is_kept(&self) {
        let totals = self.fs.totals();
        stats::set_kept(stats::Kept {
            fids: totals.fids_below.into(),
            files: totals.files as u64,
            snapshots: totals.snapshots.into(),
            saved: totals.saved.into(),
            rescued: totals.rescued,
        });
    }

    /// Sends an answer. Its buffers are free then.
    fn finish(&mut self, served: Served) {
        let Served { answer, message } = served;
        let parts = [answer.head.as_slice(), answer.payload.as_slice()];
        // Fails only if nobody is there to receive it; the hang-up follows.
        let _ = rt::send(&self.channel, parts);
        drop(answer);
        self.buffers.give_back(message);
        self.fs.backing().freed();
    }

    /// Runs one future to its end; requests that come meanwhile wait.
    fn wait_for<F: Future>(&mut self, future: F) -> Result<F::Output, Failure> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Ok(output);
            }
            self.fs.backing().flush();
            self.receive()?;
        }
    }
}
