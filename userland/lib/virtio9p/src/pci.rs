//! Finds the device on the PCI bus and routes its interrupts to this process.
use crate::memory::{Memory, Window, map, window};
use rt::{Errno, Failure, Named};
use virtio_drivers::transport::pci::bus::{
    Command, ConfigurationAccess, DeviceFunction, PCI_CAP_ID_VNDR, PciRoot,
};
use virtio_drivers::transport::pci::{PciTransport, VIRTIO_PCI_CAP_COMMON_CFG, virtio_device_type};
use virtio_drivers::transport::{DeviceType, Transport};

/// Where q35 has the configuration space of all PCI functions (ECAM).
const ECAM: u64 = 0xb000_0000;
/// Bytes for bus 0 alone, where QEMU puts devices by default.
const ECAM_LEN: usize = 1 << 20;

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

/// A device, with the data that the transport does not provide.
pub struct Found {
    pub transport: PciTransport,
    common: Window<'static>,
}

/// Finds the virtio-9p device with that mount tag; its interrupts carry `data`.
///
/// # Errors
/// No such device, or a missing feature.
pub fn find(tag: &str, data: u64) -> Result<Found, Failure> {
    // Detached when the device has been found, because a process has few
    // segments.
    let space = map(ECAM, ECAM_LEN).about("pci configuration space")?;
    let config = Config(Window::of(&space).about("pci configuration space")?);
    let mut root = PciRoot::new(config);
    for (function, info) in root.enumerate_bus(0) {
        if virtio_device_type(&info) != Some(DeviceType::_9P) {
            continue;
        }
        let wanted = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
        root.set_command(function, wanted);
        let common = common_config(&mut root, config, function)?;
        let transport = PciTransport::new::<Memory, _>(&mut root, function)
            .map_err(|why| Failure::new(format_args!("virtio-9p device {function}: {why}")))?;
        if has_tag(&transport, tag) {
            enable_msix(&mut root, config, function, data)?;
            return Ok(Found { transport, common });
        }
    }
    Err(Failure::new(format_args!(
        "no virtio-9p device with mount tag {tag}"
    )))
}

/// Returns true if the device's configuration (`len[2] tag[len]`) has that tag.
fn has_tag(transport: &PciTransport, tag: &str) -> bool {
    let matches = transport.read_consistent(|| {
        let len: u16 = transport.read_config_space(0)?;
        let mut same = usize::from(len) == tag.len();
        for (i, expected) in tag.bytes().enumerate() {
            same = same && transport.read_config_space::<u8>(2 + i)? == expected;
        }
        Ok(same)
    });
    matches.unwrap_or(false)
}

/// A window on `len` bytes at `offset` of a BAR; maps the BAR as a whole.
fn bar(
    root: &mut PciRoot<Config<'_>>,
    function: DeviceFunction,
    index: u8,
    offset: u32,
    len: usize,
) -> Result<Window<'static>, Failure> {
    let info = root.bar_info(function, index).ok().flatten();
    let (address, size) = info
        .and_then(|info| info.memory_address_size())
        .filter(|(address, _)| *address != 0)
        .ok_or_else(|| Failure::new("virtio-9p device: bar has no address"))?;
    let size = usize::try_from(size).unwrap_or(0);
    let offset = offset as usize;
    if offset.checked_add(len).is_none_or(|end| end > size) {
        return Err(Failure::new(
            "virtio-9p device: registers outside of their bar",
        ));
    }
    window(address, size).about("virtio-9p device: registers")?;
    window(address + offset as u64, len).about("virtio-9p device: registers")
}

/// The registers described by the vendor capability "common configuration".
fn common_config(
    root: &mut PciRoot<Config<'_>>,
    config: Config<'_>,
    function: DeviceFunction,
) -> Result<Window<'static>, Failure> {
    let found = root.capabilities(function).find(|capability| {
        let kind = (capability.private_header >> 8) as u8;
        capability.id == PCI_CAP_ID_VNDR && kind == VIRTIO_PCI_CAP_COMMON_CFG
    });
    let at = found
        .ok_or_else(|| Failure::new("virtio-9p device: not a modern one"))?
        .offset;
    let index = config.read_word(function, at.wrapping_add(4)) as u8;
    let offset = config.read_word(function, at.wrapping_add(8));
    bar(root, function, index, offset, common::LEN)
}

/// Routes vector 0 to this process and enables MSI-X.
fn enable_msix(
    root: &mut PciRoot<Config<'_>>,
    mut config: Config<'_>,
    function: DeviceFunction,
    data: u64,
) -> Result<(), Failure> {
    let found = root
        .capabilities(function)
        .find(|capability| capability.id == MSIX);
    let at = found
        .ok_or_else(|| Failure::new("virtio-9p device: no msi-x"))?
        .offset;
    let place = config.read_word(function, at.wrapping_add(4));
    let table = bar(root, function, (place & 7) as u8, place & !7, MSIX_ENTRY)?;
    table.write32(0, rt::abi::MSI_ADDRESS as u32);
    table.write32(4, (rt::abi::MSI_ADDRESS >> 32) as u32);
    table.write32(8, data as u32);
    table.write32(12, 0);
    let control = config.read_word(function, at);
    config.write_word(function, at, control | MSIX_ENABLE);
    Ok(())
}

impl Found {
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
