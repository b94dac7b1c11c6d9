//! Finds a device on the PCI bus and routes its interrupts to this process.
use crate::memory::{Memory, Window, map, window};
use rt::{Errno, Failure, Named};
use virtio_drivers::transport::pci::bus::{
    BarInfo, Command, ConfigurationAccess, DeviceFunction, MemoryBarType, PCI_CAP_ID_VNDR, PciRoot,
};
use virtio_drivers::transport::pci::{PciTransport, VIRTIO_PCI_CAP_COMMON_CFG, virtio_device_type};
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

/// Where q35 has the configuration space of all PCI functions (ECAM).
const ECAM: u64 = 0xb000_0000;
/// Bytes for bus 0 alone, where QEMU puts devices by default.
const ECAM_LEN: usize = 1 << 20;

/// BARs of a function.
const BARS: u8 = 6;
/// Where q35 has no memory, whatever the machine's size: BARs may be here. Each device of
/// bus 0 has a part of its own, because drivers do not know of each other.
const BAR_SPACE: u64 = 0xc000_0000;
const DEVICE_SPACE: u64 = 1 << 20;
const BAR_SPACING: u64 = DEVICE_SPACE / 8;

/// PCI capability: MSI-X.
const MSIX: u8 = 0x11;
/// The MSI-X enable bit in the first word of the capability.
const MSIX_ENABLE: u32 = 1 << 31;
/// Bytes of an entry of the MSI-X table: address, data and mask.
const MSIX_ENTRY: usize = 16;

/// Registers of virtio's common configuration that the transport does not set:
/// Virtio 1.2, 4.1.4.3.
mod common {
    pub const MSIX_CONFIG: usize = 16;
    pub const QUEUE_SELECT: usize = 22;
    pub const QUEUE_MSIX_VECTOR: usize = 26;
    pub const LEN: usize = 56;
}

/// Configuration space of bus 0.
#[derive(Clone, Copy)]
pub struct Config<'a>(Window<'a>);

impl Config<'_> {
    fn at(function: DeviceFunction, register: u8) -> Option<usize> {
        let at = usize::from(function.device) << 15 | usize::from(function.function) << 12;
        (function.bus == 0).then_some(at | usize::from(register & !3))
    }
}

