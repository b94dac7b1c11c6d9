//! The records of the log.
//!
//! A record is `kind[1]`, some numbers of 8 bytes, and a checksum of 8 bytes
//! that continues that of the record before. So a torn tail, the rest of a
//! failed append, or any other damage ends the log there.

use alloc::vec::Vec;

/// What a log begins with; another one is not read.
const MAGIC: u64 = u64::from_le_bytes(*b"snaplog2");

/// `slot` of a [`Record::Saved`] that says "zeros".
pub const ZERO: u64 = u64::MAX;
/// And one that says "lost".
pub const LOST: u64 = u64::MAX - 1;

/// Both parts of a ctime that is not known.
pub const UNKNOWN: u64 = u64::MAX;

/// Records, each with its kind and its numbers in the order in which a log has
/// them.
macro_rules! records {
    ($($(#[doc = $doc:literal])* $kind:literal: $name:ident { $($field:ident),* })*) => {
        /// One fact. Later ones replace earlier ones.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Record {
            $($(#[doc = $doc])* $name { $($field: u64),* },)*
        }

        impl Record {
            /// Its kind; `visit` is given its numbers.
            fn fields(&self, visit: &mut impl FnMut(u64)) -> u8 {
                match *self {
                    $(Record::$name { $($field),* } => {
                        $(visit($field);)*
                        $kind
                    })*
                }
            }

            /// One of that kind, with numbers from `next`.
            fn read(kind: u8, mut next: impl FnMut() -> Option<u64>) -> Option<Record> {
                Some(match kind {
                    $($kind => Record::$name { $($field: next()?),* },)*
                    _ => return None,
                })
            }
        }
    };
}

records! {
    /// The first. The boot is the [`crate::Options::boot`] of the writer.
    1: Start { magic, boot_low, boot_high }
    /// A session began.
    2: Session { id_low, id_high }
    /// A session ended.
    3: Ended { id_low, id_high }
    /// The high-water mark: no client was told a later epoch.
    4: HighWater { epoch }
    /// The file as snapfs left it; [`UNKNOWN`] if its ctime is not known.
    5: File { path, epoch, size, mtime, mtime_nsec, ctime, ctime_nsec }
    /// A change of the file began: until its next [`Record::File`] its size and
    /// times are snapfs's own doing.
    6: Begun { path }
    /// From `epoch` back, the content of `count` blocks is in the store at
    /// `slot`, or is [`ZERO`] or [`LOST`]. `check` is the checksum of the block
    /// in the store.
    7: Saved { path, block, count, epoch, slot, check }
    /// The place `slot` is free.
    8: Freed { slot }
    /// The content that was live at or before `epoch` is lost.
    9: Broken { path, epoch }
}

impl Record {
    /// The first record of a log.
    pub fn start([boot_low, boot_high]: [u64; 2]) -> Record {
        let magic = MAGIC;
        Record::Start {
            magic,
            boot_low,
            boot_high,
        }
    }

    /// The boot in which a log was written that begins with this record, if
    /// it is one of snapfs's.
    pub fn boot(&self) -> Option<[u64; 2]> {
        match *self {
            Record::Start {
                magic: MAGIC,
                boot_low,
                boot_high,
            } => Some([boot_low, boot_high]),
            _ => None,
        }
    }
}

/// Mixes one more number into a checksum: FNV's steps on whole numbers, with
/// the high half folded in. It detects errors, not attacks.
fn mix(check: u64, number: u64) -> u64 {
    let mixed = (check ^ number).wrapping_mul(0x0000_0100_0000_01b3 << 8 | 0x5d);
    mixed ^ mixed >> 29
}

/// The check of a block of bytes.
pub fn check_of(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let rest = rest.iter().map(|byte| u64::from(*byte));
    words.chain(rest).fold(MAGIC, mix)
}

/// The end of a log: the state that the next record's checksum continues.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Chain(u64);

impl Chain {
    /// Appends a record to `out`.
    pub fn put(&mut self, record: &Record, out: &mut Vec<u8>) {
        let at = out.len();
        out.push(0);
        let kind = record.fields(&mut |field| out.extend_from_slice(&field.to_le_bytes()));
        out[at] = kind;
        self.step(kind, record);
        out.extend_from_slice(&self.0.to_le_bytes());
    }

    fn step(&mut self, kind: u8, record: &Record) {
        self.0 = mix(self.0, u64::from(kind));
        record.fields(&mut |field| self.0 = mix(self.0, field));
    }
}

/// The records of a log, up to the first bad one.
pub struct Records<'a> {
    rest: &'a [u8],
    chain: Chain,
}

impl<'a> Records<'a> {
    pub fn new(log: &'a [u8]) -> Records<'a> {
        Records {
            rest: log,
            chain: Chain::default(),
        }
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*number))
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let (&kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        let record = Record::read(kind, || self.number())?;
        self.chain.step(kind, &record);
        Some(record).filter(|_| self.number() == Some(self.chain.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let (path, epoch) = (7, 1 << 40);
        alloc::vec![
            Record::start([1, 2]),
            Record::Session {
                id_low: 3,
                id_high: 4
            },
            Record::HighWater { epoch },
            Record::File {
                path,
                epoch,
                size: 5,
                mtime: 6,
                mtime_nsec: 7,
                ctime: 8,
                ctime_nsec: 9
            },
            Record::Begun { path },
            Record::Saved {
                path,
                block: 8,
                count: 1,
                epoch,
                slot: 9,
                check: 10
            },
            Record::Freed { slot: 9 },
            Record::Broken { path, epoch },
            Record::Ended {
                id_low: 3,
                id_high: 4
            },
        ]
    }

    fn log(records: &[Record]) -> Vec<u8> {
        let (mut out, mut chain) = (Vec::new(), Chain::default());
        records
            .iter()
            .for_each(|record| chain.put(record, &mut out));
        out
    }

    #[test]
    fn a_log_reads_back_and_its_torn_tail_is_nothing() {
        let records = samples();
        let bytes = log(&records);
        assert_eq!(Records::new(&bytes).collect::<Vec<_>>(), records);
        for cut in 0..bytes.len() {
            let read: Vec<_> = Records::new(&bytes[..cut]).collect();
            assert_eq!(read, records[..read.len()], "cut at {cut}");
            assert!(read.len() < records.len());
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_log_where_it_is() {
        let records = samples();
        let bytes = log(&records);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let read: Vec<_> = Records::new(&bad).collect();
            assert_eq!(read, records[..read.len()], "bit {bit}");
            assert!(read.len() < records.len(), "bit {bit} was not noticed");
        }
    }

    #[test]
    fn what_is_left_of_an_append_that_failed_is_not_read() {
        let records = samples();
        let mut bytes = log(&records);
        let (mut chain, mut kept) = (Chain::default(), Vec::new());
        records[..3]
            .iter()
            .for_each(|record| chain.put(record, &mut kept));
        // As long as the record it replaces, so that the next one fits on.
        let other = Record::File {
            path: 1,
            epoch: 2,
            size: 3,
            mtime: 4,
            mtime_nsec: 5,
            ctime: 6,
            ctime_nsec: 7,
        };
        chain.put(&other, &mut kept);
        bytes[..kept.len()].copy_from_slice(&kept);
        let read: Vec<_> = Records::new(&bytes).collect();
        assert_eq!(read[..3], records[..3]);
        assert_eq!(read[3..], [other]);
    }
}
