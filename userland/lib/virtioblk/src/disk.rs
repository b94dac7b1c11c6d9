//! The device: a virtqueue, and the jobs on it.

use crate::PAGE;
use crate::buffer::Buffer;
use crate::head::{Head, Heads, Views};
use alloc::collections::VecDeque;
use bitflags::bitflags;
use core::ops::Range;
use core::sync::atomic::{Ordering, fence};
use rt::{Errno, Failure, Named, Port};
use virtio::memory::Memory;
use virtio::pci::{self, Wanted};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::{DeviceType, Transport};

/// Descriptors in the queue; a request takes three.
pub(crate) const QUEUE: usize = 128;
/// The only queue that is used.
const REQUESTS: u16 = 0;
/// Bytes for the queue itself, in pieces of whole pages, and for the heads.
const OWN_LEN: usize = 5 * PAGE;
/// Most jobs at a time.
const JOBS: usize = 64;
/// Most pages of a job.
pub const PAGES_MAX: usize = 32;
/// Bytes in a sector, whatever the device's blocks.
const SECTOR: u64 = 512;

bitflags! {
    /// What the device offers and is asked for. Virtio 1.2, 5.2.3 and 6.
    #[derive(Clone, Copy, Debug)]
    struct Feature: u64 {
        /// It can discard.
        const DISCARD = 1 << 13;
        /// Both sides say at which event they want to be told.
        const RING_EVENT_IDX = 1 << 29;
        /// It is not a legacy device.
        const VERSION_1 = 1 << 32;
    }
}

/// Whether data goes to the device or comes from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the device.
    Read,
    /// To the device.
    Write,
}

/// The requests of the device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Discard,
}

/// Pages of a buffer that lie side by side on the device.
#[derive(Clone, Copy, Default, Debug)]
pub struct Piece {
    /// The first page of the buffer.
    pub page: u32,
    /// The number of pages.
    pub pages: u32,
    /// The block of the first.
    pub block: u64,
}

/// A transfer between the pages of a buffer and the device.
pub struct Job<K> {
    /// Whose job it is.
    pub key: K,
    /// The memory.
    pub buffer: Buffer,
    direction: Direction,
    pieces: [Piece; PAGES_MAX],
    len: usize,
    /// Pieces that were handed to the device.
    begun: usize,
    /// Pieces that the device has.
    flying: usize,
    failed: bool,
}

impl<K> Job<K> {
    /// A job without pieces.
    pub fn new(key: K, buffer: Buffer, direction: Direction) -> Job<K> {
        Job {
            key,
            buffer,
            direction,
            pieces: [Piece::default(); PAGES_MAX],
            len: 0,
            begun: 0,
            flying: 0,
            failed: false,
        }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// `EINVAL`: there are too many, or it is outside of the buffer.
    pub fn add(&mut self, piece: Piece) -> Result<(), Errno> {
        let end = piece.page.checked_add(piece.pages);
        let inside = end.is_some_and(|end| end as usize <= self.buffer.pages());
        if !inside || piece.pages == 0 {
            return Err(Errno::EINVAL);
        }
        *self.pieces.get_mut(self.len).ok_or(Errno::EINVAL)? = piece;
        self.len += 1;
        Ok(())
    }

    /// The next piece for the device. After a failure none is begun.
    fn next(&self) -> Option<Piece> {
        let left = self.pieces.get(self.begun..self.len).unwrap_or_default();
        left.first().copied().filter(|_| !self.failed)
    }

    fn is_over(&self) -> bool {
        self.flying == 0 && self.next().is_none()
    }
}

/// The device is done with something.
pub enum Completion<K> {
    /// A job.
    Job(Done<K>),
    /// A discard of these blocks, or an attempt.
    Discard(Range<u32>),
}

/// A job that is over.
pub struct Done<K> {
    /// Whose job it was.
    pub key: K,
    /// The memory.
    pub buffer: Buffer,
    /// `EIO`: the device has failed.
    pub result: Result<(), Errno>,
}

/// A request that the device is working on.
#[derive(Clone)]
struct Flight {
    head: Head,
    what: What,
}

#[derive(Clone)]
enum What {
    /// A piece of a job.
    Piece(usize, Piece),
    /// A discard of blocks.
    Discard(Range<u32>),
}

/// A virtio-blk device.
pub struct Disk<K> {
    queue: VirtQueue<Memory, QUEUE>,
    transport: PciTransport,
    heads: Heads,
    blocks: u64,
    /// Most blocks of one discard; 0: the device has none.
    discard_max: u32,
    jobs: [Option<Job<K>>; JOBS],
    /// Jobs with pieces that are not begun, in order.
    waiting: VecDeque<usize>,
    /// Requests in flight, by the queue's token.
    flying: [Option<Flight>; QUEUE],
    /// Requests were submitted without a notification of the device.
    unkicked: bool,
}

impl<K> Disk<K> {
    /// Starts the first such device, with `room` bytes of DMA memory for the pools
    /// of buffers. Its interrupts arrive at `port` under `key`. `None`: there is no
    /// such device.
    ///
    /// # Errors
    /// A missing feature, or out of memory.
    pub fn open(port: &Port, key: u64, room: usize) -> Result<Option<Disk<K>>, Failure> {
        let data = port
            .add_interrupt(key, rt::abi::IRQ_MSI)
            .about("interrupt")?;
        let wanted = Wanted {
            kind: DeviceType::Block,
            name: "virtio-blk",
            fits: &|_| true,
        };
        let Some(mut found) = pci::find(&wanted, data)? else {
            return Ok(None);
        };
        found.attach_memory(OWN_LEN + room).about("dma memory")?;
        let features = found
            .transport
            .begin_init(Feature::VERSION_1 | Feature::RING_EVENT_IDX | Feature::DISCARD);
        if !features.contains(Feature::VERSION_1) {
            return Err(Failure::new("virtio-blk device: not a modern one"));
        }
        let blocks = capacity(&found.transport)?;
        let discard_max = match features.contains(Feature::DISCARD) {
            true => discard_max(&found.transport)?,
            false => 0,
        };
        found
            .route(REQUESTS)
            .about("virtio-blk device: interrupt")?;
        let event_idx = features.contains(Feature::RING_EVENT_IDX);
        let queue = VirtQueue::new(&mut found.transport, REQUESTS, false, event_idx)
            .map_err(|why| Failure::new(format_args!("virtio-blk device: queue: {why}")))?;
        found.transport.finish_init();
        Ok(Some(Disk {
            queue,
            transport: found.transport,
            heads: Heads::new().about("dma memory")?,
            blocks,
            discard_max,
            jobs: [const { None }; JOBS],
            waiting: VecDeque::with_capacity(JOBS),
            flying: [const { None }; QUEUE],
            unkicked: false,
        }))
    }

