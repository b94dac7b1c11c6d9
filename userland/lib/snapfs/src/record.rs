//! Records of the log: what a server must know again after its own restart.
//!
//! A record is `kind[1]`, some numbers of 8 bytes, and a check of 8 bytes that
//! goes on from the record before it. So a tail that was torn, left over from
//! an append that failed, or is anything else ends the log, and no more.

use alloc::vec::Vec;

/// What a log begins with; another one is not read.
const MAGIC: u64 = u64::from_le_bytes(*b"snaplog1");
/// Numbers in the longest record.
const FIELDS_MAX: usize = 6;

/// `slot` of a [`Record::Saved`] that says "zeros".
pub const ZERO: u64 = u64::MAX;
/// And one that says "lost".
pub const LOST: u64 = u64::MAX - 1;

/// One fact. Later ones replace earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// The first. `boot` is the [`crate::Options::boot`] of the writer.
    Start {
        magic: u64,
        boot: [u64; 2],
    },
    /// A session began, or ended.
    Session {
        id: [u64; 2],
    },
    Ended {
        id: [u64; 2],
    },
    /// No epoch above this was told anybody.
    Mark {
        epoch: u64,
    },
    /// The file as we left it.
    File {
        path: u64,
        epoch: u64,
        size: u64,
        mtime: (u64, u64),
    },
    /// We began to change the file: until its next [`Record::File`] its size
    /// and times are our own doing.
    Begun {
        path: u64,
    },
    /// Up to and including `epoch`, `count` blocks were what is in the
    /// store at `slot`, or [`ZERO`]. `check` is that of the block in the store.
    Saved {
        path: u64,
        block: u64,
        count: u64,
        epoch: u64,
        slot: u64,
        check: u64,
    },
    /// Nobody refers to what is at `slot` any more.
    Freed {
        slot: u64,
    },
    /// What was live at or before `epoch` is lost.
    Broken {
        path: u64,
        epoch: u64,
    },
}

impl Record {
    /// The kind and the numbers of it, the rest zeros.
    fn fields(&self) -> (u8, [u64; FIELDS_MAX]) {
        match *self {
            Record::Start { magic, boot } => (1, [magic, boot[0], boot[1], 0, 0, 0]),
            Record::Session { id } => (2, [id[0], id[1], 0, 0, 0, 0]),
            Record::Ended { id } => (3, [id[0], id[1], 0, 0, 0, 0]),
            Record::Mark { epoch } => (4, [epoch, 0, 0, 0, 0, 0]),
            Record::File {
                path,
                epoch,
                size,
                mtime,
            } => (5, [path, epoch, size, mtime.0, mtime.1, 0]),
            Record::Begun { path } => (6, [path, 0, 0, 0, 0, 0]),
            Record::Saved {
                path,
                block,
                count,
                epoch,
                slot,
                check,
            } => (7, [path, block, count, epoch, slot, check]),
            Record::Freed { slot } => (8, [slot, 0, 0, 0, 0, 0]),
            Record::Broken { path, epoch } => (9, [path, epoch, 0, 0, 0, 0]),
        }
    }

    fn from_fields(kind: u8, f: &[u64; FIELDS_MAX]) -> Option<Record> {
        Some(match kind {
            1 => Record::Start {
                magic: f[0],
                boot: [f[1], f[2]],
            },
            2 => Record::Session { id: [f[0], f[1]] },
            3 => Record::Ended { id: [f[0], f[1]] },
            4 => Record::Mark { epoch: f[0] },
            5 => Record::File {
                path: f[0],
                epoch: f[1],
                size: f[2],
                mtime: (f[3], f[4]),
            },
            6 => Record::Begun { path: f[0] },
            7 => Record::Saved {
                path: f[0],
                block: f[1],
                count: f[2],
                epoch: f[3],
                slot: f[4],
                check: f[5],
            },
            8 => Record::Freed { slot: f[0] },
            9 => Record::Broken {
                path: f[0],
                epoch: f[1],
            },
            _ => return None,
        })
    }

    /// The first record of a log.
    pub fn start(boot: [u64; 2]) -> Record {
        Record::Start { magic: MAGIC, boot }
    }

    /// The boot in which a log was written that begins with this record, if
    /// it is one of ours.
    pub fn boot(&self) -> Option<[u64; 2]> {
        match self {
            Record::Start { magic: MAGIC, boot } => Some(*boot),
            _ => None,
        }
    }
}

/// How many numbers a record of this kind has.
fn count_of(kind: u8) -> Option<usize> {
    let counts = [3, 2, 2, 1, 5, 1, 6, 1, 2];
    counts.get(usize::from(kind).checked_sub(1)?).copied()
}

/// Mixes one more number into a check. FNV's steps on whole numbers, and the
/// high half folded in: errors are what it finds, not enemies.
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

/// Where a log ends: what the next record's check goes on from.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Chain(u64);

impl Chain {
    /// Appends a record to `out`.
    pub fn put(&mut self, record: &Record, out: &mut Vec<u8>) {
        let (kind, fields) = record.fields();
        let fields = &fields[..count_of(kind).unwrap_or(0)];
        self.step(kind, fields);
        out.push(kind);
        fields
            .iter()
            .for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
        out.extend_from_slice(&self.0.to_le_bytes());
    }

    fn step(&mut self, kind: u8, fields: &[u64]) {
        self.0 = fields
            .iter()
            .fold(mix(self.0, u64::from(kind)), |c, f| mix(c, *f));
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
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let (&kind, rest) = core::mem::take(&mut self.rest).split_first()?;
        let count = count_of(kind)?;
        let (body, rest) = rest.split_at_checked((count + 1) * 8)?;
        let mut numbers = [0; FIELDS_MAX + 1];
        for (number, bytes) in numbers.iter_mut().zip(body.as_chunks::<8>().0) {
            *number = u64::from_le_bytes(*bytes);
        }
        let mut fields = [0; FIELDS_MAX];
        fields[..count].copy_from_slice(&numbers[..count]);
        self.chain.step(kind, &fields[..count]);
        if self.chain.0 != numbers[count] {
            return None;
        }
        self.rest = rest;
        Record::from_fields(kind, &fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let (path, epoch) = (7, 1 << 40);
        alloc::vec![
            Record::start([1, 2]),
            Record::Session { id: [3, 4] },
            Record::Mark { epoch },
            Record::File {
                path,
                epoch,
                size: 5,
                mtime: (6, 7)
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
            Record::Ended { id: [3, 4] },
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
            mtime: (4, 5),
        };
        chain.put(&other, &mut kept);
        bytes[..kept.len()].copy_from_slice(&kept);
        let read: Vec<_> = Records::new(&bytes).collect();
        assert_eq!(read[..3], records[..3]);
        assert_eq!(read[3..], [other]);
    }
}
