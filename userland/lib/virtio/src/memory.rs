//! Memory that a device shares with this process: one `dma` segment, handed out
//! from the front and never given back, and register windows.
//!
//! The queue allocates through functions without a `self`, so the address of
//! the segment must be global. `attach` writes it once; afterwards it is only
//! read.
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use rt::{Errno, Segment, process};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// Virtual address of the segment; 0 before it is attached.
static START: AtomicUsize = AtomicUsize::new(0);
/// Bytes in the segment.
static LEN: AtomicUsize = AtomicUsize::new(0);
/// Bytes handed out.
static USED: AtomicUsize = AtomicUsize::new(0);
/// The segment's physical address minus [`START`], wrapping.
static DELTA: AtomicU64 = AtomicU64::new(0);

/// Attaches `len` bytes of DMA memory for all later users.
///
/// # Errors
/// `EBUSY` on a second call, otherwise the kernel's.
pub(crate) fn attach(len: usize) -> Result<(), Errno> {
    if START.load(Relaxed) != 0 {
        return Err(Errno::EBUSY);
    }
    let segment = Segment::attach("dma", len)?;
    let delta = segment.physical(0)?.wrapping_sub(segment.address());
    DELTA.store(delta, Relaxed);
    LEN.store(segment.len(), Relaxed);
    START.store(segment.address() as usize, Relaxed);
    // Detached at the end alone: the device may write to it as long as this process
    // exists.
    core::mem::forget(segment);
    Ok(())
}

/// Ends the process of a driver in good order. The caller has dropped its device, which
/// resets it: so its memory can be given back, and the kernel need not keep it.
pub fn end() -> ! {
    let at = START.load(Relaxed);
    if at != 0 {
        // SAFETY: nothing uses the memory any more, because nothing of this process runs
        // after the call but its end.
        unsafe { Segment::detach(at as u64) };
    }
    process::exit_now(0, "")
}

/// Takes `len` bytes (whole pages) of zeroed DMA memory, never to be given
/// back.
pub fn take(len: usize) -> Option<NonNull<u8>> {
    let at = USED.load(Relaxed);
    let len = len.checked_next_multiple_of(PAGE_SIZE)?;
    let end = at.checked_add(len)?;
    if end > LEN.load(Relaxed) {
        return None;
    }
    USED.store(end, Relaxed);
    NonNull::new((START.load(Relaxed) + at) as *mut u8)
}

/// Physical address of `len` bytes of DMA memory. Panics if they are not all in
/// the segment, which only a bug in a driver can cause.
#[inline]
pub fn physical(address: usize, len: usize) -> PhysAddr {
    let at = address.wrapping_sub(START.load(Relaxed));
    let size = LEN.load(Relaxed);
    assert!(at <= size && len <= size - at, "not dma memory");
    (address as u64).wrapping_add(DELTA.load(Relaxed))
}

/// The memory services that `virtio-drivers` requires.
#[derive(Debug)]
pub enum Memory {}

// SAFETY: (1) `take` hands out each byte of the attached segment once, page
// aligned and zeroed, and the segment is never detached; (2) `window` returns
// mapped registers or panics.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        match pages.checked_mul(PAGE_SIZE).and_then(take) {
            Some(memory) => (
                physical(memory.as_ptr() as usize, pages * PAGE_SIZE),
                memory,
            ),
            // Address 0 tells the caller that there is no memory.
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_at: PhysAddr, _memory: NonNull<u8>, _pages: usize) -> i32 {
        // A driver lives as long as its process, so nothing is freed.
        0
    }

    unsafe fn mmio_phys_to_virt(at: PhysAddr, size: usize) -> NonNull<u8> {
        let window = window(at, size).expect("device registers cannot be mapped");
        window.start
    }

    #[inline]
    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        physical(buffer.as_ptr().cast::<u8>() as usize, buffer.len())
    }

    #[inline]
    unsafe fn unshare(_at: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

/// Registers of a device, or configuration space, mapped for `'a`.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    start: NonNull<u8>,
    len: usize,
    mapped: PhantomData<&'a Segment>,
}

/// Windows that stay mapped, as (physical address, virtual address, bytes).
/// They are kept because the transport asks for parts of a window that is
/// mapped as a whole already, and a process has few segments.
static WINDOWS: [[AtomicUsize; 3]; 4] = [const { [const { AtomicUsize::new(0) }; 3] }; 4];