    /// Blocks of the device.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Most blocks of one discard; 0: the device has none.
    pub fn discard_max(&self) -> u32 {
        self.discard_max
    }

    /// Tells the device that nobody needs what these blocks hold, at most
    /// [`Disk::discard_max`]; [`Disk::completed`] tells when that is done.
    ///
    /// # Errors
    /// `EBUSY`: there are too many requests.
    pub fn discard(&mut self, blocks: Range<u32>) -> Result<(), Errno> {
        let count = blocks.end.saturating_sub(blocks.start);
        let head = self.heads.take_discard(blocks.start.into(), count);
        let head = head.ok_or(Errno::EBUSY)?;
        let Views {
            header,
            range,
            status,
        } = self.heads.views(head);
        // SAFETY: as in `submit`; the range is part of the head.
        let token = unsafe { self.queue.add(&[header, range], &mut [status]) };
        let what = What::Discard(blocks);
        self.enter(token.map_err(|_| Errno::EIO)?, Flight { head, what })
    }

    /// Notes a request that the device has.
    fn enter(&mut self, token: u16, flight: Flight) -> Result<(), Errno> {
        *self.flying.get_mut(usize::from(token)).ok_or(Errno::EIO)? = Some(flight);
        self.unkicked = true;
        Ok(())
    }

    /// Returns true if a job can begin.
    pub fn has_room(&self) -> bool {
        self.jobs.iter().any(Option::is_none)
    }

    /// Begins a job, which may wait for [`Disk::kick`]; [`Disk::completed`] returns it.
    ///
    /// # Errors
    /// `EBUSY`: there are too many; the job is lost.
    pub fn begin(&mut self, job: Job<K>) -> Result<(), Errno> {
        let free = self.jobs.iter().position(Option::is_none);
        let index = free.ok_or(Errno::EBUSY)?;
        self.jobs[index] = Some(job);
        self.waiting.push_back(index);
        self.submit()
    }

    /// Hands pieces to the device, as many as there are descriptors for. `EIO` if the
    /// queue refuses one. That cannot happen, because each head has descriptors.
    fn submit(&mut self) -> Result<(), Errno> {
        while let Some(&index) = self.waiting.front() {
            // A job that failed may be over and gone.
            let job = self.jobs[index].as_mut();
            let Some((piece, job)) = job.and_then(|job| Some((job.next()?, job))) else {
                self.waiting.pop_front();
                continue;
            };
            let kind = match job.direction {
                Direction::Read => Kind::Read,
                Direction::Write => Kind::Write,
            };
            let Some(head) = self.heads.take(kind, piece.block) else {
                return Ok(());
            };
            let Views { header, status, .. } = self.heads.views(head);
            let data = job.buffer.data_mut(range(piece));
            // SAFETY: (1) all views are of DMA memory, which is never unmapped;
            // (2) head and buffer stay in `flying` and `jobs`, inaccessible, until
            // `completed` has popped the token.
            let token = unsafe {
                match job.direction {
                    Direction::Read => self.queue.add(&[header], &mut [data, status]),
                    Direction::Write => self.queue.add(&[header, data], &mut [status]),
                }
            };
            job.begun += 1;
            job.flying += 1;
            let what = What::Piece(index, piece);
            self.enter(token.map_err(|_| Errno::EIO)?, Flight { head, what })?;
        }
        Ok(())
    }

