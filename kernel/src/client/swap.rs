//! Where memory goes that does not fit into frames: temporary files at a server.
//!
//! A file is named by a [`SwapId`], the number of its entry in a table. It is held by
//! the segments with pages in it; the last one to let go gives its fid back. At the
//! server it has a name only between two messages, so that the server frees it with
//! that fid, also if the kernel is no more.
use super::Mount;
use super::entries::Entries;
use super::remote::{Directory, Remote};
use super::walk::{Aim, Found, Reached};
use crate::chan::{End, Piece, room};
use crate::counters;
use crate::text;
use abi::{Errno, PAGE, Stat64, mode};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hw::frames::FrameRef;
use hw::heap::{new_arc, new_box};
use hw::lock::{Lock, Rank};
use hw::random;
use names::Last;
use vm::SwapId;

/// Most files there can be.
pub const FILES_MAX: u64 = 8192;
/// Pages that a discard is worth a message for.
const DISCARD_WORTH: u64 = 256;

/// Most names that are left to be removed.
const LEFT_MAX: usize = 64;

/// A directory for files, which have a name in it only between two messages.
struct Files {
    remote: Remote,
    /// Tells the files of several guests in one directory apart.
    key: u64,
    /// Numbers of files that may still have their name: whoever made them had to end
    /// between two messages.
    left: Lock<Vec<u64>>,
}

/// Where files are made.
struct Place {
    directory: Files,
    /// Pages that its server has room for in all, as far as it says.
    room: u64,
    /// A page of zeros to write over pages that are given up, if that frees their
    /// room at the server.
    hole: Option<FrameRef>,
}

/// The fid of a file. It is not among those that the counters show: whose pages leave
/// memory is not the doing of the program that runs then.
struct Uncounted(Remote);

impl Uncounted {
    fn new(remote: Remote) -> Uncounted {
        counters::subtract_one(Stat64::Fids);
        Uncounted(remote)
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        counters::add(Stat64::Fids, 1);
    }
}

/// A file.
struct Held {
    file: Arc<Uncounted>,
    place: Arc<Place>,
    holders: u32,
}

static PLACE: Lock<Option<Arc<Place>>> = Lock::new(Rank::Snapshots, None);
static FILES: Lock<Entries<Held>> = Lock::new(Rank::Snapshots, Entries::new());
/// The number of the next file.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// From now on memory goes to files in the top directory of the server at `end`,
/// which nothing else has a name for; see [`set_place`].
///
/// # Errors
/// As [`Mount::connect`] and [`set_place`].
pub fn connect(end: Arc<End>) -> Result<(), Errno> {
    let mount = Mount::connect(end, b"")?;
    match Remote::reach(&mount, b"", Last::Keep, Aim::Fid)? {
        Reached::End(Found::Fid(top)) => set_place(&top),
        Reached::End(_) | Reached::Link(..) | Reached::Nothing(..) => Err(Errno::EPROTO),
    }
}

/// From now on memory goes to files in this directory; that which went elsewhere
/// comes back from there.
///
/// # Errors
/// `EOPNOTSUPP`: its server has snapshots, so that its own memory might be needed for
/// those of swapped pages. `ENOTDIR`; the errors of making and writing a file there.
pub fn set_place(directory: &Remote) -> Result<(), Errno> {
    if directory.mount.has_snapshots() {
        return Err(Errno::EOPNOTSUPP);
    }
    if directory.kind() == Directory::No {
        return Err(Errno::ENOTDIR);
    }
    let directory = Files::new(directory.another()?)?;
    // A directory without room for files is refused now, not when memory is out.
    let probe = directory.make()?;
    let zeros = FrameRef::alloc_kernel().ok_or(Errno::ENOMEM)?;
    zeros.write(0, &[0; PAGE as usize]);
    write_all(&probe.0, 0, 1, |_| zeros.again())?;
    let frees = probe.0.blocks()? == 0;
    let hole = frees.then_some(zeros);
    let room = directory.remote.room().unwrap_or(u64::MAX);
    let place = new_arc(Place {
        directory,
        room,
        hole,
    })?;
    let before = PLACE.lock().replace(place);
    // Unlocked: the server may be told.
    drop(before);
    Ok(())
}

