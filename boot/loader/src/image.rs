//! The kernel's ELF file: found in the bundle, checked, and read.

use bootloader_api::BootloaderConfig;
use core::fmt;
use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PF_W, PF_X, PT_INTERP, PT_LOAD, PT_TLS};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;
use tar_no_std::TarArchiveRef;

use crate::memory::PAGE;

/// The kernel's name in the bundle.
const KERNEL: &str = "kernel";
/// The kernel lives in the upper half of the address space.
const UPPER_HALF: u64 = 0xffff_8000_0000_0000;

/// Why a kernel cannot be loaded.
pub enum BadImage {
    /// The bundle is not a tar archive.
    Bundle(tar_no_std::CorruptDataError),
    /// No file of that name.
    NoKernel,
    /// Headers out of bounds or not ELF at all.
    Elf(elf::ParseError),
    /// A kernel of a sort that is not supported; the text says which.
    Kernel(&'static str),
    /// The segment at this address is writable and executable.
    WritableText(u64),
    /// The segment at this address begins in a page of the one before it.
    SharedPage(u64),
    /// The segment at this address lies outside the upper half, or wraps.
    Address(u64),
}

impl fmt::Display for BadImage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            BadImage::Bundle(error) => write!(f, "bundle: {error}"),
            BadImage::NoKernel => write!(f, "bundle: no file named {KERNEL}"),
            BadImage::Elf(error) => write!(f, "kernel: {error}"),
            BadImage::Kernel(reason) => write!(f, "kernel: {reason}"),
            BadImage::WritableText(at) => {
                write!(f, "kernel: segment at {at:#x} is writable and executable")
            }
            BadImage::SharedPage(at) => write!(
                f,
                "kernel: segment at {at:#x} shares a page with the one before"
            ),
            BadImage::Address(at) => {
                write!(f, "kernel: segment at {at:#x} is not in the upper half")
            }
        }
    }
}

impl From<elf::ParseError> for BadImage {
    fn from(error: elf::ParseError) -> Self {
        BadImage::Elf(error)
    }
}

/// A kernel that can be loaded.
pub struct Image<'a> {
    /// The whole file, for the kernel's own use (symbols).
    pub file: &'a [u8],
    /// The kernel's loader configuration.
    pub config: BootloaderConfig,
    /// Address of its first instruction.
    pub entry: u64,
    elf: ElfBytes<'a, LittleEndian>,
}

/// A checked segment: whole pages from `start` to `end`, with `data` at
/// `address` and zeros elsewhere.
pub struct Segment<'a> {
    /// Virtual address of the first byte of data.
    pub address: u64,
    /// `address` rounded down to a page.
    pub start: u64,
    /// End of the segment rounded up to a page.
    pub end: u64,
    /// Bytes from the file.
    pub data: &'a [u8],
    /// The kernel may store to it.
    pub writable: bool,
    /// The kernel may execute it.
    pub executable: bool,
}

impl<'a> Image<'a> {
    /// Finds the kernel in `bundle` and checks all of it.
    pub fn find(bundle: &'a [u8]) -> Result<Image<'a>, BadImage> {
        let archive = TarArchiveRef::new(bundle).map_err(BadImage::Bundle)?;
        let file = archive
            .entries()
            .find(|entry| entry.filename().as_str() == Ok(KERNEL))
            .ok_or(BadImage::NoKernel)?
            .data();
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
        if elf.ehdr.e_machine != EM_X86_64 || elf.ehdr.class != elf::file::Class::ELF64 {
            return Err(BadImage::Kernel("not for x86_64"));
        }
        if elf.ehdr.e_type != ET_EXEC {
            return Err(BadImage::Kernel("not a static executable"));
        }
        let section = elf
            .section_header_by_name(".bootloader-config")?
            .ok_or(BadImage::Kernel("no section .bootloader-config"))?;
        let (bytes, _) = elf.section_data(&section)?;
        let config = BootloaderConfig::deserialize(bytes).map_err(BadImage::Kernel)?;
        let image = Image {
            file,
            config,
            entry: elf.ehdr.e_entry,
            elf,
        };
        image.check()?;
        Ok(image)
    }

    /// The segments, lowest address first.
    pub fn segments(&self) -> impl Iterator<Item = Result<Segment<'a>, BadImage>> {
        let headers = self.elf.segments();
        headers
            .into_iter()
            .flat_map(|headers| headers.iter())
            .filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0)
            .map(|header| self.segment(&header))
    }

    fn segment(&self, header: &ProgramHeader) -> Result<Segment<'a>, BadImage> {
        let at = header.p_vaddr;
        let data = self.elf.segment_data(header)?;
        if header.p_filesz > header.p_memsz {
            return Err(BadImage::Kernel(
                "a segment is longer in the file than in memory",
            ));
        }
        let end = at
            .checked_add(header.p_memsz)
            .and_then(|end| end.checked_next_multiple_of(PAGE))
            .filter(|_| at >= UPPER_HALF)
            .ok_or(BadImage::Address(at))?;
        Ok(Segment {
            address: at,
            start: at & !(PAGE - 1),
            end,
            data,
            writable: header.p_flags & PF_W != 0,
            executable: header.p_flags & PF_X != 0,
        })
    }

    fn check(&self) -> Result<(), BadImage> {
        let mut last_end = 0;
        let mut entry_found = false;
        for segment in self.segments() {
            let segment = segment?;
            if segment.writable && segment.executable {
                return Err(BadImage::WritableText(segment.address));
            }
            if segment.start < last_end {
                return Err(BadImage::SharedPage(segment.address));
            }
            last_end = segment.end;
            entry_found |=
                segment.executable && (segment.address..segment.end).contains(&self.entry);
        }
        if !entry_found {
            return Err(BadImage::Kernel(
                "the entry is not in an executable segment",
            ));
        }
        let headers = self.elf.segments();
        if headers
            .into_iter()
            .flat_map(|headers| headers.iter())
            .any(|header| header.p_type == PT_TLS || header.p_type == PT_INTERP)
        {
            return Err(BadImage::Kernel(
                "thread-local storage and interpreters are not supported",
            ));
        }
        Ok(())
    }
}
