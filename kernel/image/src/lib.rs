//! Program files: static ELF for x86_64, checked before anything is changed.
//!
//! No byte of a file is trusted. The kernel gives the first bytes of a file to
//! [`Program::parse`] and gets the parts to be loaded, or the rule that the
//! file breaks. The parts fit into the available addresses and do not overlap.
//! A position-independent program (`ET_DYN`) is loaded at [`PIE_BASE`] and
//! relocates itself. A program that needs an interpreter, or an environment
//! that only Linux's C library sets up, is refused with that reason.
#![no_std]
#![forbid(unsafe_code)]

mod refused;
pub mod stack;

pub use refused::Refused;

use abi::PAGE;
use core::ops::Range;
use elf::abi::{
    EI_NIDENT, ELFMAGIC, EM_X86_64, ET_DYN, ET_EXEC, PF_W, PF_X, PT_INTERP, PT_LOAD, PT_NOTE,
    PT_TLS,
};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader};
use elf::note::{Note, NoteIterator};
use elf::parse::ParseAt;
use elf::segment::ProgramHeader;

/// Bytes of the file that contain its headers; program headers beyond them are
/// refused.
pub const HEADERS: usize = PAGE as usize;
/// Loadable parts a program may have.
pub const PARTS: usize = 6;

/// The base of a position-independent program: above any program of a fixed
/// address, below the segments that the kernel places.
pub const PIE_BASE: u64 = 0x20_0000_0000;

/// Bytes of an ELF header for 64 bits.
const HEADER: usize = 64;

/// A part of the program to be loaded.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Part {
    /// First address.
    pub va: u64,
    /// Bytes in memory; those beyond `file_len` are zeros.
    pub len: u64,
    /// Offset of its bytes in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub file_len: u64,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub execute: bool,
}

impl Part {
    /// The addresses of its pages.
    pub fn pages(&self) -> Range<u64> {
        let end = self.va.saturating_add(self.len);
        self.va & !(PAGE - 1)..end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX)
    }
}

/// The bytes of a file that a part's pages show, the others being zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The byte of the part's pages where they begin.
    pub at: u64,
    /// Where they begin in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl Part {
    /// What its pages show of a file of `size` bytes. Where the pages are pages of the
    /// file, they show these whole, as on Linux, and can be shared with others: also
    /// the bytes around the part, but none in place of the zeros after its own.
    ///
    /// # Errors
    /// [`Refused::Cut`] if the file ends within the part's bytes.
    pub fn shown(&self, size: u64) -> Result<Shown, Refused> {
        let end = self.offset.checked_add(self.file_len);
        let rest = size.checked_sub(end.ok_or(Refused::Cut)?);
        let rest = rest.ok_or(Refused::Cut)?;
        let at = self.va % PAGE;
        let whole = self.offset % PAGE == at;
        let before = if whole { at } else { 0 };
        let after = match whole && self.file_len == self.len {
            true => (self.len.wrapping_neg().wrapping_sub(at) % PAGE).min(rest),
            false => 0,
        };
        Ok(Shown {
            at: at - before,
            offset: self.offset - before,
            len: before + self.file_len + after,
        })
    }
}

/// The content of a program file's headers.
#[derive(Debug)]
pub struct Program {
    /// Address of the first instruction.
    pub entry: u64,
    /// Bytes in a program header.
    pub header_size: u64,
    /// Program headers.
    pub headers: u64,
    /// Offset of the program headers in the file.
    headers_at: u64,
    /// The difference between load addresses and the file's addresses.
    base: u64,
    parts: [Part; PARTS],
    count: usize,
}

impl Program {
    /// The parts, in the file's order. No two of them share a page, and all lie
    /// within the addresses given to [`Program::parse`].
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

