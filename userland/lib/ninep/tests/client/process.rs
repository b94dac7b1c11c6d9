//! What processes do with the connection.
use crate::message::{Asked, FILE};
use crate::world::World;
use abi::Errno;
use dormouse_ninep::client::{Effects, Failed, Tag, Then};
use dormouse_ninep::consts::NOFID;

/// A process by its index.
pub type Who = usize;
/// What a process does with the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Job {
    /// A request that makes nothing.
    Stat,
    /// Makes a fid and gives it back.
    Walk,
    /// Makes a snapshot, adds to it, gives it back.
    Snap,
    /// Writes in this many parts and a commit that makes a snapshot.
    Write(u8),
    /// Sends what nothing waits for.
    Trim,
}

/// How far a process is. `fid` and `into` are [`NOFID`] where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    Idle,
    /// It waits for the reply to a request that makes the fid, or adds to it.
    Waits {
        tag: Tag,
        fid: u32,
        adds: bool,
    },
    /// It has made the fid, and will add to it.
    Has {
        fid: u32,
        will_add: bool,
    },
    /// So many parts of its write are to be sent.
    Writes {
        wid: u64,
        into: u32,
        left: u8,
    },
    /// It waits for the reply to the commit.
    Commits {
        wid: u64,
        into: u32,
        tag: Tag,
    },
    /// It waits for the replies to the parts, and gives the write up then.
    Parts {
        wid: u64,
        into: u32,
        abort: bool,
    },
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Process {
    pub job: Job,
    pub phase: Phase,
    /// It was woken since it last looked.
    pub woken: bool,
    pub noted: bool,
    /// Requests whose end it is still to be told.
    pub untold: u8,
}

impl Process {
    pub fn new(job: Job) -> Process {
        Process {
            job,
            phase: Phase::Idle,
            woken: false,
            noted: false,
            untold: 0,
        }
    }
}

impl Phase {
    /// The fid that the process has.
    pub fn fid(self) -> u32 {
        match self {
            Phase::Waits { fid, .. } | Phase::Has { fid, .. } => fid,
            Phase::Writes { into, .. }
            | Phase::Commits { into, .. }
            | Phase::Parts { into, .. } => into,
            Phase::Idle | Phase::Done => NOFID,
        }
    }
}

impl World {
    /// Goes on as far as it can without waiting; how far it is then.
    pub fn run(&mut self, who: Who) -> Phase {
        let process = self.processes[who].clone();
        match (process.phase, process.job) {
            (Phase::Idle, Job::Stat) => self.wait_for(who, NOFID, false),
            (Phase::Idle, Job::Walk | Job::Snap) => {
                let fid = self.new_fid();
                self.wait_for(who, fid, false)
            }
            (Phase::Idle, Job::Trim) => {
                if self.begin(Asked::Trim, Then::Tell(who)).is_ok() {
                    self.processes[who].untold += 1;
                }
                Phase::Done
            }
            (Phase::Idle, Job::Write(left)) => {
                let wid = self.client.begin_write().expect("there is memory");
                let into = self.new_fid();
                self.write(who, wid, into, left)
            }
            (Phase::Writes { wid, into, left }, _) => self.write(who, wid, into, left),
            (Phase::Waits { tag, fid, adds }, job) => {
                let answer = self.client.take(tag).expect("it was woken");
                self.waited(&process, fid, adds || job != Job::Snap, answer)
            }
            (
                Phase::Has {
                    fid,
                    will_add: true,
                },
                _,
            ) => self.wait_for(who, fid, true),
            (Phase::Has { fid, .. }, _) => {
                self.client.clunk(fid);
                Phase::Done
            }
            (Phase::Commits { wid, into, tag }, _) => {
                let answer = self.client.take(tag).expect("it was woken");
                let abort = self.committed(&process, wid, answer);
                self.parts(who, wid, into, abort)
            }
            (Phase::Parts { wid, into, abort }, _) => self.parts(who, wid, into, abort),
            (Phase::Done, _) => panic!("{who} is no more"),
        }
    }

    pub fn wait_for(&mut self, who: Who, fid: u32, adds: bool) -> Phase {
        let asked = match fid {
            NOFID => Asked::Stat,
            fid => Asked::Makes(fid),
        };
        match self.begin(asked, Then::Wake(who)) {
            Ok(tag) => Phase::Waits { tag, fid, adds },
            Err(errno) => {
                assert!(errno == Errno::EIO && self.down, "{errno}");
                self.client.clunk(fid);
                Phase::Done
            }
        }
    }

    pub fn waited(
        &mut self,
        process: &Process,
        fid: u32,
        last: bool,
        answer: Result<u8, Failed>,
    ) -> Phase {
        let adds = matches!(process.phase, Phase::Waits { adds: true, .. });
        match answer {
            Ok(content) => {
                assert_eq!(content, fid as u8, "the answer is another's");
                match fid {
                    NOFID => return Phase::Done,
                    fid => {
                        return Phase::Has {
                            fid,
                            will_add: !last,
                        };
                    }
                }
            }
            // It was not made.
            Err(Failed::Refused(_)) if fid != NOFID && !adds => self.client.free_fid(fid),
            Err(failed) => {
                self.check(process, failed);
                self.client.clunk(fid);
            }
        }
        Phase::Done
    }