    /// Notifies the device of submitted requests, unless it has disabled
    /// notifications.
    pub fn kick(&mut self) {
        if !core::mem::take(&mut self.unkicked) {
            return;
        }
        // The queue's index must be visible to the device before its request for a
        // notification is read.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            self.transport.notify(REQUESTS);
        }
    }

    /// The next thing that is over. `None`: an interrupt will announce it.
    ///
    /// # Errors
    /// `EIO`: the device completed a request that it does not have. The device is
    /// unusable from then on.
    pub fn completed(&mut self) -> Result<Option<Completion<K>>, Errno> {
        loop {
            let over = |job: &Option<Job<K>>| job.as_ref().is_some_and(Job::is_over);
            if let Some(place) = self.jobs.iter_mut().find(|job| over(job))
                && let Some(job) = place.take()
            {
                let result = if job.failed { Err(Errno::EIO) } else { Ok(()) };
                let Job { key, buffer, .. } = job;
                return Ok(Some(Completion::Job(Done {
                    key,
                    buffer,
                    result,
                })));
            }
            match self.pop()? {
                None => return Ok(None),
                Some(What::Discard(blocks)) => return Ok(Some(Completion::Discard(blocks))),
                Some(What::Piece(..)) => self.submit()?,
            }
        }
    }

    /// Takes one completed request from the device; `None`: there is none.
    fn pop(&mut self) -> Result<Option<What>, Errno> {
        if !self.queue.can_pop() {
            // Popping has told the device up to which index no interrupt is needed.
            // Completions from before the device saw this raise none, so check again
            // once it is visible.
            fence(Ordering::SeqCst);
        }
        let Some(token) = self.queue.peek_used() else {
            return Ok(None);
        };
        let flying = self.flying.get_mut(usize::from(token));
        let Flight { head, what } = flying.and_then(Option::take).ok_or(Errno::EIO)?;
        let Views {
            header,
            range: discarded,
            status,
        } = self.heads.views(head);
        let What::Piece(index, piece) = what else {
            // SAFETY: the same views as in `discard`.
            let popped = unsafe {
                let parts = [&header[..], &discarded[..]];
                self.queue.pop_used(token, &parts, &mut [status])
            };
            popped.map_err(|_| Errno::EIO)?;
            // What was not discarded takes room, and no more.
            self.heads.give_back(head);
            return Ok(Some(what));
        };
        let job = self.jobs[index].as_mut().ok_or(Errno::EIO)?;
        let data = job.buffer.data_mut(range(piece));
        // SAFETY: the same views as in `submit`.
        let popped = unsafe {
            match job.direction {
                Direction::Read => self.queue.pop_used(token, &[header], &mut [data, status]),
                Direction::Write => self.queue.pop_used(token, &[header, data], &mut [status]),
            }
        };
        popped.map_err(|_| Errno::EIO)?;
        job.flying -= 1;
        job.failed |= !self.heads.give_back(head);
        Ok(Some(what))
    }
}

/// The pages of a piece in its buffer.
fn range(piece: Piece) -> Range<usize> {
    piece.page as usize..(piece.page + piece.pages) as usize
}

/// Most blocks of one discard, from the device's configuration
/// (`max_discard_sectors[4]`).
fn discard_max(transport: &PciTransport) -> Result<u32, Failure> {
    let sectors: Result<u32, _> = transport.read_config_space(36);
    let sectors =
        sectors.map_err(|why| Failure::new(format_args!("virtio-blk device: discard: {why}")))?;
    Ok(sectors / (PAGE as u64 / SECTOR) as u32)
}

/// Whole blocks of the device, from its configuration (`sectors[8]`).
fn capacity(transport: &PciTransport) -> Result<u64, Failure> {
    let sectors = transport.read_consistent(|| {
        let low: u32 = transport.read_config_space(0)?;
        let high: u32 = transport.read_config_space(4)?;
        Ok(u64::from(high) << 32 | u64::from(low))
    });
    let sectors =
        sectors.map_err(|why| Failure::new(format_args!("virtio-blk device: capacity: {why}")))?;
    Ok(sectors / (PAGE as u64 / SECTOR))
}
