//! The loop: requests in, transfers with the device, answers out.

use crate::message::Message;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use ninep::consts::{READ_HEAD, WRITE_HEAD};
use ninep::{List, Reply, Request};
use rt::abi::Received;
use rt::{Errno, Failure, File, Named, Port, Replies, sys};
use swaptree::{Answer, Id, MSIZE, PAGE, PAGES_MAX, Place, Step, Tree};
use virtioblk::{Buffer, Completion, Direction, Disk, Done, Job, Piece, Pool};

/// Key of the kernel's channel at the receive port.
pub const REQUESTS: u64 = 0;
/// Key of the device's interrupts.
pub const DEVICE: u64 = 1;

/// Buffers for messages that come in: writes under way, and one to receive into.
const INCOMING: usize = 5;
/// Buffers for the answers to reads of one page.
const SMALL: usize = 16;
/// Buffers for the answers to longer reads.
const LARGE: usize = 3;
/// Bytes of DMA memory of all buffers.
pub const BUFFERS_LEN: usize = Pool::memory(INCOMING + LARGE, PAGES_MAX) + Pool::memory(SMALL, 1);
const _: () = assert!(MSIZE as usize <= WRITE_HEAD + (PAGES_MAX + 1) * PAGE as usize);

/// Most requests that wait to be served: more than the kernel has tags.
const WAITING_MAX: usize = 128;
/// Most discards under way.
const DISCARDS: usize = 4;
/// Interval of a look at the device while there is no buffer to receive into.
const LOOK_NS: u64 = 100_000;
/// Bytes of the longest reply without its payload.
const HEAD_MAX: usize = 256;
/// Bytes of a directory's entries in one message.
const LIST_LEN: usize = 4096;

/// The device, whose jobs belong to transfers.
type Device = Disk<Id>;

/// The server and its ends.
pub struct Server {
    replies: Replies,
    port: Port,
    tree: Tree,
    disk: Device,
    incoming: &'static Pool,
    small: &'static Pool,
    large: &'static Pool,
    /// Where the next message goes.
    free: Option<Buffer>,
    /// Came, and not served yet.
    waiting: VecDeque<Message>,
    list: Box<[u8; LIST_LEN]>,
    /// Discards under way.
    discards: usize,
    hung_up: bool,
}

/// Whether the first waiting message has been served.
#[derive(PartialEq, Eq)]
enum Served {
    Yes,
    /// It waits for a transfer under way.
    NotYet,
}

/// A pool that exists as long as the process.
fn pool(count: usize, pages: usize) -> Result<&'static Pool, Failure> {
    Ok(Box::leak(Box::new(
        Pool::new(count, pages).about("dma memory")?,
    )))
}

impl Server {
    /// A server of `tree` in the blocks of `disk`.
    pub fn new(channel: File, port: Port, tree: Tree, disk: Device) -> Result<Server, Failure> {
        Ok(Server {
            replies: Replies::new(channel),
            port,
            tree,
            disk,
            incoming: pool(INCOMING, PAGES_MAX)?,
            small: pool(SMALL, 1)?,
            large: pool(LARGE, PAGES_MAX)?,
            free: None,
            waiting: VecDeque::with_capacity(WAITING_MAX),
            list: Box::new([0; LIST_LEN]),
            discards: 0,
            hung_up: false,
        })
    }

    /// Serves until the kernel hangs up.
    ///
    /// # Errors
    /// The device is unusable.
    pub fn run(mut self) -> Result<(), Failure> {
        while !self.hung_up {
            while let Some(message) = self.waiting.pop_front() {
                if self.serve(message)? == Served::NotYet {
                    break;
                }
            }
            self.discard()?;
            self.disk.kick();
            self.receive()?;
        }
        Ok(())
    }

