//! The records that the kernel writes, from bytes.

use abi::trace::{Event, Reader, Words};

/// One record, and the text that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Ticks since the start of the machine.
    pub time: u64,
    /// The process that ran; 0: none.
    pub pid: u32,
    /// What it tells.
    pub event: Event,
    /// The event's detail.
    pub detail: u16,
    /// The event's words.
    pub words: [u64; 3],
    /// A path; empty for most events.
    pub text: String,
}

/// The records in what a kernel has written. It ends at the first that is none: a guest
/// may end in the middle of one.
pub fn read(bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut reader = Reader::default();
    for record in bytes.chunks_exact(size_of::<Words>()) {
        let mut words = Words::default();
        for (word, bytes) in words.iter_mut().zip(record.chunks_exact(8)) {
            *word = bytes.try_into().map_or(0, u64::from_le_bytes);
        }
        match reader.take(&words) {
            Ok(None) => {}
            Ok(Some(record)) => records.push(Record {
                time: record.time,
                pid: record.pid,
                event: record.event,
                detail: record.detail,
                words: record.words,
                text: String::from_utf8_lossy(record.text).into_owned(),
            }),
            Err(_) => break,
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::trace::head;

    #[test]
    fn what_is_no_record_ends_the_trace() {
        let bytes = |words: Words| words.map(u64::to_le_bytes).concat();
        let good = bytes([1, head(Event::Clock, 0, 0), 1000, 0, 0]);
        let bad = bytes([2, 0xffff, 0, 0, 0]);
        assert_eq!(read(&[&good[..], &good, &good[..17]].concat()).len(), 2);
        assert_eq!(read(&[&good[..], &bad, &good].concat()).len(), 1);
        assert!(read(&[]).is_empty());
    }
}
