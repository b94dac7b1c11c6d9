//! Threads: processes that share memory, descriptors and name space with this one.
//!
//! The names are std's. What differs: a thread that panics, faults or is killed ends the
//! whole program, so [`JoinHandle::join`] gives the value and no `Result`; `exit` of any
//! thread, and the return of `main`, end the program as well. A child process is waited for
//! by the thread that has made it.

mod control;
mod local;
mod scope;
mod stacks;

pub use control::{MAIN, current_name};
pub(crate) use control::{number, several};
pub use local::LocalKey;
pub use scope::{Scope, ScopedJoinHandle, scope};
pub(crate) use stacks::POOL;

use crate::sys;
use abi::{Call, Errno, exits, rfork};
use alloc::sync::Arc;
use control::Control;
use core::cell::UnsafeCell;
use core::time::Duration;
use stacks::{Place, Stack};

/// Bytes of a stack, without its guard page.
pub const STACK: usize = 252 << 10;

/// Up to so many bytes a closure is no burden for a stack.
const SMALL: usize = 4 << 10;
/// How often a closure may be on the stack at once, of a thread that was not optimized.
const COPIES: usize = 4;

/// What a thread leaves.
struct Packet<T>(UnsafeCell<Option<T>>);

// SAFETY: the thread stores before it ends, and the one that joins looks after that.
unsafe impl<T: Send> Sync for Packet<T> {}
// SAFETY: as the value itself.
unsafe impl<T: Send> Send for Packet<T> {}

/// How a thread begins; [`Builder::new`] and [`spawn`] as in std.
#[derive(Default)]
pub struct Builder<'n> {
    name: &'n str,
    stack: usize,
}

impl<'n> Builder<'n> {
    /// Without a name, and with a stack of [`STACK`] bytes.
    pub fn new() -> Self {
        Builder::default()
    }

    /// The name in messages; up to 31 bytes of it are kept.
    pub fn name(self, name: &'n str) -> Self {
        Builder { name, ..self }
    }

    /// Bytes of its stack, at least.
    pub fn stack_size(self, stack: usize) -> Self {
        Builder { stack, ..self }
    }

    /// Starts a thread that runs `f`.
    ///
    /// # Errors
    /// `EAGAIN`: too many processes; `ENOMEM`; `ENFILE`: too many segments.
    pub fn spawn<F, T>(self, f: F) -> Result<JoinHandle<T>, Errno>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: the closure and its value borrow nothing.
        let started = unsafe { self.start(f) };
        Ok(JoinHandle(Some(started?)))
    }

    /// Bytes of the stack of a thread that begins with a closure of that type.
    fn size_for<F, T>(&self) -> Result<usize, Errno> {
        // The closure lies at the top, and is moved on the way into its call.
        let moved = match size_of::<Start<F, T>>() {
            small if small <= SMALL => 0,
            large => large * COPIES,
        };
        let size = self.stack.max(STACK).checked_add(moved);
        size.ok_or(Errno::ENOMEM)
    }

    /// The same for a closure that borrows.
    ///
    /// # Safety
    /// The thread has left its stack before what `f` borrows, or the value does, is gone.
    unsafe fn start<F, T>(self, f: F) -> Result<Started<T>, Errno>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        control::begin()?;
        let packet = Arc::new(Packet(UnsafeCell::new(None)));
        let place = stacks::take(self.size_for::<F, T>()?)?;
        place.control.begin(self.name);
        let start = Start {
            f,
            packet: packet.clone(),
            place,
        };
        // SAFETY: the stack is nobody's; `enter` takes the record that lies at its top, and
        // never returns.
        let begun = unsafe {
            let at = place.top_for::<Start<F, T>>();
            at.write(start);
            let begun = loop {
                match begin(at.cast(), enter::<F, T>, &raw const place.control) {
                    // A note came while memory was short.
                    Err(Errno::EINTR) => {}
                    begun => break begun,
                }
            };
            if begun.is_err() {
                drop(at.read());
            }
            begun
        };
        if let Err(errno) = begun {
            stacks::give(place);
            return Err(errno);
        }
        Ok(Started { place, packet })
    }
}

