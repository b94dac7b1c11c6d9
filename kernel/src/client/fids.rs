//! The numbers that are fids of a connection.
use crate::chan::room;
use abi::Errno;
use alloc::vec::Vec;
use ninep::consts::NOFID;
use ninep::numbers;

/// Words to begin with: a number that was given back is not taken again soon.
const WORDS: usize = 64;

/// Which numbers are in use.
pub struct Fids {
    /// A bit for each.
    words: Vec<u64>,
    /// Where the next search begins.
    next: u32,
    in_use: usize,
}

impl Fids {
    /// None is in use.
    pub fn new() -> Result<Fids, Errno> {
        let mut words = room(WORDS)?;
        words.resize(WORDS, 0);
        Ok(Fids {
            words,
            next: 0,
            in_use: 0,
        })
    }

    /// One that is not in use, and is from now on.
    ///
    /// # Errors
    /// `ENOMEM`; `ENFILE` if all are in use.
    pub fn take(&mut self) -> Result<u32, Errno> {
        let fid = match numbers::take(&mut self.words, self.next) {
            Some(fid) => fid,
            None => self.grow()?,
        };
        self.next = fid.wrapping_add(1);
        self.in_use += 1;
        Ok(fid)
    }

    /// Twice as many numbers; the first new one.
    fn grow(&mut self) -> Result<u32, Errno> {
        let words = self.words.len();
        if 2 * words * 64 > NOFID as usize {
            return Err(Errno::ENFILE);
        }
        self.words.try_reserve(words).map_err(|_| Errno::ENOMEM)?;
        self.words.resize(2 * words, 0);
        numbers::take(&mut self.words, words as u32 * 64).ok_or(Errno::ENFILE)
    }

    /// Numbers in use.
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// It is a fid no more.
    pub fn give_back(&mut self, fid: u32) {
        self.in_use = self.in_use.saturating_sub(1);
        numbers::give_back(&mut self.words, fid);
    }
}