impl ConfigurationAccess for Config<'_> {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        // An absent function reads as all ones.
        Self::at(function, register).map_or(u32::MAX, |at| self.0.read32(at))
    }

    fn write_word(&mut self, function: DeviceFunction, register: u8, data: u32) {
        if let Some(at) = Self::at(function, register) {
            self.0.write32(at, data);
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// A device, with the registers that the transport does not know of.
pub struct Found {
    /// The device.
    pub transport: PciTransport,
    common: Window<'static>,
}

/// The device that a driver looks for.
pub struct Wanted<'a> {
    /// Its type.
    pub kind: DeviceType,
    /// The name of the type, for messages.
    pub name: &'static str,
    /// Tells it from others of its type.
    pub fits: &'a dyn Fn(&PciTransport) -> bool,
}

/// Finds the first device as wanted; its interrupts carry `data`. `None`: there is
/// none.
///
/// # Errors
/// A missing feature.
pub fn find(wanted: &Wanted<'_>, data: u64) -> Result<Option<Found>, Failure> {
    // Detached when the device has been found, because a process has few
    // segments.
    let space = map(ECAM, ECAM_LEN).about("pci configuration space")?;
    let config = Config(Window::of(&space).about("pci configuration space")?);
    let root = PciRoot::new(config);
    let of_kind =
        |(function, info)| (virtio_device_type(&info) == Some(wanted.kind)).then_some(function);
    for function in root.enumerate_bus(0).filter_map(of_kind) {
        let mut bus = Bus {
            root: PciRoot::new(config),
            config,
            function,
            name: wanted.name,
        };
        if let Some(found) = bus.start(wanted, data)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A function of a device on the bus.
struct Bus<'a> {
    root: PciRoot<Config<'a>>,
    config: Config<'a>,
    function: DeviceFunction,
    name: &'static str,
}

impl Bus<'_> {
    fn failure(&self, why: impl core::fmt::Display) -> Failure {
        Failure::new(format_args!("{} device: {why}", self.name))
    }

    /// Enables the device, unless another one is wanted.
    fn start(&mut self, wanted: &Wanted<'_>, data: u64) -> Result<Option<Found>, Failure> {
        let command = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
        self.place_bars();
        self.root.set_command(self.function, command);
        let common = self.common_config()?;
        let transport = PciTransport::new::<Memory, _>(&mut self.root, self.function)
            .map_err(|why| self.failure(why))?;
        if !(wanted.fits)(&transport) {
            // Dropped, it would reset a device that another driver may run.
            core::mem::forget(transport);
            return Ok(None);
        }
        self.enable_msix(data)?;
        Ok(Some(Found { transport, common }))
    }

    /// Gives each BAR an address that the firmware has left without one: small firmwares
    /// do not.
    fn place_bars(&mut self) {
        let mut index = 0;
        while index < BARS {
            let info = self.root.bar_info(self.function, index).ok().flatten();
            let place = BAR_SPACE
                + u64::from(self.function.device) * DEVICE_SPACE
                + u64::from(index) * BAR_SPACING;
            match info {
                Some(BarInfo::Memory {
                    address_type: MemoryBarType::Width64,
                    address,
                    size,
                    ..
                }) => {
                    if address == 0 && size <= BAR_SPACING {
                        self.root.set_bar_64(self.function, index, place);
                    }
                    index += 1;
                }
                Some(BarInfo::Memory { address, size, .. })
                    if address == 0 && size <= BAR_SPACING =>
                {
                    self.root.set_bar_32(self.function, index, place as u32);
                }
                _ => {}
            }
            index += 1;
        }
    }

    /// A window on `len` bytes at `offset` of a BAR; maps the BAR as a whole.
    fn bar(&mut self, index: u8, offset: u32, len: usize) -> Result<Window<'static>, Failure> {
        let info = self.root.bar_info(self.function, index).ok().flatten();
        let (address, size) = info
            .and_then(|info| info.memory_address_size())
            .filter(|(address, _)| *address != 0)
            .ok_or_else(|| self.failure("bar has no address"))?;
        let size = usize::try_from(size).unwrap_or(0);
        let offset = offset as usize;
        if offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(self.failure("registers outside of their bar"));
        }
        let about = |errno| self.failure(format_args!("registers: {errno}"));
        window(address, size).map_err(about)?;
        window(address + offset as u64, len).map_err(about)
    }

    /// The registers described by the vendor capability "common configuration".
    fn common_config(&mut self) -> Result<Window<'static>, Failure> {
        let found = self.root.capabilities(self.function).find(|capability| {
            let kind = (capability.private_header >> 8) as u8;
            capability.id == PCI_CAP_ID_VNDR && kind == VIRTIO_PCI_CAP_COMMON_CFG
        });
        let at = found
            .ok_or_else(|| self.failure("not a modern one"))?
            .offset;
        let index = self.config.read_word(self.function, at.wrapping_add(4)) as u8;
        let offset = self.config.read_word(self.function, at.wrapping_add(8));
        self.bar(index, offset, common::LEN)
    }

    /// Routes vector 0 to this process and enables MSI-X.
    fn enable_msix(&mut self, data: u64) -> Result<(), Failure> {
        let found = self
            .root
            .capabilities(self.function)
            .find(|capability| capability.id == MSIX);
        let at = found.ok_or_else(|| self.failure("no msi-x"))?.offset;
        let place = self.config.read_word(self.function, at.wrapping_add(4));
        let table = self.bar((place & 7) as u8, place & !7, MSIX_ENTRY)?;
        table.write32(0, rt::abi::MSI_ADDRESS as u32);
        table.write32(4, (rt::abi::MSI_ADDRESS >> 32) as u32);
        table.write32(8, data as u32);
        table.write32(12, 0);
        let control = self.config.read_word(self.function, at);
        self.config
            .write_word(self.function, at, control | MSIX_ENABLE);
        Ok(())
    }
}

impl Found {
    /// Resets the device, then attaches `len` bytes of memory for it. The kernel takes
    /// that as word that the device writes no more to the memory of a driver before.
    ///
    /// # Errors
    /// Those of attaching a `dma` segment; `EBUSY` on a second call.
    pub fn attach_memory(&mut self, len: usize) -> Result<(), Errno> {
        self.transport.set_status(DeviceStatus::empty());
        // It has finished when it says so (virtio 1.2, 4.1.4.3.2).
        while !self.transport.get_status().is_empty() {
            core::hint::spin_loop();
        }
        crate::memory::attach(len)
    }

    /// Makes a queue interrupt with vector 0. Call it after the reset that
    /// begins initialisation and before the device is started.
    ///
    /// # Errors
    /// `ENXIO` if the device has no vector left.
    pub fn route(&self, queue: u16) -> Result<(), Errno> {
        self.common.write16(common::MSIX_CONFIG, 0);
        self.common.write16(common::QUEUE_SELECT, queue);
        self.common.write16(common::QUEUE_MSIX_VECTOR, 0);
        let vector = self.common.read16(common::QUEUE_MSIX_VECTOR);
        if vector == 0 {
            Ok(())
        } else {
            Err(Errno::ENXIO)
        }
    }
}