/// The registers at a physical address, mapped until the process ends.
///
/// # Errors
/// `ENFILE` if there are too many windows, otherwise the kernel's.
pub fn window(at: PhysAddr, len: usize) -> Result<Window<'static>, Errno> {
    let at = usize::try_from(at).map_err(|_| Errno::EINVAL)?;
    for known in &WINDOWS {
        let [physical, address, size] = [0, 1, 2].map(|i: usize| known[i].load(Relaxed));
        let offset = at.wrapping_sub(physical);
        if offset <= size && len <= size - offset && size != 0 {
            return Window::new(address + offset, len);
        }
    }
    let free = WINDOWS.iter().find(|known| known[2].load(Relaxed) == 0);
    let free = free.ok_or(Errno::ENFILE)?;
    let offset = at % PAGE_SIZE;
    let segment = map(
        (at - offset) as u64,
        offset.checked_add(len).ok_or(Errno::EINVAL)?,
    )?;
    let address = segment.address() as usize;
    free[0].store(at - offset, Relaxed);
    free[1].store(address, Relaxed);
    free[2].store(segment.len(), Relaxed);
    core::mem::forget(segment);
    Window::new(address + offset, len)
}

/// Registers at a page-aligned physical address, mapped until the segment is
/// dropped.
pub fn map(at: PhysAddr, len: usize) -> Result<Segment, Errno> {
    Segment::attach_with("device", len, 0, at)
}

impl<'a> Window<'a> {
    /// All of a segment that [`map`] returned.
    pub fn of(segment: &'a Segment) -> Result<Self, Errno> {
        Window::new(segment.address() as usize, segment.len())
    }

    fn new(start: usize, len: usize) -> Result<Self, Errno> {
        let start = NonNull::new(start as *mut u8).ok_or(Errno::EFAULT)?;
        Ok(Window {
            start,
            len,
            mapped: PhantomData,
        })
    }

    /// The address of a register of `size` bytes. Panics outside of the window.
    fn register(&self, at: usize, size: usize) -> *mut u8 {
        assert!(
            at <= self.len && size <= self.len - at && at.is_multiple_of(size),
            "no such register"
        );
        // SAFETY: within the window, which is one mapping for `'a`.
        unsafe { self.start.as_ptr().add(at) }
    }

    /// Reads a 32-bit register.
    pub fn read32(&self, at: usize) -> u32 {
        // SAFETY: `register` checked bounds and alignment; the window is
        // mapped for `'a` and registers are only reached volatile.
        unsafe { self.register(at, 4).cast::<u32>().read_volatile() }
    }

    /// Reads a 16-bit register.
    pub fn read16(&self, at: usize) -> u16 {
        // SAFETY: as in `read32`.
        unsafe { self.register(at, 2).cast::<u16>().read_volatile() }
    }

    /// Writes a 32-bit register.
    pub fn write32(&self, at: usize, value: u32) {
        // SAFETY: as in `read32`. The caller, the driver of this device, knows
        // the effects of the write.
        unsafe { self.register(at, 4).cast::<u32>().write_volatile(value) }
    }

    /// Writes a 16-bit register.
    pub fn write16(&self, at: usize, value: u16) {
        // SAFETY: as in `write32`.
        unsafe { self.register(at, 2).cast::<u16>().write_volatile(value) }
    }
}

/// A view of DMA memory that this process owns at the moment.
///
/// # Safety
/// `[at, at + len)` was handed out by [`take`]. Neither the device nor this
/// process writes to it while the view exists.
#[inline]
pub unsafe fn view<'a>(at: NonNull<u8>, len: usize) -> &'a [u8] {
    // SAFETY: never detached; the caller promises the rest.
    unsafe { core::slice::from_raw_parts(at.as_ptr(), len) }
}

/// A mutable view of DMA memory.
///
/// # Safety
/// As for [`view`], and no other view of the range exists.
#[inline]
pub unsafe fn view_mut<'a>(at: NonNull<u8>, len: usize) -> &'a mut [u8] {
    // SAFETY: never detached; the caller promises the rest.
    unsafe { core::slice::from_raw_parts_mut(at.as_ptr(), len) }
}
