//! The bundle: a tar archive that QEMU puts into the guest's memory; apart from
//! its devices, the guest has nothing else.

use crate::failure::{Context, Failure};
use object::build::elf::Builder;
use std::path::Path;
use tar::{EntryType, Header};

/// A bundle being packed.
pub struct Bundle {
    archive: tar::Builder<Vec<u8>>,
}

impl Default for Bundle {
    fn default() -> Self {
        Bundle::new()
    }
}

impl Bundle {
    /// An empty bundle.
    pub fn new() -> Bundle {
        Bundle {
            archive: tar::Builder::new(Vec::new()),
        }
    }

    /// Adds a file of these bytes. Names have at most 99 bytes.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o555);
        header.set_size(bytes.len() as u64);
        // A fixed time, so that equal files make equal bundles.
        header.set_mtime(0);
        self.archive
            .append_data(&mut header, name, bytes)
            .context(|| format!("cannot add {name} to the bundle"))
    }

    /// Adds a program or the kernel without its debug information and symbols.
    pub fn add_stripped(&mut self, name: &str, path: &Path) -> Result<(), Failure> {
        let bytes = std::fs::read(path).context(|| format!("cannot read {}", path.display()))?;
        let bytes = strip(&bytes).context(|| format!("cannot strip {}", path.display()))?;
        self.add(name, &bytes)
    }

    /// The finished archive.
    pub fn finish(self) -> Result<Vec<u8>, Failure> {
        self.archive
            .into_inner()
            .context(|| "cannot finish the bundle".into())
    }
}

/// The ELF file without debug information and symbols, which only the host uses: the
/// guest keeps the bundle in its memory. Section headers stay, because the loader
/// finds the kernel's configuration by a section's name.
fn strip(file: &[u8]) -> Result<Vec<u8>, object::build::Error> {
    let mut elf = Builder::read(file)?;
    for section in elf.sections.iter_mut() {
        let name = &section.name;
        let unused: [&[u8]; 3] = [b".comment", b".symtab", b".strtab"];
        section.delete = name.starts_with(b".debug") || unused.contains(&&**name);
    }
    for symbol in elf.symbols.iter_mut() {
        symbol.delete = true;
    }
    let mut out = Vec::new();
    elf.write(&mut out)?;
    Ok(out)
}
