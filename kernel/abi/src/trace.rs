//! The trace: what the kernel and its programs do, as records of five words.
//!
//! Word 0 is the time in ticks. Word 1 is the [`Event`] (bits 0 to 15), a detail (16 to
//! 31) and the process that runs (32 to 63). Words 2 to 4 are the event's own, `a b c`
//! below. Text records come right before the record that they belong to ([`Reader`]).

/// Words of a record.
pub const WORDS: usize = 5;
/// A record as it is written.
pub type Words = [u64; WORDS];
/// Bytes of text in one record.
pub const TEXT: usize = 24;

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a record tells.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub enum Event { $($(#[$doc])* $name,)* }

        impl Event {
            const ALL: &'static [Event] = &[$(Event::$name,)*];
        }
    };
}

events! {
    /// The first record. `a`: ticks of a second.
    Clock,
    /// Part of a text; detail: its bytes, `a b c`: the bytes.
    Text,
    /// A process begins, with the program of that text. `a`: its pid, `b`: its parent's,
    /// `c`: its space.
    Begin,
    /// A process runs the program of that text. `a`: its space from now on, `b`: its pid.
    Exec,
    /// The running process ends. `a`: its status.
    End,
    /// A system call begins; detail: its number, `a b c`: its first arguments.
    Call,
    /// The path that a system call was given, as text.
    Path,
    /// A system call ends; detail: its number, `a`: its result, as in `rax`.
    Return,
    /// A page fault begins; detail: 0 a load, 1 a store, 2 a fetch. `a`: the address, `b`:
    /// the instruction.
    Fault,
    /// It ends; detail: 1 if the access was denied. `a`: the address.
    Resolved,
    /// A segment is in a table; detail: its kind's place among the kinds. `a`: base, `b`:
    /// pages, `c`: space.
    Attach,
    /// It is no more. `a`: base, `c`: space.
    Detach,
    /// Pages have a state from now on; detail: the state's tag ([`STATES`]). `a`: the
    /// address, `b`: space, `c`: pages.
    Page,
    /// A range of a segment is tied to a range of the file of that text, or to none; detail
    /// 1: of a segment of the space that the running process is about to have. `a`: the
    /// address, `b`: bytes, `c`: the offset in the file.
    Read,
    /// A range of memory was written to the file of that text; detail 1: at its end. `a`:
    /// the address, `b`: bytes, `c`: the offset in the file.
    Write,
    /// A request goes to a server; detail: the message's type. `a`: tag, and in the upper
    /// half the number of the connection, `b`: bytes, `c`: offset of a read.
    Request,
    /// The running server has answered one; detail: the message's type. `a`: as of the
    /// request, `b`: bytes.
    Answer,
    /// There was no room for records here. `a`: how many.
    Lost,
    /// The processor has another process. `a`: its pid, 0: none.
    Switch,
}

impl Event {
    /// The event with that number.
    pub fn from_number(number: u16) -> Option<Event> {
        Event::ALL.get(usize::from(number)).copied()
    }
}

/// Word 1 of a record.
pub const fn head(event: Event, detail: u16, pid: u32) -> u64 {
    event as u64 | (detail as u64) << 16 | (pid as u64) << 32
}

/// The states of pages, by their tags.
pub const STATES: [&str; 8] = [
    "asleep", "filling", "resident", "dirty", "sending", "swapped", "loading", "backed",
];

/// The tag of a page that is asleep.
pub const ASLEEP: u16 = 0;
/// The tag of a page whose content is on the way.
pub const FILLING: u16 = 1;
/// The tag of a clean copy of a file's page.
pub const RESIDENT: u16 = 2;
/// The tag of a page that a program has changed.
pub const DIRTY: u16 = 3;
/// The tag of a changed page that is being written.
pub const SENDING: u16 = 4;
/// The tag of a changed page that is in swap.
pub const SWAPPED: u16 = 5;
/// The tag of such a page on its way back.
pub const LOADING: u16 = 6;
/// The tag of a page that came back from swap.
pub const BACKED: u16 = 7;

/// What a page fault came to: by the last state of its page meanwhile, the requests that
/// were sent, and whether the access was denied.
pub const fn outcome(state: Option<u16>, requests: u32, denied: bool) -> &'static str {
    match (state, requests) {
        _ if denied => "denied",
        (Some(RESIDENT), 0) => "found in memory",
        (Some(RESIDENT), _) => "filled",
        (Some(DIRTY), 0) => "own page",
        (Some(DIRTY), _) => "filled, own page",
        (Some(BACKED), _) => "back from swap",
        (None, 0) => "mapped",
        _ => "waited",
    }
}

