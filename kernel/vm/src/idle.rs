//! Idle frames: nobody has them, and the frame cache still names them, so that who reads
//! the same pages next finds them.
//!
//! They are a list through words of the frame table, the one that became idle first in
//! front. They count as free: the host frees them from the front before it refuses a frame
//! or has a page in use leave.

use crate::Frame;

/// No frame, and one more than there may be.
const NONE: u32 = Links::END;

/// The neighbours of an idle frame in the list: two numbers of [`Links::BITS`] bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Links {
    before: u32,
    after: u32,
}

impl Links {
    /// Bits of a frame's number.
    pub const BITS: u32 = 30;
    /// One past the last frame that a list can name.
    pub const END: u32 = (1 << Links::BITS) - 1;

    /// As one number.
    #[inline]
    pub const fn bits(self) -> u64 {
        (self.before as u64) << Links::BITS | self.after as u64
    }

    /// From [`Links::bits`]; higher bits are ignored.
    #[inline]
    pub const fn from_bits(bits: u64) -> Links {
        Links {
            before: (bits >> Links::BITS) as u32 & NONE,
            after: bits as u32 & NONE,
        }
    }
}

/// Where the links of idle frames are kept.
pub trait IdleLinks {
    /// Those of an idle frame.
    fn links(&self, frame: Frame) -> Links;
    /// Sets them. The frame is idle from the first call on.
    fn set_links(&mut self, frame: Frame, links: Links);
}

/// The list.
#[derive(Clone, Debug)]
pub struct Idle {
    oldest: u32,
    newest: u32,
    count: u32,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle::new()
    }
}

impl Idle {
    /// No frame.
    pub const fn new() -> Idle {
        Idle {
            oldest: NONE,
            newest: NONE,
            count: 0,
        }
    }

    /// How many there are.
    #[inline]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The frame that has been idle for the longest time.
    #[inline]
    pub fn oldest(&self) -> Option<Frame> {
        (self.oldest != NONE).then_some(Frame(self.oldest))
    }

    /// A frame becomes idle.
    pub fn add(&mut self, words: &mut impl IdleLinks, frame: Frame) {
        let links = Links {
            before: self.newest,
            after: NONE,
        };
        words.set_links(frame, links);
        self.link(words, self.newest, frame.0);
        self.newest = frame.0;
        if self.oldest == NONE {
            self.oldest = frame.0;
        }
        self.count += 1;
    }

    /// An idle frame is taken out; the caller gives its words another meaning.
    pub fn remove(&mut self, words: &mut impl IdleLinks, frame: Frame) {
        let Links { before, after } = words.links(frame);
        self.link(words, before, after);
        match words_of(after) {
            Some(after) => {
                let links = words.links(after);
                words.set_links(after, Links { before, ..links });
            }
            None => self.newest = before,
        }
        if self.oldest == frame.0 {
            self.oldest = after;
        }
        self.count -= 1;
    }

    /// `after` comes behind `before`, if that is a frame.
    fn link(&self, words: &mut impl IdleLinks, before: u32, after: u32) {
        if let Some(before) = words_of(before) {
            let links = words.links(before);
            words.set_links(before, Links { after, ..links });
        }
    }
}

fn words_of(number: u32) -> Option<Frame> {
    (number != NONE).then_some(Frame(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    #[derive(Default)]
    struct Words(BTreeMap<u32, u64>);

    impl IdleLinks for Words {
        fn links(&self, frame: Frame) -> Links {
            Links::from_bits(self.0[&frame.0])
        }

        fn set_links(&mut self, frame: Frame, links: Links) {
            self.0.insert(frame.0, links.bits());
        }
    }

    #[test]
    fn idle_frames_leave_in_the_order_in_which_they_came_or_when_they_are_taken_up() {
        // A list is the model.
        let (mut idle, mut words, mut model) = (Idle::new(), Words::default(), Vec::new());
        let mut seed = 11u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            ((seed >> 33) % n) as u32
        };
        for round in 0..20_000u32 {
            let frame = Frame(Links::END - 1 - next(300));
            let grows = round / 2_000 % 2 == 0;
            match model.iter().position(|at| *at == frame) {
                None if next(10) < if grows { 9 } else { 4 } => {
                    idle.add(&mut words, frame);
                    model.push(frame);
                }
                Some(at) if next(2) == 0 => {
                    idle.remove(&mut words, frame);
                    words.0.remove(&frame.0);
                    model.remove(at);
                }
                _ => {
                    if let Some(oldest) = idle.oldest() {
                        assert_eq!(oldest, model.remove(0));
                        idle.remove(&mut words, oldest);
                        words.0.remove(&oldest.0);
                    }
                }
            }
            assert_eq!(idle.count() as usize, model.len());
            assert_eq!(idle.oldest(), model.first().copied());
        }
        for frame in model {
            assert_eq!(idle.oldest(), Some(frame));
            idle.remove(&mut words, frame);
        }
        assert_eq!((idle.count(), idle.oldest()), (0, None));
    }
}
