//! Boot options: `key=value` lines in the bundle, written by the runner.
use crate::bundle;
use crate::trace;
use abi::PROCESSES_MAX;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use hw::frames;
use hw::interrupts;
use hw::log;
use hw::pending::{self, Work};

static DEFERRED: AtomicBool = AtomicBool::new(true);
static COUNTED: AtomicBool = AtomicBool::new(false);
static TESTED: AtomicBool = AtomicBool::new(false);
static PREPAGE: AtomicU64 = AtomicU64::new(0);
static PROCESSES: AtomicUsize = AtomicUsize::new(PROCESSES_MAX);

/// Fewest processes that there may be: services, and a few of each group beside others.
const PROCESSES_MIN: usize = 64;
/// The same, unless an option says fewer.
const PROCESSES_USUAL: usize = 256;
/// Frames for each process more: less than most take.
const FRAMES_EACH: usize = 64;

/// All options, as text.
pub fn text() -> &'static str {
    let bytes = bundle::find(b"options").map_or(&[][..], |file| file.content);
    core::str::from_utf8(bytes).unwrap_or("")
}

fn value(key: &str) -> Option<&'static str> {
    text().lines().find_map(|line| {
        line.split_once('=')
            .filter(|(k, _)| *k == key)
            .map(|(_, v)| v)
    })
}

/// Reads those the kernel itself follows; once, at start.
pub fn init() {
    DEFERRED.store(value("eager") != Some("1"), Relaxed);
    COUNTED.store(value("icount") == Some("1"), Relaxed);
    TESTED.store(value("test") == Some("1"), Relaxed);
    let prepage = value("prepage").unwrap_or_default();
    let all = prepage == "all" || !deferred();
    let pages = if all {
        u64::MAX
    } else {
        prepage.parse().unwrap_or(0)
    };
    PREPAGE.store(pages, Relaxed);
    let fitting = frames::total() as usize / FRAMES_EACH;
    let asked = value("processes").and_then(|text| text.parse().ok());
    let processes = asked.unwrap_or(fitting.max(PROCESSES_USUAL));
    PROCESSES.store(processes.clamp(PROCESSES_MIN, PROCESSES_MAX), Relaxed);
    pending::set(Work::Pressure, value("pressure") == Some("1"));
    if value("poison") == Some("1") {
        frames::poison();
    }
    if value("trace") == Some("1") {
        trace::start();
    }
    if let Some(level) = value("log").and_then(log::level_named) {
        log::set_level(level);
    }
}

/// Timer interrupts a second: the timer ends the turn of a program that computes.
pub fn timer() -> NonZeroU64 {
    let asked = value("hz").and_then(|text| text.parse().ok());
    asked.unwrap_or(interrupts::TIMER_HZ)
}

/// Returns true if reads into snapshot segments are deferred.
pub fn deferred() -> bool {
    DEFERRED.load(Relaxed)
}

/// Pages of each part of a program that are loaded before it runs; all of them where
/// nothing is deferred.
pub fn prepage() -> u64 {
    PREPAGE.load(Relaxed)
}

/// Processes that there may be, including zombies.
pub fn processes_max() -> usize {
    PROCESSES.load(Relaxed)
}

/// Returns true if the time stamp counts instructions.
pub fn counted() -> bool {
    COUNTED.load(Relaxed)
}

/// Returns true if programs may inject failures into the kernel.
pub fn tested() -> bool {
    TESTED.load(Relaxed)
}

/// Returns true if every page that can leave memory is to leave as soon as it may.
pub fn pressure() -> bool {
    pending::is(Work::Pressure)
}
