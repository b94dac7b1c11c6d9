//! What happened, put together from the records: who ran when, which call and which fault
//! took how long, which messages went between whom, and each segment's pages over time.

use super::record::Record;
use abi::trace::{ASLEEP, DIRTY, Event, FILLING, LOADING, SENDING, SWAPPED, outcome};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

const PAGE: u64 = abi::PAGE;

/// A part of the trace's time, in ticks from its beginning.
pub type Span = Range<u64>;

/// A process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its parent's pid.
    pub parent: u32,
    /// The program that it ran last.
    pub program: String,
    /// From its first to its last moment in the trace.
    pub span: Span,
}

/// The tag of a page's state, as `vm::PageState` numbers them.
pub type Tag = u8;

/// A segment of a space.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The process that had the space when the segment came.
    pub pid: u32,
    /// First address.
    pub base: u64,
    /// Pages.
    pub pages: u64,
    /// Its kind's place among the kinds.
    pub kind: u16,
    /// From attach to detach.
    pub span: Span,
    /// Page, state from then on; in the order of time.
    pub changes: Vec<(u64, u64, Tag)>,
    /// What its pages are tied to, in the order of time.
    pub ties: Vec<Tie>,
    states: BTreeMap<u64, Tag>,
}

/// A range of a segment that a read has tied to a file.
#[derive(Clone, Debug)]
pub struct Tie {
    /// When.
    pub time: u64,
    /// Bytes of the segment.
    pub range: Range<u64>,
    /// The offset in the file of the first.
    pub offset: u64,
    /// The file.
    pub path: String,
}

/// A page fault.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// From the trap to the return.
    pub span: Span,
    /// Who.
    pub pid: u32,
    /// The address.
    pub address: u64,
    /// The instruction.
    pub instruction: u64,
    /// 0 a load, 1 a store, 2 a fetch.
    pub access: u16,
    /// In words, what it came to.
    pub outcome: &'static str,
    /// The file and the offset of its page, if the page was tied to one.
    pub source: Option<(String, u64)>,
    /// Requests that it sent.
    pub requests: u32,
    state: Option<u16>,
}

/// A system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// From entry to return.
    pub span: Span,
    /// Who.
    pub pid: u32,
    /// The number.
    pub number: u16,
    /// The first arguments.
    pub arguments: [u64; 3],
    /// The paths among them.
    pub paths: Vec<String>,
    /// The result, as in `rax`; `None`: it did not return.
    pub result: Option<u64>,
}

/// A message and its answer.
#[derive(Clone, Debug)]
pub struct Message {
    /// From the request to the answer.
    pub span: Span,
    /// Who sent the request.
    pub pid: u32,
    /// Who answered; 0: nobody has.
    pub server: u32,
    /// The type of the request, and of the answer.
    pub kinds: (u16, u16),
    /// Bytes of the request, and of the answer.
    pub bytes: (u64, u64),
    /// Of a read: the offset.
    pub offset: u64,
}

/// A write of a file.
#[derive(Clone, Debug)]
pub struct Write {
    /// When it was over.
    pub time: u64,
    /// Who.
    pub pid: u32,
    /// Bytes of memory.
    pub range: Range<u64>,
    /// Where in the file.
    pub offset: u64,
    /// The file.
    pub path: String,
}

/// All of it. Times are ticks from the first record.
#[derive(Debug, Default)]
pub struct Story {
    /// Ticks of a second.
    pub rate: u64,
    /// The last moment.
    pub end: u64,
    /// The processes, by pid.
    pub processes: BTreeMap<u32, Process>,
    /// The segments, in the order in which they came.
    pub segments: Vec<Segment>,
    /// The faults, in the order of their ends.
    pub faults: Vec<Fault>,
    /// The calls, in the order of their ends.
    pub calls: Vec<Call>,
    /// The messages, in the order of the requests.
    pub messages: Vec<Message>,
    /// The writes of snapshot segments.
    pub writes: Vec<Write>,
    /// Who had the processor when.
    pub turns: Vec<(u32, Span)>,
    /// Pages in each state from a moment on.
    pub counts: Vec<(u64, [u64; TAGS])>,
}

