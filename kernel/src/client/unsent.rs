//! Messages of a client's own that found no memory: a Tflush, a Tclunk, the end of a
//! write. A process may wait for what they bring about, and nothing else may be under way
//! with that server, so the timer tries again.
use super::Mount;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use hw::frames;
use hw::lock::{Lock, Rank};

/// Connections that are tried again. Others wait for their next step.
const CONNECTIONS: usize = 16;

static UNSENT: Lock<[Option<Weak<Mount>>; CONNECTIONS]> =
    Lock::new(Rank::Interrupts, [const { None }; CONNECTIONS]);
static ANY: AtomicBool = AtomicBool::new(false);

/// A connection has messages that found no memory.
#[cold]
pub(super) fn note(mount: &Weak<Mount>) {
    let mut unsent = UNSENT.lock();
    let known = unsent.iter().flatten().any(|other| other.ptr_eq(mount));
    if !known && let Some(place) = unsent.iter_mut().find(|place| place.is_none()) {
        *place = Some(mount.clone());
    }
    ANY.store(true, Relaxed);
}

/// Tries again. Called by the timer, with nothing locked.
#[inline]
pub fn send_unsent() {
    if ANY.load(Relaxed) {
        try_again();
    }
}

#[cold]
fn try_again() {
    ANY.store(false, Relaxed);
    for place in 0..CONNECTIONS {
        let mount = UNSENT.lock()[place].take();
        if let Some(mount) = mount.as_ref().and_then(Weak::upgrade) {
            send(&mount);
        }
    }
}

/// There are as many messages as tags at most, which an account has paid for. The process
/// that runs now has nothing to do with them.
fn send(mount: &Arc<Mount>) {
    frames::for_all(|| mount.step(|_| ()));
}