/// A thread that has been started.
struct Started<T> {
    place: Place,
    packet: Arc<Packet<T>>,
}

impl<T> Started<T> {
    /// The value of the thread, which has left its stack.
    fn value(&self) -> T {
        // SAFETY: the thread has ended, and the value is asked for once.
        let value = unsafe { (*self.packet.0.get()).take() };
        match value {
            Some(value) => value,
            // A thread ends by the return of its function, or all end.
            None => unreachable!("a thread left no value"),
        }
    }
}

/// What a thread finds at the top of its stack.
struct Start<F, T> {
    f: F,
    packet: Arc<Packet<T>>,
    place: Place,
}

/// Starts a thread that calls `enter(start)` on the stack that ends there.
///
/// # Safety
/// The stack below `start` is nobody's, and `enter` never returns.
unsafe fn begin(
    start: *mut u8,
    enter: unsafe extern "C" fn(*mut u8) -> !,
    control: *const Control,
) -> Result<u64, Errno> {
    let flags = rfork::PROC | rfork::MEMORY | rfork::NO_WAIT;
    // Two words, which the new thread pops: the stack is aligned to 16 then.
    let stack = start as u64 - 16;
    let answer: u64;
    // SAFETY: the caller's condition; the words lie below the record, on the new stack. The
    // new thread has a copy of all registers, uses none but its stack pointer, and never
    // gets out of this block; in this thread the call changes rax, rcx and r11.
    unsafe {
        (stack as *mut u64).write(start as u64);
        (stack as *mut u64).add(1).write(enter as usize as u64);
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "pop rdi",
            "pop rax",
            "xor ebp, ebp",
            "call rax",
            "ud2",
            "2:",
            inlateout("rax") Call::RFork as u64 => answer,
            in("rdi") flags,
            in("rdx") stack,
            in("r10") control as u64,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    abi::decode(answer)
}

/// The life of a thread.
unsafe extern "C" fn enter<F, T>(start: *mut u8) -> !
where
    F: FnOnce() -> T,
{
    // SAFETY: `start` has put the record there for this thread alone.
    let Start { f, packet, place } = unsafe { start.cast::<Start<F, T>>().read() };
    let value = f();
    // SAFETY: nobody looks before the thread has ended.
    unsafe { *packet.0.get() = Some(value) };
    // The value is dropped here if nobody will join.
    drop(packet);
    local::drop_all();
    end(place)
}

/// Ends the thread; its stack may be used by another one then.
fn end(place: &Stack) -> ! {
    let word = place.left.address();
    loop {
        // SAFETY: the kernel adds one to an atomic number; nothing of the stack is needed
        // after that.
        let _ = unsafe { sys::call4(Call::Exits, exits::RELEASE, 0, 0, word) };
    }
}

/// A thread that can be waited for. If it is dropped, the thread goes on by itself.
pub struct JoinHandle<T>(Option<Started<T>>);

impl<T> JoinHandle<T> {
    /// Waits until the thread has ended; its value.
    pub fn join(mut self) -> T {
        let Some(started) = self.0.take() else {
            unreachable!("it is there until the handle is gone");
        };
        started.place.left.take();
        stacks::give(started.place);
        started.value()
    }

    /// Returns true if the thread has ended.
    pub fn is_finished(&self) -> bool {
        let started = self.0.as_ref();
        started.is_none_or(|started| started.place.left.is_there())
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some(started) = &self.0 {
            stacks::detach(started.place);
        }
    }
}

/// Starts a thread that runs `f`. Panics if the system allows no more; [`Builder::spawn`]
/// says why.
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Builder::new().spawn(f) {
        Ok(handle) => handle,
        Err(errno) => panic!("no thread: {errno}"),
    }
}

/// Lets others run first.
pub fn yield_now() {
    let _ = sys::sleep(0);
}

/// Waits for that time, or until a note has been handled.
pub fn sleep(time: Duration) {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    if ns != 0 {
        let _ = sys::sleep(ns);
    }
}