/// Kinds of states.
pub const TAGS: usize = 8;

/// What is under way at a moment of the story.
#[derive(Default)]
struct Now {
    spaces: BTreeMap<u32, u64>,
    /// The spaces that processes are about to have.
    building: BTreeMap<u32, u64>,
    /// The segments that there are, by space and base.
    segments: BTreeMap<(u64, u64), usize>,
    faults: BTreeMap<u32, Fault>,
    calls: BTreeMap<u32, Call>,
    messages: HashMap<u64, usize>,
    turn: (u32, u64),
    counts: [u64; TAGS],
}

impl Story {
    /// From the records of a trace.
    pub fn new(records: &[Record]) -> Story {
        let mut story = Story::default();
        let mut now = Now::default();
        let start = records.first().map_or(0, |record| record.time);
        for record in records {
            // Time does not go back, whatever a guest writes.
            let time = record.time.saturating_sub(start).max(story.end);
            story.end = time;
            story.tell(&mut now, time, record);
        }
        story.close(now);
        story
    }

    fn tell(&mut self, now: &mut Now, time: u64, record: &Record) {
        match record.event {
            Event::Clock => self.rate = record.words[0].max(1),
            Event::Begin => self.begin(now, time, record),
            Event::Exec => self.exec(now, time, record),
            Event::End => self.end(now, time, record.pid),
            Event::Call | Event::Path | Event::Return => self.call(now, time, record),
            Event::Fault => {
                let fault = Fault::new(time, record);
                now.faults.insert(record.pid, fault);
            }
            Event::Resolved => self.resolved(now, time, record),
            Event::Attach => self.attach(now, time, record),
            Event::Detach => {
                let [base, _, space] = record.words;
                if let Some(at) = now.segments.remove(&(space, base)) {
                    self.detach(now, time, at);
                }
            }
            Event::Page => self.page(now, time, record),
            Event::Read => self.read(now, time, record),
            Event::Write => self.write(time, record),
            Event::Request => self.request(now, time, record),
            Event::Answer => self.answer(now, time, record),
            Event::Switch => {
                self.turn(now, time);
                now.turn = (record.words[0] as u32, time);
            }
            Event::Text | Event::Lost => {}
        }
    }

    fn begin(&mut self, now: &mut Now, time: u64, record: &Record) {
        let [pid, parent, space] = record.words;
        let process = Process {
            parent: parent as u32,
            program: record.text.clone(),
            span: time..u64::MAX,
        };
        self.processes.insert(pid as u32, process);
        self.give(now, pid as u32, space);
    }

    fn exec(&mut self, now: &mut Now, time: u64, record: &Record) {
        let [space, pid, _] = record.words;
        let process = self.processes.entry(pid as u32).or_insert_with(|| Process {
            span: time..u64::MAX,
            ..Process::default()
        });
        process.program.clone_from(&record.text);
        now.building.remove(&record.pid);
        self.give(now, pid as u32, space);
    }

    /// The process has the space from now on, and the segments in it that came before.
    fn give(&mut self, now: &mut Now, pid: u32, space: u64) {
        now.spaces.insert(pid, space);
        let segments = now.segments.range((space, 0)..=(space, u64::MAX));
        for at in segments.map(|(_, at)| *at) {
            if self.segments[at].pid == 0 {
                self.segments[at].pid = pid;
            }
        }
    }

    fn end(&mut self, now: &mut Now, time: u64, pid: u32) {
        now.spaces.remove(&pid);
        if let Some(process) = self.processes.get_mut(&pid) {
            process.span.end = time;
        }
        if let Some(mut call) = now.calls.remove(&pid) {
            call.span.end = time;
            self.calls.push(call);
        }
        if let Some(fault) = now.faults.remove(&pid) {
            self.end_fault(now, time, fault, true);
        }
    }

    fn call(&mut self, now: &mut Now, time: u64, record: &Record) {
        if record.event == Event::Call {
            now.calls.insert(record.pid, Call::new(time, record));
            return;
        }
        let Some(call) = now.calls.get_mut(&record.pid) else {
            return;
        };
        if record.event == Event::Path {
            call.paths.push(record.text.clone());
            return;
        }
        call.span.end = time;
        call.result = Some(record.words[0]);
        self.calls.extend(now.calls.remove(&record.pid));
    }

