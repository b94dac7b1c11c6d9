//! The reasons for refusing a file.
use core::fmt::{self, Display};

/// The rule of program files that a file breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It does not begin as ELF files do; perhaps a script.
    NotElf,
    /// It ends before the data that its headers name.
    Cut,
    /// For another processor, or for 32 bits.
    Machine,
    /// An object file, a core dump, or the like.
    Kind,
    /// Program headers of another size, or beyond [`HEADERS`](crate::HEADERS).
    Headers,
    /// It has no loadable part.
    Empty,
    /// It has more than [`PARTS`](crate::PARTS) loadable parts.
    Parts,
    /// A part has more bytes in the file than in memory.
    Sizes,
    /// A part lies outside the addresses for programs.
    Addresses,
    /// Two parts share a page.
    Overlap,
    /// A part is both writable and executable.
    WritableCode,
    /// The first instruction is in no executable part.
    Entry,
    /// It needs an interpreter (a dynamic linker).
    Dynamic,
    /// It needs thread-local storage, which its C library would get from Linux.
    ThreadLocal,
    /// A note of its C library's start files marks it as a Linux program.
    Linux,
}

impl Refused {
    fn text(self) -> &'static str {
        match self {
            Refused::NotElf => "no ELF file",
            Refused::Cut => "cut short",
            Refused::Machine => "not for x86-64",
            Refused::Kind => "no program, but another kind of ELF file",
            Refused::Headers => "program headers of another size, or too far behind",
            Refused::Empty => "nothing to load",
            Refused::Parts => "too many parts",
            Refused::Sizes => "a part is larger in the file than in memory",
            Refused::Addresses => "a part is outside the addresses for programs",
            Refused::Overlap => "two parts in one page",
            Refused::WritableCode => "a part is writable and executable",
            Refused::Entry => "the first instruction is in no executable part",
            Refused::Dynamic => {
                "dynamically linked, so probably a Linux program; see docs/first-program.md"
            }
            Refused::ThreadLocal => {
                "needs thread-local storage, so probably a Linux program; see docs/first-program.md"
            }
            Refused::Linux => "a Linux program; see docs/first-program.md",
        }
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
