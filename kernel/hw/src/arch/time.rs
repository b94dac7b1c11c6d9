//! The time stamp counter, and how fast it runs.
//!
//! Calibrated once against the HPET, or where there is none, against the PC's interval
//! timer, whose frequency is fixed. Under `-icount` the counter counts guest instructions.

use core::arch::asm;
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use x86_64::instructions::port::Port;

use super::hpet;

/// Counts per second of the interval timer.
const PIT_HZ: u64 = 1_193_182;
/// Longest calibration, in parts of a second: short enough for 16 bits of the interval
/// timer, and enough for four digits of it.
const SHORTEST: u64 = 200;
/// A calibration against the HPET ends when it took so many times what its readings took:
/// at once where reading takes no time (`-icount`).
const PRECISION: u64 = 2000;
/// Channel 2, both bytes, mode 0 (interrupt on terminal count), binary.
const PIT_CHANNEL_2_ONCE: u8 = 0xb0;
/// Freeze channel 2's count for reading.
const PIT_CHANNEL_2_LATCH: u8 = 0x80;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// Time stamp when `init` ran.
static START: AtomicU64 = AtomicU64::new(0);
static PER_SECOND: AtomicU64 = AtomicU64::new(NS_PER_SECOND);
/// Nanoseconds per tick, times 2^32.
static NS_PER_TICK: AtomicU64 = AtomicU64::new(1 << 32);
/// Counts of the local APIC's timer per second.
static APIC_PER_SECOND: AtomicU64 = AtomicU64::new(0);

/// The time stamp counter.
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: reads a counter that every x86_64 processor has.
    unsafe { _rdtsc() }
}

/// How many [`ticks`] make a second.
pub fn ticks_per_second() -> u64 {
    PER_SECOND.load(Relaxed)
}

/// Nanoseconds since the kernel started.
#[inline]
pub fn now_ns() -> u64 {
    ticks_to_ns(ticks().wrapping_sub(START.load(Relaxed)))
}

/// Length of a number of ticks in nanoseconds.
#[inline]
pub fn ticks_to_ns(ticks: u64) -> u64 {
    ((u128::from(ticks) * u128::from(NS_PER_TICK.load(Relaxed))) >> 32) as u64
}

/// Counts of the APIC timer at divisor 16 in a second.
pub(super) fn apic_per_second() -> u64 {
    APIC_PER_SECOND.load(Relaxed)
}

/// A clock whose rate is known.
struct Reference {
    per_second: u64,
    /// The counts that it has before it begins again, less one.
    mask: u64,
    /// Counts up.
    now: fn() -> u64,
    /// How exact it is at once; 0: it must run as long as it may.
    precision: u64,
}

impl Reference {
    fn start() -> Reference {
        match hpet::start() {
            Some(per_second) => Reference {
                per_second,
                mask: u64::from(u32::MAX),
                now: hpet::count,
                precision: PRECISION,
            },
            None => {
                pit_start();
                Reference {
                    per_second: PIT_HZ,
                    mask: u64::from(u16::MAX),
                    now: || u64::from(u16::MAX - pit_read()),
                    precision: 0,
                }
            }
        }
    }

    /// Counts between two samples.
    fn between(&self, first: &Sample, last: &Sample) -> u64 {
        last.reference.wrapping_sub(first.reference) & self.mask
    }

    /// Returns true if the rates are known well enough.
    fn is_exact(&self, first: &Sample, last: &Sample) -> bool {
        let unsure = first.took + last.took;
        let short = self.precision > 0 && last.tsc - first.tsc >= self.precision * unsure;
        let elapsed = self.between(first, last);
        (short && elapsed >= self.precision) || elapsed >= self.per_second / SHORTEST
    }
}

/// The three clocks at one moment.
struct Sample {
    tsc: u64,
    apic: u32,
    reference: u64,
    /// Ticks that the reading took.
    took: u64,
}

/// Finds out the rates; takes a few milliseconds. `apic_count` is the APIC
/// timer's count-down.
pub(super) fn calibrate(apic_count: fn() -> u32) {
    START.store(ticks(), Relaxed);
    let reference = Reference::start();
    let first = sample(&reference, apic_count);
    let last = loop {
        spin_a_while();
        let last = sample(&reference, apic_count);
        if reference.is_exact(&first, &last) {
            break last;
        }
    };
    let elapsed = reference.between(&first, &last);
    let per_second = |counts: u64| {
        let counts = u128::from(counts) * u128::from(reference.per_second);
        (counts / u128::from(elapsed.max(1))) as u64
    };
    let tsc_hz = per_second(last.tsc - first.tsc).max(1);
    PER_SECOND.store(tsc_hz, Relaxed);
    NS_PER_TICK.store((NS_PER_SECOND << 32) / tsc_hz, Relaxed);
    APIC_PER_SECOND.store(
        per_second(u64::from(first.apic.wrapping_sub(last.apic))),
        Relaxed,
    );
}

/// The quickest of a few attempts: on a busy host one may be interrupted
/// between its readings.
fn sample(reference: &Reference, apic_count: fn() -> u32) -> Sample {
    let mut best: Option<Sample> = None;
    for _ in 0..4 {
        let tsc = ticks();
        let reference = (reference.now)();
        let apic = apic_count();
        let took = ticks() - tsc;
        if best.as_ref().is_none_or(|least| took < least.took) {
            best = Some(Sample {
                tsc,
                apic,
                reference,
                took,
            });
        }
    }
    match best {
        Some(sample) => sample,
        None => unreachable!("the loop ran"),
    }
}

/// Instructions without I/O, which is slow to emulate.
fn spin_a_while() {
    // SAFETY: counts a register down.
    unsafe { asm!("2: dec {0:e}", "jnz 2b", inout(reg) 10_000_u32 => _, options(nomem, nostack)) };
}

/// Lets channel 2 count down from 65535 once (mode 0), speaker off.
fn pit_start() {
    // SAFETY: the PC's timer and its gate; nothing else uses channel 2.
    unsafe {
        let mut gate = Port::<u8>::new(0x61);
        let value = gate.read();
        gate.write(value & !2 | 1);
        Port::<u8>::new(0x43).write(PIT_CHANNEL_2_ONCE);
        let mut data = Port::<u8>::new(0x42);
        data.write(0xff);
        data.write(0xff);
    }
}

/// The count at this moment.
fn pit_read() -> u16 {
    // SAFETY: latching and reading changes nothing but the latch.
    unsafe {
        Port::<u8>::new(0x43).write(PIT_CHANNEL_2_LATCH);
        let mut data = Port::<u8>::new(0x42);
        u16::from_le_bytes([data.read(), data.read()])
    }
}