    /// Has the device discard what is free, a few pieces at a time and while no request
    /// waits.
    fn discard(&mut self) -> Result<(), Failure> {
        let most = self.disk.discard_max();
        while most > 0 && self.waiting.is_empty() && self.discards < DISCARDS {
            let Some(blocks) = self.tree.next_discard(most) else {
                break;
            };
            match self.disk.discard(blocks.clone()) {
                Ok(()) => self.discards += 1,
                Err(Errno::EBUSY) => {
                    // They stay as they are.
                    self.tree.discarded(blocks);
                    break;
                }
                Err(errno) => return Err(errno).about("virtio-blk device"),
            }
        }
        Ok(())
    }

    /// Waits for one message or interrupt, and takes it.
    fn receive(&mut self) -> Result<(), Failure> {
        let full = self.waiting.len() >= WAITING_MAX;
        let free = self.free.take().or_else(|| self.incoming.take());
        let Some(mut buffer) = free.filter(|_| !full) else {
            // A flood: the kernel has fewer writes under way than there are buffers.
            self.replies.flush();
            sys::sleep(LOOK_NS).about("sleep")?;
            return self.finish_jobs();
        };
        let room = buffer.message_mut(WRITE_HEAD);
        let received = match self.replies.receive(&self.port, room, u64::MAX, None) {
            Ok((received, _)) => received,
            // Longer than was agreed on: it has no answer.
            Err(Errno::EMSGSIZE) => return Ok(()),
            Err(errno) => return Err(errno).about("receive port"),
        };
        match (received.key, received.kind) {
            (REQUESTS, Received::MESSAGE) => {
                let (message, free) = Message::of(buffer, received.len as usize);
                self.free = free;
                self.waiting.push_back(message);
                Ok(())
            }
            (DEVICE, Received::INTERRUPT) => {
                self.free = Some(buffer);
                self.finish_jobs()
            }
            _ => {
                self.hung_up = true;
                Ok(())
            }
        }
    }

    /// Serves one message, or puts it back.
    fn serve(&mut self, message: Message) -> Result<Served, Failure> {
        let (tag, request) = match ninep::decode_request(message.bytes()) {
            Ok(decoded) => decoded,
            Err(_) => {
                if let Some((_, _, tag)) = ninep::peek(message.bytes()) {
                    self.reply(tag, &Reply::Error(Errno::EPROTO));
                }
                return Ok(Served::Yes);
            }
        };
        // Memory comes first, because a transfer that has begun cannot wait for it.
        let room = match request {
            Request::Read { count, .. } => self.room(count),
            Request::Write { .. } if !self.disk.has_room() => None,
            _ => Some(None),
        };
        let step = match room {
            None => Ok(Step::Wait),
            Some(_) => self.tree.request(tag, &request, &mut *self.list),
        };
        match (step, room.flatten(), message) {
            (Ok(Step::Wait), _, message) => {
                self.waiting.push_front(message);
                return Ok(Served::NotYet);
            }
            (Ok(Step::Answer(answer)), ..) => self.answer(tag, &answer),
            (Ok(Step::Transfer(id)), Some(buffer), _)
            | (Ok(Step::Transfer(id)), None, Message::Long { buffer, .. }) => {
                self.transfer(id, buffer)?;
            }
            // Not even a head fits a short message of a write with pages.
            (Ok(Step::Transfer(id)), None, Message::Short { .. }) => {
                self.end(id, None, Err(Errno::EPROTO));
            }
            (Err(errno), ..) => self.reply(tag, &Reply::Error(errno)),
        }
        Ok(Served::Yes)
    }

    /// A buffer for the answer to a read of `count` bytes; `None`: wait for one.
    fn room(&self, count: u32) -> Option<Option<Buffer>> {
        if !self.disk.has_room() {
            return None;
        }
        let small = (u64::from(count) <= PAGE).then(|| self.small.take());
        small.flatten().or_else(|| self.large.take()).map(Some)
    }

