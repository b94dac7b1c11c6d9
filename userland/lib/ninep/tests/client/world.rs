//! A connection: the client's state machine, processes that use it, the messages on
//! their way, and a server. Every step checks what must hold.
use crate::message::{Asked, MSIZE, Sent, Way, asked, request};
use crate::process::{Job, Phase, Process, Who};
use abi::Errno;
use dormouse_ninep::client::{Client, FLUSH_TAGS, Tag, Then};
use std::collections::BTreeSet;

/// A reply's content is a number; what nothing waits for is told with a process.
type Machine = Client<Who, u8, Who>;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    pub client: Machine,
    pub tags: u16,
    pub processes: Vec<Process>,
    /// Sent and not received.
    pub channel: Vec<Sent>,
    /// Received and not answered.
    pub server: Vec<Sent>,
    /// Fids that the server has.
    pub fids: BTreeSet<u32>,
    /// Writes that the server has parts of.
    pub staged: BTreeSet<u64>,
    /// Tags of requests that were left behind; the server is told.
    pub left: BTreeSet<u16>,
    /// Writes of which it has refused a part.
    pub refused: BTreeSet<u64>,
    pub down: bool,
}

/// What can happen next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    Run(Who),
    Note(Who),
    Kill(Who),
    Receive,
    /// To the request with that place among those without a reply.
    Answer(usize, Way),
    HangUp,
}

impl World {
    pub fn new(tags: u16, jobs: &[Job]) -> World {
        World {
            client: Client::new(tags, MSIZE).expect("there is memory"),
            tags,
            processes: jobs.iter().copied().map(Process::new).collect(),
            channel: Vec::new(),
            server: Vec::new(),
            fids: BTreeSet::new(),
            staged: BTreeSet::new(),
            left: BTreeSet::new(),
            refused: BTreeSet::new(),
            down: false,
        }
    }

    /// A process that is done does something else.
    pub fn begin_again(&mut self, who: Who, job: Job) {
        let process = &mut self.processes[who];
        if process.phase == Phase::Done {
            let untold = process.untold;
            *process = Process::new(job);
            process.untold = untold;
        }
    }

    /// All that can happen now but what ends processes and the connection.
    pub fn progress(&self) -> Vec<Event> {
        let runs = (0..self.processes.len()).filter(|who| self.can_run(*who));
        let mut events: Vec<Event> = runs.map(Event::Run).collect();
        if self.down {
            return events;
        }
        if !self.channel.is_empty() {
            events.push(Event::Receive);
        }
        for place in 0..self.server.len() {
            events.push(Event::Answer(place, Way::Right));
            if !matches!(self.server[place].asked, Asked::Flush(_)) {
                events.push(Event::Answer(place, Way::Error));
            }
        }
        events
    }

    /// Notes, kills and the hang-up that can come now.
    pub fn trouble(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (who, process) in self.processes.iter().enumerate() {
            if !matches!(process.phase, Phase::Idle | Phase::Done) {
                events.push(Event::Kill(who));
                if !process.noted {
                    events.push(Event::Note(who));
                }
            }
        }
        if !self.down {
            events.push(Event::HangUp);
        }
        events
    }

    pub fn can_run(&self, who: Who) -> bool {
        let process = &self.processes[who];
        match process.phase {
            Phase::Idle | Phase::Writes { .. } | Phase::Has { will_add: true, .. } => {
                self.client.has_tag() || self.down
            }
            Phase::Has {
                will_add: false, ..
            } => true,
            Phase::Waits { .. } | Phase::Commits { .. } | Phase::Parts { .. } => process.woken,
            Phase::Done => false,
        }
    }

    pub fn happen(&mut self, event: Event) {
        match event {
            Event::Run(who) => {
                self.processes[who].woken = false;
                self.processes[who].phase = self.run(who);
            }
            Event::Note(who) => self.note(who),
            Event::Kill(who) => self.kill(who),
            Event::Receive => self.receive(),
            Event::Answer(place, way) => self.answer(place, way),
            Event::HangUp => self.hang_up(),
        }
        while let Some((tag, own)) = self.client.own() {
            self.send(tag, asked(&own.request()));
        }
        self.check_flushed();
    }

    /// Requests that were left behind are flushed, as far as there are tags.
    pub fn check_flushed(&mut self) {
        let mut outstanding = self.outstanding();
        let flushing = outstanding.any(|sent| matches!(sent.asked, Asked::Flush(_)));
        drop(outstanding);
        if flushing && !self.client.has_tag() || self.down {
            return;
        }
        for tag in std::mem::take(&mut self.left) {
            let mut flushed = self
                .outstanding()
                .any(|sent| sent.asked == Asked::Flush(tag));
            flushed |= !self.server.iter().any(|sent| sent.tag == tag);
            assert!(flushed, "the request with tag {tag} is not flushed");
        }
    }

    /// Messages that the client has sent and that have no reply.
    pub fn outstanding(&self) -> impl Iterator<Item = &Sent> {
        self.channel.iter().chain(&self.server)
    }

    pub fn send(&mut self, tag: Tag, asked: Asked) {
        let tag = tag.number();
        let tags = match asked {
            Asked::Flush(_) => self.tags + FLUSH_TAGS,
            _ => self.tags,
        };
        let used = self.outstanding().count() + 1;
        assert!(used <= usize::from(tags), "tag {tag} is for a Tflush");
        for other in self.outstanding() {
            assert_ne!(other.tag, tag, "{asked:?} has the tag of {other:?}");
            assert_ne!(
                other.asked,
                Asked::Flush(tag),
                "{asked:?} has a tag being flushed"
            );
            if let Asked::Clunk(fid) = asked {
                assert_ne!(
                    other.asked.made(),
                    Some(fid),
                    "a Tclunk overtakes {other:?}"
                );
            }
        }
        for process in &self.processes {
            let clunked = matches!(asked, Asked::Clunk(fid) if process.phase.fid() == fid);
            assert!(!clunked, "the fid of {process:?} is clunked");
        }
        self.channel.push(Sent { tag, asked });
    }

    pub fn begin(&mut self, asked: Asked, then: Then<Who, Who>) -> Result<Tag, Errno> {
        let tag = self.client.begin(&request(asked), 100, then)?;
        let tag = tag.expect("a tag is free");
        self.send(tag, asked);
        Ok(tag)
    }

    pub fn new_fid(&mut self) -> u32 {
        let fid = self.client.new_fid().expect("a number is free");
        assert!(!self.fids.contains(&fid), "fid {fid} is in use");
        for sent in self.outstanding() {
            assert_ne!(sent.asked.made(), Some(fid), "a fid is made twice");
            assert_ne!(sent.asked, Asked::Clunk(fid), "a fid is clunked and made");
        }
        fid
    }
}