/// Puts texts together: takes the words of records in their order.
#[derive(Debug)]
pub struct Reader {
    text: [u8; crate::PATH_MAX],
    len: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            text: [0; crate::PATH_MAX],
            len: 0,
        }
    }
}

impl Reader {
    /// The record that these words are, with its text, of which no more than a path's
    /// length is kept; `None` for a part of a text. `Err`: they are no record.
    pub fn take(&mut self, words: &Words) -> Result<Option<Record<'_>>, NoRecord> {
        let [time, head, words @ ..] = *words;
        let event = Event::from_number(head as u16).ok_or(NoRecord)?;
        let detail = (head >> 16) as u16;
        if event == Event::Text {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            let room = self.text.iter_mut().skip(self.len);
            for (byte, to) in bytes.take(detail.into()).zip(room) {
                *to = byte;
                self.len += 1;
            }
            return Ok(None);
        }
        let len = core::mem::take(&mut self.len);
        Ok(Some(Record {
            time,
            pid: (head >> 32) as u32,
            event,
            detail,
            words,
            text: self.text.get(..len).unwrap_or_default(),
        }))
    }
}

/// Words that no kernel has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRecord;

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// When, in ticks.
    pub time: u64,
    /// The process that ran; 0: none.
    pub pid: u32,
    /// What it tells.
    pub event: Event,
    /// The event's detail.
    pub detail: u16,
    /// The event's words.
    pub words: [u64; 3],
    /// The text that belongs to it; empty for most events.
    pub text: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(part: &[u8]) -> Words {
        let mut bytes = [0; TEXT];
        bytes[..part.len()].copy_from_slice(part);
        let word = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().unwrap());
        let head = head(Event::Text, part.len() as u16, 3);
        [7, head, word(0), word(1), word(2)]
    }

    #[test]
    fn a_text_of_several_records_belongs_to_the_one_behind_it() {
        let path = b"/n/host/a/file/with/a/rather/long/name";
        let mut reader = Reader::default();
        for part in path.chunks(TEXT) {
            assert_eq!(reader.take(&text(part)), Ok(None));
        }
        let of = |words: [u64; 2], reader: &mut Reader| {
            let record = reader.take(&[8, words[0], words[1], 0, 0]);
            record
                .unwrap()
                .map(|r| (r.event, r.pid, r.text.len()))
                .unwrap()
        };
        let found = of([head(Event::Path, 0, 3), 0], &mut reader);
        assert_eq!(found, (Event::Path, 3, path.len()));
        let found = of([head(Event::Switch, 0, 3), 4], &mut reader);
        assert_eq!(found, (Event::Switch, 3, 0));
    }

    #[test]
    fn a_text_without_end_is_cut_and_a_long_part_is_no_panic() {
        let mut reader = Reader::default();
        let mut long = text(&[b'a'; TEXT]);
        long[1] = head(Event::Text, u16::MAX, 3);
        for _ in 0..1000 {
            assert_eq!(reader.take(&long), Ok(None));
        }
        let record = reader.take(&[8, head(Event::Path, 0, 3), 0, 0, 0]);
        assert_eq!(record.unwrap().unwrap().text, [b'a'; crate::PATH_MAX]);
        assert_eq!(reader.take(&[0, 0xffff, 0, 0, 0]), Err(NoRecord));
    }

    #[test]
    fn events_have_the_numbers_of_their_places() {
        for (number, event) in (0..).zip(Event::ALL) {
            assert_eq!(
                (*event as u16, Event::from_number(number)),
                (number, Some(*event))
            );
        }
    }
}
