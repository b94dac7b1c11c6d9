//! A split virtqueue (Virtio 1.2, 2.7) for a device that takes requests in any
//! order.
//!
//! Each request has a number below the queue's size, which its driver chooses and
//! does not use twice at a time. It is the index of the request's only descriptor,
//! which leads to a table of the request's own with all of its parts. So nothing is
//! searched or linked, and a request may have many parts.
use crate::memory;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use rt::Errno;
use virtio_drivers::PhysAddr;
use virtio_drivers::transport::Transport;

/// Words of a descriptor: an address; a length, flags and the next one's index.
const WORDS: usize = 2;
/// Another part follows.
const NEXT: u64 = 1;
/// The device writes the part.
const WRITE: u64 = 2;
/// The descriptor leads to a table.
const INDIRECT: u64 = 4;

/// Bytes of memory that a device reads or writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// The first one.
    pub at: PhysAddr,
    /// How many.
    pub len: u32,
}

/// A request that the device has completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// Its number.
    pub request: u16,
    /// Bytes that the device says it has written.
    pub len: u32,
}

/// A queue of `SIZE` requests of at most `PARTS` parts each. Its memory is shared
/// with the device, so all of it is read and written as atomics.
pub struct Queue<const SIZE: usize, const PARTS: usize> {
    descriptors: &'static [AtomicU64],
    tables: &'static [AtomicU64],
    /// Flags, index, ring, and up to which completion no interrupt is needed.
    avail: &'static [AtomicU16],
    /// Flags and index, pairs of request and length, and up to which request no
    /// notification is needed.
    used: &'static [AtomicU32],
    /// Physical address of the tables.
    tables_at: PhysAddr,
    /// Requests submitted so far, and when the device was notified last.
    submitted: u16,
    notified: u16,
    /// Completions taken so far.
    taken: u16,
    /// `RING_EVENT_IDX` was negotiated.
    event_idx: bool,
}

impl<const SIZE: usize, const PARTS: usize> Queue<SIZE, PARTS> {
    const OK: () = assert!(SIZE.is_power_of_two() && SIZE <= 1 << 15 && PARTS > 0);
    const TABLE: usize = PARTS * WORDS;
    const AVAIL_LEN: usize = 2 + SIZE + 1;
    const USED_LEN: usize = 1 + 2 * SIZE + 1;
    const WORDS_LEN: usize = SIZE * WORDS;
    const TABLES_LEN: usize = SIZE * Self::TABLE;

    /// Bytes of DMA memory for such a queue: each part begins a page.
    pub const LEN: usize = pages(Self::WORDS_LEN * 8)
        + pages(Self::TABLES_LEN * 8)
        + pages(Self::AVAIL_LEN * 2)
        + pages(Self::USED_LEN * 4);

    /// Queue `index` of a device that has negotiated `RING_INDIRECT_DESC`.
    ///
    /// # Errors
    /// `ENXIO`: the device has no such queue, or a smaller one; `ENOMEM`: DMA
    /// memory is out.
    pub fn new(transport: &mut impl Transport, index: u16, event_idx: bool) -> Result<Self, Errno> {
        let () = Self::OK;
        if transport.max_queue_size(index) < SIZE as u32 {
            return Err(Errno::ENXIO);
        }
        let take = |len| memory::take(len).ok_or(Errno::ENOMEM);
        let [descriptors, tables] = [take(Self::WORDS_LEN * 8)?, take(Self::TABLES_LEN * 8)?];
        let [avail, used] = [take(Self::AVAIL_LEN * 2)?, take(Self::USED_LEN * 4)?];
        let at = |memory: NonNull<u8>| memory::physical(memory.as_ptr() as usize, 1);
        transport.queue_set(index, SIZE as u32, at(descriptors), at(avail), at(used));
        // SAFETY: the memory is zeroed, page aligned, as long as said, never given
        // back, and referred to by nothing but this queue. That the device changes it
        // is what atomics are for.
        let (words, table_words, avail_ring, used_ring) = unsafe {
            (
                core::slice::from_raw_parts(descriptors.as_ptr().cast(), Self::WORDS_LEN),
                core::slice::from_raw_parts(tables.as_ptr().cast(), Self::TABLES_LEN),
                core::slice::from_raw_parts(avail.as_ptr().cast(), Self::AVAIL_LEN),
                core::slice::from_raw_parts(used.as_ptr().cast(), Self::USED_LEN),
            )
        };
        Ok(Queue {
            descriptors: words,
            tables: table_words,
            avail: avail_ring,
            used: used_ring,
            tables_at: at(tables),
            submitted: 0,
            notified: 0,
            taken: 0,
            event_idx,
        })
    }