    fn write(&mut self, time: u64, record: &Record) {
        let [address, bytes, offset] = record.words;
        self.writes.push(Write {
            time,
            pid: record.pid,
            range: address..address.saturating_add(bytes),
            offset,
            path: record.text.clone(),
        });
    }

    fn request(&mut self, now: &mut Now, time: u64, record: &Record) {
        let [name, bytes, offset] = record.words;
        now.messages.insert(name, self.messages.len());
        if let Some(fault) = now.faults.get_mut(&record.pid) {
            fault.requests += 1;
        }
        self.messages.push(Message {
            span: time..time,
            pid: record.pid,
            server: 0,
            kinds: (record.detail, 0),
            bytes: (bytes, 0),
            offset,
        });
    }

    fn answer(&mut self, now: &mut Now, time: u64, record: &Record) {
        let [name, bytes, _] = record.words;
        let sent = now.messages.remove(&name);
        if let Some(message) = sent.and_then(|at| self.messages.get_mut(at)) {
            message.span.end = time;
            message.server = record.pid;
            message.kinds.1 = record.detail;
            message.bytes.1 = bytes;
        }
    }

    fn attach(&mut self, now: &mut Now, time: u64, record: &Record) {
        let [base, pages, space] = record.words;
        let own = now.spaces.get(&record.pid).copied();
        let forks = now.calls.get(&record.pid);
        let forks = forks.is_some_and(|call| call.number == abi::Call::RFork as u16);
        if own != Some(space) && !forks {
            now.building.insert(record.pid, space);
        }
        // A child's segment begins as a copy of its parent's.
        let parent = own.filter(|its| *its != space && forks);
        let original = parent.and_then(|parent| now.segments.get(&(parent, base)));
        let (states, ties) = original.map_or_else(Default::default, |at| {
            let original = &self.segments[*at];
            let states = original
                .states
                .iter()
                .map(|(page, tag)| (*page, inherited(*tag)));
            (
                states.filter(|(_, tag)| *tag != 0).collect(),
                original.ties.clone(),
            )
        });
        let mut segment = Segment {
            pid: if own == Some(space) { record.pid } else { 0 },
            base,
            pages,
            kind: record.detail,
            span: time..u64::MAX,
            changes: Vec::new(),
            ties,
            states,
        };
        for (page, tag) in &segment.states {
            now.counts[usize::from(*tag)] += 1;
            segment.changes.push((time, *page, *tag));
        }
        now.segments.insert((space, base), self.segments.len());
        self.segments.push(segment);
    }

    fn detach(&mut self, now: &mut Now, time: u64, at: usize) {
        let segment = &mut self.segments[at];
        segment.span.end = time;
        for tag in std::mem::take(&mut segment.states).into_values() {
            now.counts[usize::from(tag)] -= 1;
        }
        self.counts.push((time, now.counts));
    }

    /// The segment of a space that an address is in, and the address's page there.
    fn find(&self, now: &Now, space: u64, address: u64) -> Option<(usize, u64)> {
        let (_, at) = now
            .segments
            .range((space, 0)..=(space, address))
            .next_back()?;
        let segment = &self.segments[*at];
        let page = (address - segment.base) / PAGE;
        (page < segment.pages).then_some((*at, page))
    }

    fn page(&mut self, now: &mut Now, time: u64, record: &Record) {
        let [address, space, pages] = record.words;
        let tag = usize::from(record.detail).min(TAGS - 1) as Tag;
        if let Some(fault) = now.faults.get_mut(&record.pid)
            && now.spaces.get(&record.pid) == Some(&space)
            && fault.address / PAGE == address / PAGE
        {
            fault.state = Some(record.detail);
        }
        let Some((at, first)) = self.find(now, space, address) else {
            return;
        };
        if pages == 1 {
            self.set(now, time, (at, first), tag);
            return;
        }
        let within = first..first.saturating_add(pages);
        let present = self.segments[at].states.range(within);
        for page in present.map(|(page, _)| *page).collect::<Vec<_>>() {
            self.set(now, time, (at, page), tag);
        }
    }

