//! Records of what children do, for a program that watches them.

use crate::sys;
use abi::trace::{Event, Reader, Words};
use abi::{Call, Errno};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use bytestr::{ByteStr, ByteString};

const BEGIN: u64 = 0;
const READ: u64 = 1;
/// Records that are asked for at a time.
const BATCH: usize = 32;

/// One record, and the text that belongs to it.
#[derive(Clone, Debug)]
pub struct Record {
    /// When, in ticks.
    pub time: u64,
    /// The process that ran.
    pub pid: u32,
    /// What it tells.
    pub event: Event,
    /// The event's detail.
    pub detail: u16,
    /// The event's words.
    pub words: [u64; 3],
    /// Its text; empty for most events.
    pub text: ByteString,
}

/// The records of the children that the process makes from now on, and of theirs.
pub struct Watch {
    records: VecDeque<Words>,
    reader: Box<Reader>,
}

impl Watch {
    /// Begins to watch, until the process ends.
    ///
    /// # Errors
    /// `EBUSY`: another process watches.
    pub fn begin() -> Result<Watch, Errno> {
        // SAFETY: the call writes nothing.
        unsafe { sys::call3(Call::Trace, BEGIN, 0, 0) }?;
        Ok(Watch {
            records: VecDeque::new(),
            reader: Box::default(),
        })
    }

    /// Waits for the next record; `None`: all that were watched have ended.
    pub fn next_record(&mut self) -> Result<Option<Record>, Errno> {
        loop {
            let Some(words) = self.records.pop_front() else {
                if self.fetch()? {
                    continue;
                }
                return Ok(None);
            };
            if let Ok(Some(record)) = self.reader.take(&words) {
                return Ok(Some(Record {
                    time: record.time,
                    pid: record.pid,
                    event: record.event,
                    detail: record.detail,
                    words: record.words,
                    text: ByteStr(record.text).to_owned(),
                }));
            }
        }
    }

    /// Asks the kernel for more; `false`: there are no more.
    fn fetch(&mut self) -> Result<bool, Errno> {
        let mut batch = [Words::default(); BATCH];
        let (to, room) = (batch.as_mut_ptr() as u64, size_of_val(&batch) as u64);
        // SAFETY: the kernel writes at most that many bytes of numbers.
        let bytes = unsafe { sys::call3(Call::Trace, READ, to, room) }?;
        let count = bytes as usize / size_of::<Words>();
        self.records.extend(batch.iter().take(count));
        Ok(count > 0)
    }
}