    /// Begins a transfer between the pages of `buffer` and the device.
    fn transfer(&mut self, id: Id, mut buffer: Buffer) -> Result<(), Failure> {
        let Some(transfer) = self.tree.transfer(id) else {
            return Ok(());
        };
        let direction = match transfer.direction {
            swaptree::Direction::Read => Direction::Read,
            swaptree::Direction::Write => Direction::Write,
        };
        let mut pieces = [Piece::default(); PAGES_MAX];
        let (mut used, mut page) = (0, 0);
        for part in transfer.parts() {
            match part.place {
                Place::Zeros if direction == Direction::Read => {
                    buffer.zero(page as usize..(page + part.pages) as usize);
                }
                Place::Zeros => {}
                Place::Blocks(block) | Place::Fresh(block) => {
                    if let Some(piece) = pieces.get_mut(used) {
                        let block = u64::from(block);
                        let pages = part.pages;
                        *piece = Piece { page, pages, block };
                        used += 1;
                    }
                }
            }
            page += part.pages;
        }
        if used == 0 {
            self.end(id, Some(buffer), Ok(()));
            return Ok(());
        }
        let mut job = Job::new(id, buffer, direction);
        for piece in pieces.into_iter().take(used) {
            job.add(piece).about("transfer")?;
        }
        self.disk.begin(job).about("virtio-blk device")
    }

    /// Answers the requests whose jobs are over.
    fn finish_jobs(&mut self) -> Result<(), Failure> {
        while let Some(done) = self.disk.completed().about("virtio-blk device")? {
            match done {
                Completion::Job(Done {
                    key,
                    buffer,
                    result,
                }) => self.end(key, Some(buffer), result),
                Completion::Discard(blocks) => {
                    self.discards -= 1;
                    self.tree.discarded(blocks);
                }
            }
        }
        Ok(())
    }

    /// A transfer is over.
    fn end(&mut self, id: Id, buffer: Option<Buffer>, result: Result<(), Errno>) {
        let bytes = self
            .tree
            .transfer(id)
            .map_or(0, |transfer| transfer.bytes());
        let Some((tag, answer)) = self.tree.finish(id, result) else {
            return;
        };
        match (answer, buffer) {
            (Answer::Read, Some(buffer)) => self.send_pages(tag, buffer, bytes as usize),
            (answer, _) => self.answer(tag, &answer),
        }
    }

    /// Sends the first bytes of a buffer's pages as the answer to a read.
    fn send_pages(&self, tag: u16, mut buffer: Buffer, bytes: usize) {
        let reply = Reply::Read { data: &[] };
        let message = buffer.message_mut(READ_HEAD);
        if ninep::encode_reply_head(tag, &reply, bytes, message) == Ok(READ_HEAD) {
            let reply = buffer.message(READ_HEAD, READ_HEAD + bytes);
            self.replies.send([reply]);
        }
    }

    fn answer(&self, tag: u16, answer: &Answer) {
        match answer {
            Answer::Reply(reply) => self.reply(tag, reply),
            Answer::Walk(walked) => {
                let qids = List::new(walked.as_slice());
                self.reply(tag, &Reply::Walk { qids });
            }
            Answer::List(len) => {
                let data = self.list.get(..*len).unwrap_or_default();
                self.send(tag, &Reply::Readdir { data: &[] }, data);
            }
            // Its pages are in a buffer, or were never read.
            Answer::Read => self.reply(tag, &Reply::Error(Errno::EIO)),
        }
    }

    fn reply(&self, tag: u16, reply: &Reply<'_>) {
        self.send(tag, reply, &[]);
    }

    fn send(&self, tag: u16, reply: &Reply<'_>, payload: &[u8]) {
        let mut head = [0; HEAD_MAX];
        if let Ok(n) = ninep::encode_reply_head(tag, reply, payload.len(), &mut head) {
            self.replies
                .send([head.get(..n).unwrap_or_default(), payload]);
        }
    }
}
