//! Processes: their state, the process table, creation and end.
//!
//! Scheduling is in `sched`, the switch in `hw::task`, memory in `seg`,
//! descriptors in `file`, names in `name`.
pub mod exec;
pub mod fork;
pub mod halt;
pub mod note;
pub mod protection;
pub mod relief;
pub mod reports;
mod running;
mod seat;
pub mod semaphore;
mod table;
pub mod tree;
pub mod wait;

use crate::counters;
use crate::file::Descriptors;
use crate::name::{NameSpace, Viewpoint};
use crate::sched::{self, Slot, Slots};
use crate::seg::SpaceLock;
use crate::trace;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hw::lock::{Lock, Rank};
use hw::task::Task;
use note::Notes;
pub use running::Running;
pub use seat::Seat;

pub use table::{at, count, current, find, insert, remove_dead, vacancy};

/// How a process ended or is to end.
#[derive(Clone)]
pub struct Ending {
    /// 0 to 255.
    pub status: u32,
    /// Why, for people; may be empty.
    pub text: String,
}

/// The text of a process's last error.
#[derive(Default)]
pub struct LastError {
    /// The text for `errstr`.
    pub text: String,
    /// The call in progress has said it better than its number can.
    pub explained: bool,
}

/// A process. Everything in it that changes is behind a lock of its own.
pub struct Process {
    /// Never reused.
    pub pid: u64,
    /// Pid of the one that may wait for it; [`NOBODY`]: it is forgotten when it ends.
    pub parent: AtomicU64,
    /// Its note group: the pid of the process it began with.
    pub group: AtomicU64,
    /// [`abi::privilege`] bits.
    pub privileges: AtomicU64,
    /// Segments and page tables; see [`Process::space`].
    space: Lock<Arc<SpaceLock>>,
    /// Open descriptors; see [`Process::descriptors`].
    descriptors: Lock<Arc<Lock<Descriptors>>>,
    /// Where names lead; see [`Process::view`].
    pub names: Lock<Arc<NameSpace>>,
    /// The working directory, absolute and clean.
    pub directory: Lock<Arc<[u8]>>,
    /// The path of its program, as messages show it; see [`Process::program`].
    pub program: Lock<Arc<str>>,
    /// The last error of a call.
    pub error: Lock<LastError>,
    /// Set once it is to end.
    pub ending: Lock<Option<Ending>>,
    /// Pending notes, and the handler.
    pub notes: Lock<Notes>,
    /// Children that ended are announced here.
    pub children: Lock<sched::WaitQueue>,
    /// The time at which it was told to give memory back; 0: never.
    pub told: AtomicU64,
    /// The last time at which it found no memory; 0: never.
    pub asked: AtomicU64,
    /// Its hardware half; freed with the process, by another one.
    pub task: Task,
    /// Its slot in the process table, and the account that pays; given back
    /// last.
    seat: Seat,
}

/// No process: the parent of one that is not waited for.
pub const NOBODY: u64 = 0;

static NEXT_PID: AtomicU64 = AtomicU64::new(1);

impl Process {
    /// A process that is in no table and not ready yet.
    pub fn new(task: Task, parent: &Parent, seat: Seat) -> Process {
        let pid = NEXT_PID.fetch_add(1, Relaxed);
        counters::begin(task.slot());
        trace::name(task.slot(), pid);
        Process {
            pid,
            parent: AtomicU64::new(parent.pid),
            group: AtomicU64::new(parent.group.unwrap_or(pid)),
            privileges: AtomicU64::new(parent.privileges),
            space: Lock::new(Rank::Process, parent.space.clone()),
            descriptors: Lock::new(Rank::Process, parent.descriptors.clone()),
            names: Lock::new(Rank::Names, parent.names.clone()),
            directory: Lock::new(Rank::Names, parent.directory.clone()),
            program: Lock::new(Rank::Process, parent.program.clone()),
            error: Lock::new(Rank::Process, LastError::default()),
            ending: Lock::new(Rank::Process, None),
            notes: Lock::new(Rank::Process, Notes::default()),
            children: Lock::new(Rank::Process, sched::WaitQueue::new()),
            told: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            task,
            seat,
        }
    }

    /// Its name space and working directory.
    pub fn view(&self) -> Viewpoint {
        let names = self.names.lock().clone();
        let directory = self.directory.lock().clone();
        Viewpoint { names, directory }
    }

    /// Its memory, which others may have too.
    pub fn space(&self) -> Arc<SpaceLock> {
        self.space.lock().clone()
    }

    /// Its descriptors, which others may have too.
    pub fn descriptors(&self) -> Arc<Lock<Descriptors>> {
        self.descriptors.lock().clone()
    }

    fn set_descriptors(&self, descriptors: Arc<Lock<Descriptors>>) {
        *self.descriptors.lock() = descriptors;
    }

    /// The path of its program, absolute once it has run one.
    pub fn program(&self) -> Arc<str> {
        self.program.lock().clone()
    }

    /// Where it is in the process table and the scheduler.
    #[inline]
    pub fn slot(&self) -> Slot {
        self.task.slot()
    }

    /// Returns true if the process has all of these privileges.
    pub fn may(&self, privilege: u64) -> bool {
        self.privileges.load(Relaxed) & privilege == privilege
    }

    /// Returns true if the process has one of these privileges.
    pub fn has_any(&self, privileges: u64) -> bool {
        self.privileges.load(Relaxed) & privileges != 0
    }

    /// Orders the process to end, and all that share its memory: they could not go on
    /// with what it may have left half done there.
    pub fn end(&self, status: u32, text: &str) {
        let me = usize::from(self.slot());
        let others = {
            let space = self.space();
            let mut space = space.lock();
            match space.members.contains(me) {
                true => space.end(),
                // It has left the memory by itself.
                false => Slots::NONE,
            }
        };
        let others = others.iter().filter(|slot| *slot != me);
        for other in others.filter_map(at) {
            other.end_alone(status, text);
        }
        self.end_alone(status, text);
    }

    /// Orders the process to end; the first order counts. It obeys when it
    /// next returns to user code, and gives up any wait before that.
    pub fn end_alone(&self, status: u32, text: &str) {
        {
            let mut ending = self.ending.lock();
            if ending.is_some() {
                return;
            }
            *ending = Some(Ending {
                status,
                text: crate::text::owned(text),
            });
        }
        sched::set_ending(self.slot());
    }
}

/// The state that a child inherits.
pub struct Parent {
    /// Pid of the one that may wait for the child, or [`NOBODY`].
    pub pid: u64,
    /// Note group; `None`: a new one.
    pub group: Option<u64>,
    /// Privileges.
    pub privileges: u64,
    /// Name space.
    pub names: Arc<NameSpace>,
    /// Working directory.
    pub directory: Arc<[u8]>,
    /// Path of the program.
    pub program: Arc<str>,
    /// Memory.
    pub space: Arc<SpaceLock>,
    /// Descriptors.
    pub descriptors: Arc<Lock<Descriptors>>,
}

/// The name of a process in messages: the last component of its program's path.
pub fn name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