impl Files {
    fn new(remote: Remote) -> Result<Files, Errno> {
        let mut key = [0; 8];
        random::fill(&mut key);
        Ok(Files {
            remote,
            key: u64::from_le_bytes(key),
            left: Lock::new(Rank::Snapshots, room(LEFT_MAX)?),
        })
    }

    /// An empty file, open to be read and written.
    fn make(&self) -> Result<Uncounted, Errno> {
        self.remove_left();
        let number = NEXT.fetch_add(1, Relaxed);
        let made = self.make_numbered(number);
        match made {
            // A name that was there before is not this kernel's to remove.
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(_) => self.leave(number),
        }
        made
    }

    /// Leaves a name to be removed later. Beyond the capacity an empty file stays in the
    /// directory.
    fn leave(&self, number: u64) {
        let mut left = self.left.lock();
        if left.len() < LEFT_MAX {
            left.push(number);
        }
    }

    fn make_numbered(&self, number: u64) -> Result<Uncounted, Errno> {
        let mut file = Uncounted::new(self.remote.another()?);
        file.0.create(
            self.name(number).as_bytes(),
            mode::ORDWR | mode::OEXCL,
            0o600,
        )?;
        self.remove(number)?;
        Ok(file)
    }

    fn name(&self, number: u64) -> String {
        text::format(format_args!("swap-{:016x}-{number}", self.key))
    }

    fn remove(&self, number: u64) -> Result<(), Errno> {
        self.remote
            .unlink(self.name(number).as_bytes(), Directory::No)
    }

    /// Removes the names that are left.
    fn remove_left(&self) {
        for _ in 0..LEFT_MAX {
            let Some(number) = self.left.lock().pop() else {
                return;
            };
            match self.remove(number) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(_) => return self.leave(number),
            }
        }
    }
}

/// Returns true if memory can go somewhere.
pub fn is_there() -> bool {
    let place = PLACE.lock();
    place
        .as_ref()
        .is_some_and(|place| !place.directory.remote.mount.is_down())
}

/// Returns true if the server of a file is gone, and what is in the file with it.
pub fn is_down(file: SwapId) -> bool {
    let mut files = FILES.lock();
    let held = files.get(file.0);
    held.is_none_or(|held| held.file.0.mount.is_down())
}

/// Pages that the place has room for in all; 0: there is none.
pub fn capacity() -> u64 {
    PLACE.lock().as_ref().map_or(0, |place| place.room)
}

/// Makes an empty file, held once.
///
/// # Errors
/// `ENOSPC` if there is no place, or its server is gone; `ENOMEM`, `EINTR`, and the
/// server's.
pub fn new_file() -> Result<SwapId, Errno> {
    let place = PLACE.lock().clone().ok_or(Errno::ENOSPC)?;
    if place.directory.remote.mount.is_down() {
        return Err(Errno::ENOSPC);
    }
    let file = new_arc(place.directory.make()?)?;
    let held = new_box(Held {
        file,
        place,
        holders: 1,
    })?;
    let (number, _) = FILES.lock().insert(held)?;
    Ok(SwapId(number))
}

/// Adds a holder.
pub fn retain(file: SwapId) {
    if let Some(held) = FILES.lock().get(file.0) {
        held.holders += 1;
    }
}

/// One holder less; the last gives the file back, without waiting.
pub fn release(file: SwapId) {
    let gone = {
        let mut files = FILES.lock();
        let Some(held) = files.get(file.0) else {
            return;
        };
        held.holders = held.holders.saturating_sub(1);
        if held.holders > 0 {
            return;
        }
        files.remove(file.0)
    };
    drop(gone);
}

