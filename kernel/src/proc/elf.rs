//! Program files: static ELF for x86_64, checked before anything is changed.
//!
//! A position-independent program (`ET_DYN`) is loaded at [`PIE_BASE`] and
//! relocates itself; one that asks for an interpreter is refused.
use abi::{Errno, PAGE, USER_END};
use elf::abi::{EM_X86_64, ET_DYN, ET_EXEC, PF_W, PF_X, PT_INTERP, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader};
use elf::parse::ParseAt;
use elf::segment::ProgramHeader;

/// Bytes of the file that hold its headers; program headers beyond are
/// refused.
pub const HEADERS: usize = PAGE as usize;
/// Loadable parts a program may have.
pub const PARTS: usize = 6;

/// Where a position-independent program begins: above any program of a fixed
/// address, below the segments whose place the kernel chooses.
pub const PIE_BASE: u64 = 0x20_0000_0000;

/// A part of the program to be loaded.
#[derive(Clone, Copy, Default, Debug)]
pub struct Part {
    /// First address.
    pub va: u64,
    /// Bytes in memory; those beyond `file_len` are zeros.
    pub len: u64,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub file_len: u64,
    /// May be stored to.
    pub write: bool,
    /// May be executed.
    pub execute: bool,
}

/// What a program file says.
#[derive(Debug)]
pub struct Program {
    /// Address of the first instruction.
    pub entry: u64,
    /// Bytes in a program header.
    pub header_size: u64,
    /// Program headers.
    pub headers: u64,
    /// Where the program headers are in the file.
    headers_at: u64,
    /// What is added to the file's addresses.
    base: u64,
    parts: [Part; PARTS],
    count: usize,
}

impl Program {
    /// The parts, as they are in the file.
    pub fn parts(&self) -> &[Part] {
        self.parts.get(..self.count).unwrap_or(&[])
    }

    /// Address of the program headers; 0 if they are not loaded.
    pub fn headers_va(&self) -> u64 {
        let len = self.headers * self.header_size;
        let holds = |p: &&Part| {
            let at = self.headers_at.checked_sub(p.offset);
            at.is_some_and(|at| at.saturating_add(len) <= p.file_len)
        };
        let part = self.parts().iter().find(holds);
        part.map_or(0, |p| p.va + (self.headers_at - p.offset))
    }

    /// From the first bytes of a file ([`HEADERS`], or all of it).
    pub fn parse(head: &[u8]) -> Result<Program, Errno> {
        let ident = elf::file::parse_ident::<LittleEndian>(head).map_err(|_| Errno::ENOEXEC)?;
        let tail = head.get(elf::abi::EI_NIDENT..).ok_or(Errno::ENOEXEC)?;
        let header = FileHeader::parse_tail(ident, tail).map_err(|_| Errno::ENOEXEC)?;
        let sound = header.class == Class::ELF64
            && header.e_machine == EM_X86_64
            && matches!(header.e_type, ET_EXEC | ET_DYN)
            && usize::from(header.e_phentsize) == ProgramHeader::size_for(Class::ELF64);
        if !sound {
            return Err(Errno::ENOEXEC);
        }
        let base = if header.e_type == ET_DYN { PIE_BASE } else { 0 };
        let entry = header.e_entry.checked_add(base);
        let mut program = Program {
            entry: entry.filter(|e| *e < USER_END).ok_or(Errno::ENOEXEC)?,
            header_size: u64::from(header.e_phentsize),
            headers: u64::from(header.e_phnum),
            headers_at: header.e_phoff,
            base,
            parts: [Part::default(); PARTS],
            count: 0,
        };
        let mut at = usize::try_from(header.e_phoff).map_err(|_| Errno::ENOEXEC)?;
        for _ in 0..header.e_phnum {
            let parsed = ProgramHeader::parse_at(LittleEndian, Class::ELF64, &mut at, head);
            let header = parsed.map_err(|_| Errno::ENOEXEC)?;
            if header.p_type == PT_INTERP {
                return Err(Errno::ENOEXEC);
            }
            if header.p_type == PT_LOAD && header.p_memsz > 0 {
                program.add(&header)?;
            }
        }
        if program.count == 0 {
            return Err(Errno::ENOEXEC);
        }
        Ok(program)
    }

    fn add(&mut self, header: &ProgramHeader) -> Result<(), Errno> {
        let va = header.p_vaddr.checked_add(self.base);
        let part = Part {
            va: va.ok_or(Errno::ENOEXEC)?,
            len: header.p_memsz,
            offset: header.p_offset,
            file_len: header.p_filesz,
            write: header.p_flags & PF_W != 0,
            execute: header.p_flags & PF_X != 0,
        };
        let end = part.va.checked_add(part.len).ok_or(Errno::ENOEXEC)?;
        part.offset
            .checked_add(part.file_len)
            .ok_or(Errno::ENOEXEC)?;
        let refused = end > USER_END || part.file_len > part.len || (part.write && part.execute);
        if refused {
            return Err(Errno::ENOEXEC);
        }
        *self.parts.get_mut(self.count).ok_or(Errno::ENOEXEC)? = part;
        self.count += 1;
        Ok(())
    }
}
