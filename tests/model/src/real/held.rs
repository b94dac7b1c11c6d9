//! A client's record of a snapshot, with which it reclaims the snapshot from a
//! restarted server.

use std::ops::Range;

use crate::server::File;

/// One snapshot: byte ranges of one file, each as of an epoch.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its file.
    pub file: File,
    /// No overlaps.
    pub ranges: Vec<(Range<u64>, u64)>,
}

impl Held {
    /// A snapshot of nothing.
    pub fn new(file: File) -> Held {
        Held {
            file,
            ranges: Vec::new(),
        }
    }

    /// Sets the epoch of `bytes`.
    pub fn set(&mut self, bytes: Range<u64>, epoch: u64) {
        self.forget(&bytes);
        if !bytes.is_empty() {
            self.ranges.push((bytes, epoch));
        }
    }

    /// `bytes` are not asked for any more.
    pub fn forget(&mut self, bytes: &Range<u64>) {
        let old = std::mem::take(&mut self.ranges);
        for (range, epoch) in old {
            let before = range.start..range.end.min(bytes.start);
            let after = range.start.max(bytes.end)..range.end;
            let parts = [before, after].into_iter().filter(|part| !part.is_empty());
            self.ranges.extend(parts.map(|part| (part, epoch)));
        }
    }
}
