//! The layout of the tables that the processor itself reads.

use core::cell::UnsafeCell;

/// Vectors with a stack of their own; the index is the IST number minus one.
pub(super) const OWN_STACK: [u8; 3] = [8, 2, 18];
/// Bytes of a stack used before memory management works.
const EARLY_STACK: usize = 8192;
/// Ports 0 to 0x3ff have a bit each.
const PORT_BITS: usize = 0x400 / 8;
/// The console's ports, one byte of the map.
const CONSOLE_PORTS: usize = 0x3f8 / 8;

/// SDM vol. 3, 8.7, with the I/O permission map behind it (vol. 1, 19.5.2).
#[repr(C, packed(4))]
pub(super) struct TaskState {
    pub reserved0: u32,
    pub rsp: [u64; 3],
    pub reserved1: u64,
    pub ist: [u64; 7],
    pub reserved2: u64,
    pub reserved3: u16,
    pub port_map_base: u16,
    pub port_map: [u8; PORT_BITS],
    /// The processor may read one byte more; it has to be all ones.
    pub port_map_end: u8,
}

/// `port_map_base` when no port is allowed: beyond the segment's limit.
pub(super) const PORTS_CLOSED: u16 = u16::MAX;

/// The tables that the processor itself reads. [`super::descriptors`] fills them, and
/// changes one word at a time after that.
pub(crate) struct Tables(pub(super) UnsafeCell<Inner>);

#[repr(C, align(16))]
pub(super) struct Inner {
    pub gdt: [u64; 7],
    pub idt: [[u64; 2]; 256],
    pub task: TaskState,
    pub early_stacks: [[u8; EARLY_STACK]; OWN_STACK.len()],
}

// SAFETY: a processor uses its own alone, and interrupts are off in the kernel: no
// two writers.
unsafe impl Sync for Tables {}

impl Tables {
    /// The descriptors, without gates yet; no ports are allowed.
    pub(crate) const fn new() -> Tables {
        Tables(UnsafeCell::new(Inner {
            // Null, kernel code, kernel data, user data, user code, task (two).
            gdt: [
                0,
                0x00af_9b00_0000_ffff,
                0x00cf_9300_0000_ffff,
                0x00cf_f300_0000_ffff,
                0x00af_fb00_0000_ffff,
                0,
                0,
            ],
            idt: [[0; 2]; 256],
            task: TaskState {
                reserved0: 0,
                rsp: [0; 3],
                reserved1: 0,
                ist: [0; 7],
                reserved2: 0,
                reserved3: 0,
                port_map_base: PORTS_CLOSED,
                port_map: {
                    let mut map = [0xff; PORT_BITS];
                    map[CONSOLE_PORTS] = 0;
                    map
                },
                port_map_end: 0xff,
            },
            early_stacks: [[0; EARLY_STACK]; OWN_STACK.len()],
        }))
    }
}
