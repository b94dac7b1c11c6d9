//! The executable specification: the results that every program must see.
//! Buffers and files are byte arrays; every operation takes effect at once.

use alloc::vec;
use alloc::vec::Vec;

/// Files and the memory of processes.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Eager {
    /// The bytes of each file, named or not.
    pub files: Vec<Vec<u8>>,
    /// The file of each name, `None` for none. A file that loses its name
    /// stays what it is for those who have it open.
    pub names: Vec<Option<usize>>,
    /// The bytes of each process's segment; `None`: there is no such process.
    pub spaces: Vec<Option<Vec<u8>>>,
}

/// The bytes a `read` gets.
pub fn read_of(file: &[u8], off: usize, n: usize) -> &[u8] {
    let rest = file.get(off..).unwrap_or_default();
    &rest[..rest.len().min(n)]
}

impl Eager {
    /// Files with these bytes, each under the name of its number, and one
    /// process with `space` zeros.
    pub fn new(files: Vec<Vec<u8>>, space: usize) -> Eager {
        Eager {
            names: (0..files.len()).map(Some).collect(),
            files,
            spaces: vec![Some(vec![0; space])],
        }
    }

    /// The memory of a process.
    pub fn space(&mut self, space: usize) -> &mut Vec<u8> {
        self.spaces[space].as_mut().expect("the process exists")
    }

    /// Puts bytes into memory: the second half of a `read`, and a store.
    pub fn store(&mut self, space: usize, at: usize, bytes: &[u8]) {
        self.space(space)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Changes a file, as `write` and other clients do.
    pub fn change(&mut self, file: usize, off: usize, bytes: &[u8]) {
        let content = &mut self.files[file];
        if bytes.is_empty() {
            return;
        }
        let end = off + bytes.len();
        content.resize(content.len().max(end), 0);
        content[off..end].copy_from_slice(bytes);
    }

    /// Removes a name; returns false if it did not exist.
    pub fn remove(&mut self, name: usize) -> bool {
        self.names[name].take().is_some()
    }

    /// Renames a file; returns false if it did not exist.
    pub fn rename(&mut self, from: usize, to: usize) -> bool {
        match self.names[from].take() {
            Some(file) => self.names[to] = Some(file),
            None => return false,
        }
        true
    }

    /// `write`: `n` bytes of memory to the file.
    pub fn write(&mut self, space: usize, at: usize, n: usize, file: usize, off: usize) {
        let bytes = self.space(space)[at..at + n].to_vec();
        self.change(file, off, &bytes);
    }

    /// A new process with the same memory, in the free place `child`.
    pub fn fork(&mut self, space: usize, child: usize) {
        let copy = self.space(space).clone();
        self.spaces.resize(self.spaces.len().max(child + 1), None);
        self.spaces[child] = Some(copy);
    }
}
