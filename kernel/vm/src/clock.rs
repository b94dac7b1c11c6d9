//! Which frames leave memory: a clock over all frames, with a second chance for
//! those in use.
//!
//! A hand goes round the frames. A frame that was accessed since the hand passed it
//! is passed over once more, without its mark; any other leaves. Work is
//! done in steps: a step looks at a bounded number of frames, and ends at once
//! when enough have left.

use crate::Frame;

/// The answer to a look at a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// It was accessed since the last look; that is forgotten now.
    Accessed,
    /// It can leave.
    Idle,
    /// It cannot leave now.
    Fixed,
}

/// What became of a frame that was to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evicted {
    /// No page has it any more.
    Gone,
    /// Some of its pages have it still: that was enough work for one step.
    Partly,
    /// It could not leave.
    Stays,
}

/// The frames that the clock goes over.
pub trait Frames {
    /// One past the last frame.
    fn end(&self) -> u32;
    /// The first frame at or after `from` that pages have, among the next `most`;
    /// `Err`: there is none, and where the search ended.
    fn next(&self, from: u32, most: u32) -> Result<Frame, u32>;
    /// Looks at a frame, and takes its accessed marks away.
    fn look(&mut self, frame: Frame) -> Look;
    /// Returns true if the step is to end: its frames have many pages.
    fn is_spent(&self) -> bool;
    /// Takes it from all pages that have it, in as many steps as that needs.
    fn evict(&mut self, frame: Frame) -> Evicted;
}

/// The bounds of one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Frames that are to leave.
    pub goal: u32,
    /// Frames that are looked at, at most.
    pub looks: u32,
}

/// The hand passes this many frames without owners for the cost of one look.
const SKIPPED: u32 = 64;

/// The clock's hand, and its success.
#[derive(Debug, Default)]
pub struct Clock {
    hand: u32,
    /// Frames passed since one left, or since a search began.
    passed: u32,
    /// Calls of [`Clock::ease`] that are to do nothing, and the number of them after
    /// the last search in vain.
    rest: u32,
    rested: u32,
}

/// Most calls of [`Clock::ease`] that do nothing after a search in vain.
const REST_MAX: u32 = 4096;

impl Clock {
    /// At the first frame.
    pub const fn new() -> Clock {
        Clock {
            hand: 0,
            passed: 0,
            rest: 0,
            rested: 0,
        }
    }

    /// A new search begins: it ends, without success, when the hand has gone round
    /// twice.
    pub fn begin(&mut self) {
        self.passed = 0;
    }

    /// Returns true if the hand has gone round twice and no frame has left: there is
    /// none that can.
    pub fn is_in_vain(&self, frames: &impl Frames) -> bool {
        self.passed >= frames.end().saturating_mul(2)
    }

    /// Goes on for one step; how many frames have left.
    pub fn step(&mut self, frames: &mut impl Frames, step: Step) -> u32 {
        let (mut gone, mut looks) = (0, step.looks);
        while gone < step.goal && looks > 0 && !frames.is_spent() && !self.is_in_vain(frames) {
            looks -= 1;
            if self.hand >= frames.end() {
                self.hand = 0;
            }
            let frame = match frames.next(self.hand, SKIPPED) {
                Ok(frame) => frame,
                Err(end) => {
                    self.pass(end);
                    continue;
                }
            };
            self.pass(frame.0 + 1);
            if frames.look(frame) != Look::Idle {
                continue;
            }
            match frames.evict(frame) {
                Evicted::Gone => {
                    gone += 1;
                    self.passed = 0;
                }
                Evicted::Partly => {
                    self.hand = frame.0;
                    self.passed = 0;
                    break;
                }
                Evicted::Stays => {}
            }
        }
        gone
    }

    /// A step of a search that has no end, for calls that come often. After the hand
    /// has gone round twice in vain it pauses, for longer each time: memory that is
    /// full of what cannot leave must not make everything slow.
    pub fn ease(&mut self, frames: &mut impl Frames, step: Step) -> u32 {
        if self.rest > 0 {
            self.rest -= 1;
            return 0;
        }
        let gone = self.step(frames, step);
        if gone > 0 {
            self.rested = 0;
        } else if self.is_in_vain(frames) {
            self.begin();
            self.rested = (self.rested * 2).clamp(16, REST_MAX);
            self.rest = self.rested;
        }
        gone
    }

