//! A table of objects by number, for handles that the VM core keeps.
use abi::Errno;
use alloc::boxed::Box;
use alloc::vec::Vec;
use hw::frames;

/// Objects by their numbers. Each object is charged to the account that made it, so
/// that many of one do not use up the memory of others; the table itself to the
/// kernel.
pub struct Entries<T> {
    entries: Vec<Option<Box<T>>>,
    free: Vec<u32>,
}

impl<T> Entries<T> {
    /// No objects.
    pub const fn new() -> Entries<T> {
        Entries {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The object of a number, if it has one.
    pub fn get(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(number as usize)?.as_deref_mut()
    }

    /// Adds an object: its number, and the object in its place.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn insert(&mut self, object: Box<T>) -> Result<(u32, &mut T), Errno> {
        let number = frames::for_all(|| self.vacancy())?;
        let slot = self.entries.get_mut(number as usize);
        Ok((number, slot.ok_or(Errno::ENOMEM)?.insert(object)))
    }

    /// A free entry.
    fn vacancy(&mut self) -> Result<u32, Errno> {
        if let Some(index) = self.free.pop() {
            return Ok(index);
        }
        let index = u32::try_from(self.entries.len()).map_err(|_| Errno::ENOMEM)?;
        self.entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        // Room to free all of them later without allocating.
        let wanted = self.entries.len() + 1 - self.free.len();
        self.free.try_reserve(wanted).map_err(|_| Errno::ENOMEM)?;
        self.entries.push(None);
        Ok(index)
    }

    /// Takes an object out.
    pub fn remove(&mut self, number: u32) -> Option<Box<T>> {
        let gone = self.entries.get_mut(number as usize)?.take()?;
        self.free.push(number);
        if self.free.len() == self.entries.len() {
            self.entries = Vec::new();
            self.free = Vec::new();
        }
        Some(gone)
    }
}
