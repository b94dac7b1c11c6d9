//! The kernel's counters, the figures programs print from them, and the
//! counters a driver hands to the kernel.

use crate::single::Single;
use crate::sys;
use abi::{Call, DeviceCounters, Errno, Stat64};
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The counters that return to their former values when programs have ended
/// that leak nothing, each with its name in reports.
const HANDLES: [(&str, Stat64); 7] = [
    ("fids", Stat64::Fids),
    ("snapshots", Stat64::Snapshots),
    ("processes", Stat64::Processes),
    ("channels", Stat64::Channels),
    ("files in use at servers", Stat64::ServerFiles),
    ("snapshots kept by servers", Stat64::ServerSnapshots),
    ("blocks saved by servers", Stat64::ServerSaved),
];

/// The kernel's counters at one moment.
#[derive(Clone, Copy)]
pub struct Counters([u64; Stat64::COUNT]);

impl Counters {
    /// Reads the kernel's counters.
    pub fn now() -> Result<Counters, Errno> {
        let mut all = [0; Stat64::COUNT];
        let (to, count) = (all.as_mut_ptr() as u64, Stat64::COUNT as u64);
        // SAFETY: the kernel writes at most `count` numbers.
        unsafe { sys::call2(Call::KStat, to, count) }?;
        Ok(Counters(all))
    }

    /// The value of one counter.
    pub fn get(&self, which: Stat64) -> u64 {
        self.0[which as usize]
    }

    /// The increase of `which` since `earlier`.
    pub fn since(&self, earlier: &Counters, which: Stat64) -> u64 {
        self.get(which).wrapping_sub(earlier.get(which))
    }

    /// Ticks since `earlier` in which the processor did not idle; instructions under
    /// `--icount`.
    pub fn busy_since(&self, earlier: &Counters) -> u64 {
        let since = |which| self.since(earlier, which);
        since(Stat64::Ticks).saturating_sub(since(Stat64::IdleTicks))
    }

    /// A description of each counter of handles that differs from `earlier`.
    pub fn leaks(&self, earlier: &Counters) -> impl Iterator<Item = String> {
        HANDLES.into_iter().filter_map(|(what, which)| {
            let (was, is) = (earlier.get(which), self.get(which));
            (was != is).then(|| format!("{what}: {was} before, {is} after"))
        })
    }
}

/// The traffic between two moments, in the whole system.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// 9P exchanges, each a T and its R.
    pub messages: u64,
    /// Data bytes from file servers.
    pub bytes_in: u64,
    /// Data bytes to file servers.
    pub bytes_out: u64,
    /// Data bytes from the device.
    pub device_in: u64,
    /// Data bytes to the device.
    pub device_out: u64,
    /// Guest instructions, idle ones left out; only under `--icount`.
    pub instructions: Option<u64>,
}

impl Figures {
    /// The heads of the columns.
    pub const HEADS: [&'static str; 6] = [
        "messages",
        "bytes_in",
        "bytes_out",
        "device_in",
        "device_out",
        "instructions",
    ];

    /// From `before` to `after`.
    pub fn between(before: &Counters, after: &Counters) -> Figures {
        let grown = |which| after.since(before, which);
        Figures {
            messages: grown(Stat64::Messages),
            bytes_in: grown(Stat64::BytesIn),
            bytes_out: grown(Stat64::BytesOut),
            device_in: grown(Stat64::DeviceIn),
            device_out: grown(Stat64::DeviceOut),
            instructions: (after.get(Stat64::Counted) == 1).then(|| after.busy_since(before)),
        }
    }

    /// The columns in order; `None`: not counted.
    pub fn columns(&self) -> [Option<u64>; 6] {
        [
            Some(self.messages),
            Some(self.bytes_in),
            Some(self.bytes_out),
            Some(self.device_in),
            Some(self.device_out),
            self.instructions,
        ]
    }
}

/// A number right-aligned in a table, in groups of three digits; `-` for none.
pub struct Cell(pub Option<u64>);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mut number) = self.0 else {
            return f.pad_integral(true, "", "-");
        };
        // 20 digits and 6 commas at most.
        let mut text = [0u8; 26];
        let (mut at, mut digits) = (text.len(), 0);
        while number > 0 || digits == 0 {
            if digits > 0 && digits % 3 == 0 {
                at -= 1;
                text[at] = b',';
            }
            at -= 1;
            text[at] = b'0' + (number % 10) as u8;
            number /= 10;
            digits += 1;
        }
        let text = core::str::from_utf8(&text[at..]).unwrap_or("?");
        f.pad_integral(true, "", text)
    }
}

static DEVICE: Single<DeviceCounters> = Single::new(DeviceCounters {
    bytes_in: 0,
    bytes_out: 0,
    requests: 0,
    fids: 0,
    files: 0,
    snapshots: 0,
    saved: 0,
    rescued: 0,
});

/// Lets the kernel read this process's counters; needs the privilege
/// `COUNTERS`.
pub fn register_device() -> Result<(), Errno> {
    let at = DEVICE.with(|counters| &raw const *counters as u64);
    // SAFETY: the kernel only reads the counters, which live for ever.
    unsafe { sys::call1(Call::Counters, at.unwrap_or(0)) }.map(drop)
}

/// Counts a request the device has answered and its data bytes.
#[inline]
pub fn count_request(bytes_in: u64, bytes_out: u64) {
    DEVICE.with(|counters| {
        counters.bytes_in += bytes_in;
        counters.bytes_out += bytes_out;
        counters.requests += 1;
    });
}

/// The resources that a file server holds for its clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// Fids at the lower server.
    pub fids: u64,
    /// Files in use.
    pub files: u64,
    /// Live snapshots.
    pub snapshots: u64,
    /// Before-images held for them.
    pub saved: u64,
    /// Before-images ever saved.
    pub rescued: u64,
}

/// Publishes the resources that this server holds now.
#[inline]
pub fn set_kept(kept: Kept) {
    DEVICE.with(|counters| {
        counters.fids = kept.fids;
        counters.files = kept.files;
        counters.snapshots = kept.snapshots;
        counters.saved = kept.saved;
        counters.rescued = kept.rescued;
    });
}