    /// Hands a request to the device, which may wait for a notification before it
    /// looks at it: parts that the device reads, then parts that it writes.
    ///
    /// # Errors
    /// `EINVAL`: no such number, no part, or too many; nothing was done.
    ///
    /// # Safety
    /// The number is not that of a request with the device. The parts are memory that
    /// nothing else reads or writes before [`Queue::completed`] has returned the number.
    #[inline]
    pub unsafe fn submit(
        &mut self,
        request: u16,
        read: impl Iterator<Item = Part>,
        written: impl Iterator<Item = Part>,
    ) -> Result<(), Errno> {
        let index = usize::from(request);
        let first = index * Self::TABLE;
        let table = self.tables.get(first..first + Self::TABLE);
        let table = table.ok_or(Errno::EINVAL)?;
        let mut entries = table.chunks_exact(WORDS);
        let mut count = 0;
        for part in read {
            count += 1;
            put(entries.next(), part, NEXT | following(count))?;
        }
        let readable = count;
        let mut written = written.peekable();
        while let Some(part) = written.next() {
            count += 1;
            let flags = match written.peek() {
                Some(_) => WRITE | NEXT | following(count),
                None => WRITE,
            };
            put(entries.next(), part, flags)?;
        }
        if readable == 0 || count == readable {
            return Err(Errno::EINVAL);
        }
        let whole = Part {
            at: self.tables_at + (first * 8) as PhysAddr,
            len: (count * 16) as u32,
        };
        let at = index * WORDS;
        put(self.descriptors.get(at..at + WORDS), whole, INDIRECT)?;
        let ring = 2 + usize::from(self.submitted) % SIZE;
        if let [_, available, ..] = self.avail
            && let Some(place) = self.avail.get(ring)
        {
            place.store(request, Ordering::Relaxed);
            self.submitted = self.submitted.wrapping_add(1);
            // All of the above is visible to a device that sees the index.
            available.store(self.submitted, Ordering::Release);
        }
        Ok(())
    }

    /// Returns true if the device wants to be notified of what was submitted since
    /// this was asked last.
    #[inline]
    pub fn should_notify(&mut self) -> bool {
        // The index must be visible to the device before its wish is read.
        fence(Ordering::SeqCst);
        let since = self.submitted.wrapping_sub(self.notified);
        self.notified = self.submitted;
        let (Some(head), Some(event)) = (self.used.first(), self.used.get(Self::USED_LEN - 1))
        else {
            return true;
        };
        if self.event_idx {
            let event = event.load(Ordering::Acquire) as u16;
            self.submitted.wrapping_sub(event).wrapping_sub(1) < since
        } else {
            head.load(Ordering::Acquire) & 1 == 0
        }
    }

    /// The next completed request. `None`: an interrupt will announce it.
    #[inline]
    pub fn completed(&mut self) -> Option<Used> {
        if !self.has_completed() {
            // The device knows up to which completion no interrupt is needed.
            // Completions from before it saw this raise none, so check again once it
            // is visible.
            fence(Ordering::SeqCst);
            if !self.has_completed() {
                return None;
            }
        }
        let at = 1 + 2 * (usize::from(self.taken) % SIZE);
        let [id, len] = self.used.get(at..at + 2)? else {
            return None;
        };
        let used = Used {
            // A number that is none stays none.
            request: u16::try_from(id.load(Ordering::Relaxed)).unwrap_or(u16::MAX),
            len: len.load(Ordering::Relaxed),
        };
        self.taken = self.taken.wrapping_add(1);
        if self.event_idx
            && let Some(event) = self.avail.get(Self::AVAIL_LEN - 1)
        {
            event.store(self.taken, Ordering::Release);
        }
        Some(used)
    }

    #[inline]
    fn has_completed(&self) -> bool {
        let head = self.used.first();
        head.is_some_and(|head| (head.load(Ordering::Acquire) >> 16) as u16 != self.taken)
    }
}

/// Bytes rounded up to pages.
const fn pages(len: usize) -> usize {
    len.next_multiple_of(virtio_drivers::PAGE_SIZE)
}

/// Writes a descriptor.
#[inline]
fn put(entry: Option<&[AtomicU64]>, part: Part, flags: u64) -> Result<(), Errno> {
    let Some([at, rest]) = entry else {
        return Err(Errno::EINVAL);
    };
    at.store(part.at, Ordering::Relaxed);
    rest.store(u64::from(part.len) | flags << 32, Ordering::Relaxed);
    Ok(())
}

/// The flags that make a descriptor lead to the one with that index.
const fn following(index: u64) -> u64 {
    index << 16
}