    /// Moves the hand to a frame ahead.
    fn pass(&mut self, to: u32) {
        self.passed = self
            .passed
            .saturating_add(to.saturating_sub(self.hand).max(1));
        self.hand = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Is {
        Nothing,
        Fixed,
        Accessed,
        Idle,
        /// Idle, and leaves in so many steps after this one.
        Shared(u32),
    }

    struct Machine(Vec<Is>);

    impl Frames for Machine {
        fn end(&self) -> u32 {
            self.0.len() as u32
        }

        fn next(&self, from: u32, most: u32) -> Result<Frame, u32> {
            let end = (from + most).min(self.end());
            let owned = |at: &u32| self.0[*at as usize] != Is::Nothing;
            (from..end).find(owned).map(Frame).ok_or(end)
        }

        fn look(&mut self, frame: Frame) -> Look {
            let is = &mut self.0[frame.0 as usize];
            match *is {
                Is::Nothing => panic!("nobody has {frame:?}"),
                Is::Fixed => Look::Fixed,
                Is::Idle | Is::Shared(_) => Look::Idle,
                Is::Accessed => {
                    *is = Is::Idle;
                    Look::Accessed
                }
            }
        }

        fn is_spent(&self) -> bool {
            false
        }

        fn evict(&mut self, frame: Frame) -> Evicted {
            let is = &mut self.0[frame.0 as usize];
            let (now, evicted) = match *is {
                Is::Shared(more @ 1..) => (Is::Shared(more - 1), Evicted::Partly),
                _ => (Is::Nothing, Evicted::Gone),
            };
            *is = now;
            evicted
        }
    }

    const ALL: Step = Step {
        goal: u32::MAX,
        looks: u32::MAX,
    };

    #[test]
    fn idle_frames_leave_first_and_accessed_ones_on_the_second_turn() {
        use Is::*;
        let mut machine = Machine([Idle, Accessed, Nothing, Fixed, Idle, Accessed].into());
        let mut clock = Clock::new();
        let one = Step { goal: 1, ..ALL };
        let mut order = Vec::new();
        for _ in 0..4 {
            let before = machine.0.clone();
            assert_eq!(clock.step(&mut machine, one), 1);
            let at = (0..6).find(|at| before[*at] != Nothing && machine.0[*at] == Nothing);
            order.push(at.unwrap());
        }
        assert_eq!(order, [0, 4, 1, 5]);
        assert_eq!(clock.step(&mut machine, one), 0);
        assert!(clock.is_in_vain(&machine));
    }

    #[test]
    fn a_frame_that_leaves_in_several_steps_leaves_before_the_next() {
        use Is::*;
        let mut machine = Machine([Fixed, Shared(2), Idle].into());
        let mut clock = Clock::new();
        assert_eq!(clock.step(&mut machine, ALL), 0);
        assert_eq!(machine.0, [Fixed, Shared(1), Idle]);
        assert_eq!(clock.step(&mut machine, ALL), 0);
        assert!(!clock.is_in_vain(&machine));
        assert_eq!(clock.step(&mut machine, ALL), 2);
        assert_eq!(machine.0, [Fixed, Nothing, Nothing]);
    }

    #[test]
    fn a_search_in_vain_ends_and_a_new_one_begins_again() {
        let mut machine = Machine(alloc::vec![Is::Fixed; 1000]);
        machine.0.extend([Is::Nothing; 1000]);
        let mut clock = Clock::new();
        assert_eq!(clock.step(&mut machine, ALL), 0);
        assert!(clock.is_in_vain(&machine));
        machine.0[700] = Is::Accessed;
        assert_eq!(clock.step(&mut machine, ALL), 0);
        clock.begin();
        assert_eq!(clock.step(&mut machine, ALL), 1);
    }

    #[test]
    fn easing_in_vain_pauses_until_something_can_leave() {
        let mut machine = Machine(alloc::vec![Is::Fixed; 100]);
        let (mut clock, step) = (Clock::new(), Step { looks: 50, goal: 8 });
        let mut idle = 0;
        for _ in 0..100_000 {
            let hand = clock.hand;
            clock.ease(&mut machine, step);
            idle += u32::from(clock.hand == hand);
        }
        assert!(idle > 99_000, "{idle}");
        machine.0[3] = Is::Idle;
        let found = (0..REST_MAX + 10).any(|_| clock.ease(&mut machine, step) == 1);
        assert!(found && clock.rested == 0);
    }

    #[test]
    fn a_step_looks_at_no_more_than_it_may() {
        let mut machine = Machine(alloc::vec![Is::Nothing; 100_000]);
        let mut clock = Clock::new();
        let few = Step { looks: 10, ..ALL };
        clock.step(&mut machine, few);
        assert_eq!(clock.hand, 10 * SKIPPED);
        let mut steps = 1;
        while !clock.is_in_vain(&machine) {
            clock.step(&mut machine, few);
            steps += 1;
        }
        assert!(steps < 2 * 100_000 / (10 * SKIPPED) + 10, "{steps}");
    }
}