    fn set(&mut self, now: &mut Now, time: u64, (at, page): (usize, u64), tag: Tag) {
        let segment = &mut self.segments[at];
        let old = match tag {
            0 => segment.states.remove(&page),
            tag => segment.states.insert(page, tag),
        };
        if old.unwrap_or(0) == tag {
            return;
        }
        if let Some(old) = old {
            now.counts[usize::from(old)] -= 1;
        }
        now.counts[usize::from(tag)] += u64::from(tag != 0);
        segment.changes.push((time, page, tag));
        match self.counts.last_mut() {
            Some((last, counts)) if *last == time => *counts = now.counts,
            _ => self.counts.push((time, now.counts)),
        }
    }

    fn read(&mut self, now: &mut Now, time: u64, record: &Record) {
        let [address, bytes, offset] = record.words;
        let spaces = match record.detail {
            0 => &now.spaces,
            _ => &now.building,
        };
        let space = spaces.get(&record.pid).copied();
        let found = space.and_then(|space| self.find(now, space, address));
        if let Some((at, _)) = found {
            let segment = &mut self.segments[at];
            let start = address - segment.base;
            segment.ties.push(Tie {
                time,
                range: start..start.saturating_add(bytes),
                offset,
                path: record.text.clone(),
            });
        }
    }

    fn resolved(&mut self, now: &mut Now, time: u64, record: &Record) {
        if let Some(fault) = now.faults.remove(&record.pid) {
            self.end_fault(now, time, fault, record.detail != 0);
        }
    }

    fn end_fault(&mut self, now: &Now, time: u64, mut fault: Fault, denied: bool) {
        fault.span.end = time;
        let space = now.spaces.get(&fault.pid).copied();
        let found = space.and_then(|space| self.find(now, space, fault.address));
        if let Some((at, _)) = found {
            let segment = &self.segments[at];
            let byte = fault.address - segment.base;
            let mut ties = segment.ties.iter().rev();
            let tie = ties.find(|tie| tie.range.contains(&byte));
            let tie = tie.filter(|tie| !tie.path.is_empty());
            fault.source = tie.map(|tie| {
                let page = (byte & !(PAGE - 1)).max(tie.range.start);
                let offset = tie.offset.saturating_add(page - tie.range.start);
                (tie.path.clone(), offset)
            });
        }
        fault.outcome = outcome(fault.state, fault.requests, denied);
        self.faults.push(fault);
    }

    fn turn(&mut self, now: &Now, time: u64) {
        let (pid, since) = now.turn;
        if pid != 0 && since < time {
            self.turns.push((pid, since..time));
        }
    }

    /// Ends what is under way at the end.
    fn close(&mut self, mut now: Now) {
        let end = self.end;
        self.turn(&now, end);
        for mut call in core::mem::take(&mut now.calls).into_values() {
            call.span.end = end;
            self.calls.push(call);
        }
        for fault in core::mem::take(&mut now.faults).into_values() {
            self.end_fault(&now, end, fault, true);
        }
        let open = self
            .messages
            .iter_mut()
            .filter(|message| message.server == 0);
        open.for_each(|message| message.span.end = end);
        let processes = self.processes.values_mut().map(|process| &mut process.span);
        let segments = self.segments.iter_mut().map(|segment| &mut segment.span);
        for span in processes.chain(segments) {
            span.end = span.end.min(end);
        }
    }
}

impl Fault {
    fn new(time: u64, record: &Record) -> Fault {
        let [address, instruction, _] = record.words;
        Fault {
            span: time..time,
            pid: record.pid,
            address,
            instruction,
            access: record.detail,
            ..Fault::default()
        }
    }
}

impl Call {
    fn new(time: u64, record: &Record) -> Call {
        Call {
            span: time..time,
            pid: record.pid,
            number: record.detail,
            arguments: record.words,
            paths: Vec::new(),
            result: None,
        }
    }
}

/// The state that a child's page has, by its parent's.
fn inherited(tag: Tag) -> Tag {
    match tag.into() {
        FILLING => ASLEEP as Tag,
        SENDING => DIRTY as Tag,
        LOADING => SWAPPED as Tag,
        _ => tag,
    }
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