    /// Parses the first bytes of a file ([`HEADERS`], or all of it), for a
    /// process with `room` for parts.
    pub fn parse(head: &[u8], room: Range<u64>) -> Result<Program, Refused> {
        let header = header(head)?;
        let base = if header.e_type == ET_DYN { PIE_BASE } else { 0 };
        let entry = header.e_entry.checked_add(base);
        let mut program = Program {
            entry: entry.ok_or(Refused::Entry)?,
            header_size: u64::from(header.e_phentsize),
            headers: u64::from(header.e_phnum),
            headers_at: header.e_phoff,
            base,
            parts: [Part::default(); PARTS],
            count: 0,
        };
        let mut at = usize::try_from(header.e_phoff).map_err(|_| Refused::Headers)?;
        for _ in 0..header.e_phnum {
            let parsed = ProgramHeader::parse_at(LittleEndian, Class::ELF64, &mut at, head);
            let header = parsed.map_err(|_| Refused::Headers)?;
            match header.p_type {
                PT_INTERP => return Err(Refused::Dynamic),
                PT_TLS => return Err(Refused::ThreadLocal),
                PT_NOTE if made_for_linux(head, &header) => return Err(Refused::Linux),
                PT_LOAD if header.p_memsz > 0 => program.add(&header, &room)?,
                _ => {}
            }
        }
        let begins_in = |p: &Part| p.execute && (p.va..p.va + p.len).contains(&program.entry);
        match program.parts() {
            [] => Err(Refused::Empty),
            parts if !parts.iter().any(begins_in) => Err(Refused::Entry),
            _ => Ok(program),
        }
    }

    fn add(&mut self, header: &ProgramHeader, room: &Range<u64>) -> Result<(), Refused> {
        let va = header.p_vaddr.checked_add(self.base);
        let part = Part {
            va: va.ok_or(Refused::Addresses)?,
            len: header.p_memsz,
            offset: header.p_offset,
            file_len: header.p_filesz,
            write: header.p_flags & PF_W != 0,
            execute: header.p_flags & PF_X != 0,
        };
        let end = part.va.checked_add(part.len).ok_or(Refused::Addresses)?;
        let pages = part.pages();
        if pages.start < room.start || end > room.end {
            return Err(Refused::Addresses);
        }
        if part.offset.checked_add(part.file_len).is_none() {
            return Err(Refused::Cut);
        }
        if part.file_len > part.len {
            return Err(Refused::Sizes);
        }
        if part.write && part.execute {
            return Err(Refused::WritableCode);
        }
        let overlaps = |p: &Part| pages.start < p.pages().end && p.pages().start < pages.end;
        if self.parts().iter().any(overlaps) {
            return Err(Refused::Overlap);
        }
        *self.parts.get_mut(self.count).ok_or(Refused::Parts)? = part;
        self.count += 1;
        Ok(())
    }
}

/// The header, if it is of a program for this machine.
fn header(head: &[u8]) -> Result<FileHeader<LittleEndian>, Refused> {
    if !head.starts_with(&ELFMAGIC) {
        return Err(Refused::NotElf);
    }
    // The crate assumes a complete identification.
    let (Some(ident), Some(tail)) = (head.get(..EI_NIDENT), head.get(EI_NIDENT..HEADER)) else {
        return Err(Refused::Cut);
    };
    let ident = elf::file::parse_ident(ident).map_err(|_| Refused::Machine)?;
    let header = FileHeader::parse_tail(ident, tail).map_err(|_| Refused::Machine)?;
    if header.class != Class::ELF64 || header.e_machine != EM_X86_64 {
        return Err(Refused::Machine);
    }
    if !matches!(header.e_type, ET_EXEC | ET_DYN) {
        return Err(Refused::Kind);
    }
    let expected = ProgramHeader::size_for(Class::ELF64);
    if usize::from(header.e_phentsize) != expected {
        return Err(Refused::Headers);
    }
    Ok(header)
}

/// Returns true if one of these notes marks a Linux program. The start files of
/// Linux's C libraries contain it; programs without them do not.
fn made_for_linux(head: &[u8], header: &ProgramHeader) -> bool {
    let start = usize::try_from(header.p_offset).ok();
    let len = usize::try_from(header.p_filesz).ok();
    let notes = start.and_then(|at| head.get(at..at.checked_add(len?)?));
    let align = usize::try_from(header.p_align).unwrap_or(0);
    // Notes of another alignment, or beyond the head, are ignored: they only
    // affect the reason for which a file is refused.
    let Some(notes) = notes.filter(|_| matches!(align, 4 | 8)) else {
        return false;
    };
    let mut notes = NoteIterator::new(LittleEndian, Class::ELF64, align, notes);
    notes.any(|note| matches!(note, Note::GnuAbiTag(tag) if tag.os == elf::abi::ELF_NOTE_GNU_ABI_TAG_OS_LINUX))
}