/// The number of holders.
pub fn holders(file: SwapId) -> u32 {
    FILES.lock().get(file.0).map_or(0, |held| held.holders)
}

/// The file at its server.
fn remote(file: SwapId) -> Result<Arc<Uncounted>, Errno> {
    let mut files = FILES.lock();
    let held = files.get(file.0).ok_or(Errno::ESTALE)?;
    Ok(held.file.clone())
}

/// Writes `count` frames as the pages from `page` on; `frame(n)` is the `n`th.
///
/// # Errors
/// `ENOSPC`: the server has no room for all of them. `ENOMEM`, `EINTR`, and the
/// server's.
pub fn write(
    file: SwapId,
    page: u64,
    count: u64,
    frame: impl Fn(u64) -> FrameRef,
) -> Result<(), Errno> {
    write_all(&remote(file)?.0, page, count, frame)
}

fn write_all(
    file: &Remote,
    page: u64,
    count: u64,
    frame: impl Fn(u64) -> FrameRef,
) -> Result<(), Errno> {
    let mut done = 0;
    while done < count {
        let pages = count.min(done + pages_in_message(file)) - done;
        let body = pieces(pages, |at| frame(done + at))?;
        let offset = offset(page + done)?;
        // What was written of a page in part is written again.
        let written = file.write(offset, body)? as u64 / PAGE;
        if written == 0 {
            return Err(Errno::ENOSPC);
        }
        done += written;
    }
    Ok(())
}

/// Reads the pages from `page` on into `count` frames that nobody else sees.
///
/// # Errors
/// `EIO` if the server gives fewer bytes; `ENOMEM`, `EINTR`, and the server's.
pub fn read(
    file: SwapId,
    page: u64,
    count: u64,
    frame: impl Fn(u64) -> FrameRef,
) -> Result<(), Errno> {
    let held = remote(file)?;
    let file = &held.0;
    let mut done = 0;
    while done < count {
        let pages = count.min(done + pages_in_message(file)) - done;
        let sink = pieces(pages, |at| frame(done + at))?;
        let read = file.mount.read(file.fid, offset(page + done)?, sink)? as u64;
        if read != pages * PAGE {
            return Err(Errno::EIO);
        }
        done += pages;
    }
    Ok(())
}

/// Gives the room of pages back to the server.
///
/// # Errors
/// As [`write()`].
pub fn discard(file: SwapId, pages: &[Range<u64>]) -> Result<(), Errno> {
    let (file, place) = {
        let mut files = FILES.lock();
        let held = files.get(file.0).ok_or(Errno::ESTALE)?;
        (held.file.clone(), held.place.clone())
    };
    let Some(zeros) = &place.hole else {
        return Ok(());
    };
    for range in pages {
        let count = range.end.saturating_sub(range.start);
        write_all(&file.0, range.start, count, |_| zeros.again())?;
    }
    Ok(())
}

/// Pages that are worth a [`discard`].
pub fn discard_worth() -> u64 {
    let place = PLACE.lock();
    let frees = place.as_ref().is_some_and(|place| place.hole.is_some());
    if frees { DISCARD_WORTH } else { u64::MAX }
}

/// Most pages in one message.
fn pages_in_message(file: &Remote) -> u64 {
    (u64::from(file.mount.iounit()) / PAGE).max(1)
}

/// Where a page is in its file.
fn offset(page: u64) -> Result<u64, Errno> {
    page.checked_mul(PAGE).ok_or(Errno::EFBIG)
}

/// Whole frames as the payload of a message.
fn pieces(count: u64, frame: impl Fn(u64) -> FrameRef) -> Result<Vec<Piece>, Errno> {
    let mut pieces = room(count as usize)?;
    pieces.extend((0..count).map(|at| Piece {
        frame: frame(at),
        at: 0,
        len: PAGE as usize,
    }));
    Ok(pieces)
}
