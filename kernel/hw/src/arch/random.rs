//! Random bytes from the processor's generator (RDRAND). Without one there
//! are none: nothing here pretends.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use x86_64::instructions::random::RdRand;

/// Attempts before the generator counts as broken (Intel SDM 1, 7.3.17).
const ATTEMPTS: usize = 10;

/// Returns true if there is a working generator.
pub fn available() -> bool {
    /// 0: not tried, 1: no, 2: yes.
    static ANSWER: AtomicU8 = AtomicU8::new(0);
    if ANSWER.load(Relaxed) == 0 {
        let works = fill(&mut [0; 8]);
        ANSWER.store(1 + u8::from(works), Relaxed);
    }
    ANSWER.load(Relaxed) == 2
}

/// Fills `bytes`; false if the generator fails or there is none.
pub fn fill(bytes: &mut [u8]) -> bool {
    let Some(generator) = RdRand::new() else {
        return false;
    };
    for chunk in bytes.chunks_mut(8) {
        let Some(word) = (0..ATTEMPTS).find_map(|_| generator.get_u64()) else {
            return false;
        };
        for (byte, random) in chunk.iter_mut().zip(word.to_le_bytes()) {
            *byte = random;
        }
    }
    true
}
