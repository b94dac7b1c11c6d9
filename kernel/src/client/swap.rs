//! Where memory goes that does not fit into frames: temporary files at a server.
//!
//! Each has a name only between two messages, so that its server frees it with its
//! last fid, also if the kernel is no more.
use super::Mount;
use super::remote::{Directory, Reached, Remote};
use crate::chan::End;
use crate::text;
use abi::{Errno, mode};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hw::heap::new_arc;
use hw::lock::{Lock, Rank};
use hw::random;
use names::Last;

/// The directory in which files are made.
static PLACE: Lock<Option<Arc<Remote>>> = Lock::new(Rank::Snapshots, None);
/// The number of the next file.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// From now on memory goes to files in the top directory of the server at `end`,
/// which nothing else has a name for; see [`set_place`].
///
/// # Errors
/// As [`Mount::connect`] and [`set_place`].
pub fn connect(end: Arc<End>) -> Result<(), Errno> {
    let mount = Mount::connect(end, b"")?;
    match Remote::reach(&mount, b"", Last::Keep)? {
        Reached::End(top) => set_place(&top),
        Reached::Link(..) | Reached::Nothing(..) => Err(Errno::EPROTO),
    }
}

/// From now on memory goes to files in this directory; that which went elsewhere
/// comes back from there.
///
/// # Errors
/// `EOPNOTSUPP`: its server has snapshots, so that its own memory might be needed for
/// those of swapped pages. `ENOTDIR`; the errors of making a file there.
pub fn set_place(directory: &Remote) -> Result<(), Errno> {
    if directory.mount.has_snapshots() {
        return Err(Errno::EOPNOTSUPP);
    }
    if directory.kind() == Directory::No {
        return Err(Errno::ENOTDIR);
    }
    let place = new_arc(directory.another()?)?;
    // A directory without room for files is refused now, not when memory is out.
    make_file(&place)?;
    let before = PLACE.lock().replace(place);
    // Unlocked: the server may be told.
    drop(before);
    Ok(())
}

/// An empty file in `place`, open to be read and written.
fn make_file(place: &Remote) -> Result<Remote, Errno> {
    let mut key = [0; 8];
    // Tells the files of several guests in one directory apart.
    random::fill(&mut key);
    let number = NEXT.fetch_add(1, Relaxed);
    let key = u64::from_le_bytes(key);
    let name = text::format(format_args!("swap-{key:016x}-{number}"));
    let mut file = place.another()?;
    file.create(name.as_bytes(), mode::ORDWR | mode::OEXCL, 0o600)?;
    place.unlink(name.as_bytes(), Directory::No)?;
    Ok(file)
}