    /// Is that a way for a request of the process to fail?
    pub fn check(&self, process: &Process, failed: Failed) {
        let right = match failed {
            // Only callers that send find that they cannot.
            Failed::Unsent(_) => false,
            Failed::Refused(errno) => errno == Errno::EINTR && failed.errno() == Errno::EIO,
            Failed::Lost(Errno::EINTR) => process.noted,
            Failed::Lost(Errno::EIO) => self.down,
            Failed::Lost(errno) => errno == Errno::EPROTO,
        };
        assert!(right, "{failed:?} for {process:?}");
    }

    pub fn write(&mut self, who: Who, wid: u64, into: u32, left: u8) -> Phase {
        let failed = self.client.check_write(wid).is_err();
        if failed || self.processes[who].noted {
            return self.parts(who, wid, into, true);
        }
        let sent = match left {
            0 => self.begin(Asked::Commit(wid, into), Then::Wake(who)),
            _ => self.begin(Asked::Part(wid), Then::Staged(wid)),
        };
        match (sent, left) {
            (Ok(tag), 0) => Phase::Commits { wid, into, tag },
            (Ok(_), left) => Phase::Writes {
                wid,
                into,
                left: left - 1,
            },
            (Err(_), _) => self.parts(who, wid, into, true),
        }
    }

    /// The commit has an answer; is the write to be given up?
    pub fn committed(&self, process: &Process, wid: u64, answer: Result<u8, Failed>) -> bool {
        match answer {
            Ok(content) => assert_eq!(content, wid as u8, "the answer is another's"),
            Err(failed) => self.check(process, failed),
        }
        answer == Err(Failed::Lost(Errno::EINTR))
    }

    /// Ends the write when all its parts have replies.
    pub fn parts(&mut self, who: Who, wid: u64, into: u32, abort: bool) -> Phase {
        match self.client.poll_write(wid, who) {
            Some(Ok(())) => assert!(!self.refused.contains(&wid), "an error is lost"),
            Some(Err(Errno::EINTR)) => assert!(self.processes[who].noted),
            Some(Err(_)) => assert!(self.down || self.refused.contains(&wid)),
            None => {
                if self.processes[who].noted {
                    self.client.flush_write(wid);
                }
                return Phase::Parts { wid, into, abort };
            }
        }
        match abort {
            true => self.client.abort_write(wid, FILE),
            false => self.client.end_write(wid),
        }
        self.client.clunk(into);
        Phase::Done
    }

    pub fn note(&mut self, who: Who) {
        self.processes[who].noted = true;
        match self.processes[who].phase {
            Phase::Waits { tag, .. } => self.client.flush(tag),
            Phase::Commits { tag, .. } if self.client.in_flight(tag) => self.client.flush(tag),
            Phase::Commits { wid, .. } | Phase::Parts { wid, .. } => self.client.flush_write(wid),
            // It waits for a tag, and gives up.
            Phase::Writes { wid, into, .. } => {
                self.processes[who].phase = self.parts(who, wid, into, true);
            }
            Phase::Idle | Phase::Has { .. } | Phase::Done => {}
        }
    }

    pub fn kill(&mut self, who: Who) {
        let phase = std::mem::replace(&mut self.processes[who].phase, Phase::Done);
        self.processes[who].woken = false;
        match phase {
            Phase::Waits { tag, fid, .. } => {
                self.leave(tag);
                self.client.clunk(fid);
            }
            Phase::Has { fid, .. } => self.client.clunk(fid),
            Phase::Commits { wid, into, tag } => {
                self.leave(tag);
                self.give_up(wid, into, true);
            }
            Phase::Writes { wid, into, .. } => self.give_up(wid, into, true),
            Phase::Parts { wid, into, abort } => self.give_up(wid, into, abort),
            Phase::Idle | Phase::Done => {}
        }
    }

    /// Takes a request back that the server has not received, or leaves it behind.
    pub fn leave(&mut self, tag: Tag) {
        self.client.detach(tag);
        if !self.withdraw(tag) && self.client.in_flight(tag) {
            self.left.insert(tag.number());
        }
    }

    pub fn withdraw(&mut self, tag: Tag) -> bool {
        let mut channel = self.channel.iter();
        let Some(at) = channel.position(|sent| sent.tag == tag.number()) else {
            return false;
        };
        self.channel.remove(at);
        let effects = self.client.answer(tag, Err(Failed::Lost(Errno::EINTR)));
        self.apply(effects);
        true
    }

    pub fn give_up(&mut self, wid: u64, into: u32, abort: bool) {
        match abort {
            true => self.client.abort_write(wid, FILE),
            false => self.client.end_write(wid),
        }
        for part in self.client.parts(wid).collect::<Vec<_>>() {
            if !self.withdraw(part) {
                self.client.flush(part);
            }
        }
        self.client.clunk(into);
    }

    pub fn apply(&mut self, effects: Effects<Who, Who>) {
        if let Some(who) = effects.wake {
            let process = &mut self.processes[who];
            assert!(!process.woken, "{who} is woken twice");
            process.woken = true;
            match process.phase {
                Phase::Waits { tag, .. } | Phase::Commits { tag, .. } => {
                    assert!(!self.client.in_flight(tag), "{who} is woken early");
                }
                Phase::Parts { wid, .. } => {
                    assert_eq!(self.client.parts(wid).count(), 0, "{who} is woken early");
                }
                phase => panic!("{who} is woken and does not wait: {phase:?}"),
            }
        }
        if let Some((who, _)) = effects.told {
            let untold = &mut self.processes[who].untold;
            *untold = untold.checked_sub(1).expect("it is told once");
        }
    }
}
