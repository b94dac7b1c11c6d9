//! The server: it answers in any order, and it lies.
use crate::message::{Asked, Sent, Way, reply, request};
use crate::process::{Phase, Who};
use crate::world::World;
use abi::Errno;
use dormouse_ninep::client::{Effects, FLUSH_TAGS, Matched, Receipt, Then};
use dormouse_ninep::consts::READ_HEAD;

impl World {
    pub fn receive(&mut self) {
        let sent = self.channel.remove(0);
        match sent.asked {
            // Staged in order of arrival.
            Asked::Part(wid) => {
                self.staged.insert(wid);
            }
            Asked::Abort(wid) => {
                self.staged.remove(&wid);
            }
            _ => {}
        }
        self.server.push(sent);
    }

    pub fn answer(&mut self, place: usize, way: Way) {
        let sent = self.server.remove(place);
        self.left.remove(&sent.tag);
        match (sent.asked, way) {
            (Asked::Makes(fid), Way::Right) => {
                self.fids.insert(fid);
            }
            (Asked::Commit(wid, into), way) => {
                self.staged.remove(&wid);
                if way == Way::Right {
                    self.fids.insert(into);
                }
            }
            (Asked::Clunk(fid), _) => {
                self.fids.remove(&fid);
            }
            (Asked::Part(wid), way) if way != Way::Right => {
                self.refused.insert(wid);
            }
            // No reply to that one any more.
            (Asked::Flush(old), _) => {
                self.server.retain(|other| other.tag != old);
                self.left.remove(&old);
            }
            _ => {}
        }
        let effects = self.deliver(sent, way).expect("it is right");
        self.apply(effects);
    }

    /// The client meets the reply to `sent`; an error is what the server is told.
    pub fn deliver(&mut self, sent: Sent, way: Way) -> Result<Effects<Who, Who>, Errno> {
        let bytes = reply(sent, way);
        let head = &bytes[..bytes.len().min(READ_HEAD)];
        match self
            .client
            .expect(head, bytes.len() as u64, Receipt::Whole)?
        {
            Matched::Wanted(tag) => {
                assert_eq!(way, Way::Right);
                Ok(self.client.answer(tag, Ok(sent.asked.content())))
            }
            Matched::Done(effects) => Ok(effects),
            Matched::TooLong(effects) => {
                assert_eq!(way, Way::Long);
                Ok(effects)
            }
        }
    }

    pub fn hang_up(&mut self) {
        self.down = true;
        self.client.hang_up(Errno::EIO);
        while let Some(effects) = self.client.next_hung_up() {
            self.apply(effects);
        }
        self.channel.clear();
        self.server.clear();
        self.fids.clear();
        self.staged.clear();
        for process in &self.processes {
            if let Phase::Waits { .. } | Phase::Commits { .. } | Phase::Parts { .. } = process.phase
            {
                assert!(process.woken, "{process:?} waits for a server that is gone");
            }
            assert_eq!(process.untold, 0, "{process:?} is not told");
        }
    }

    /// Nothing can happen any more: nothing may be left.
    pub fn check_end(&self) {
        for process in &self.processes {
            assert_eq!(process.phase, Phase::Done, "{process:?} waits for ever");
            assert_eq!(process.untold, 0, "{process:?} is not told");
        }
        assert!(self.channel.is_empty() && self.server.is_empty());
        assert!(self.fids.is_empty(), "fids are left: {:?}", self.fids);
        assert!(self.staged.is_empty(), "parts are left: {:?}", self.staged);
        let mut client = self.client.clone();
        if self.down {
            let begun = client.begin(&request(Asked::Stat), 100, Then::Nothing);
            assert_eq!(begun, Err(Errno::EIO));
            return;
        }
        assert_eq!(client.fids(), 0, "numbers of fids are lost");
        for _ in 0..self.tags {
            let tag = client.begin(&request(Asked::Stat), 100, Then::Nothing);
            assert!(matches!(tag, Ok(Some(_))), "a tag is lost");
        }
        assert_eq!(
            client.oldest_write(),
            client.begin_write().expect("there is memory")
        );
    }

    /// Messages that are no replies to what the server has received and not answered
    /// are refused and change nothing.
    pub fn lie(&self) {
        let mut client = self.client.clone();
        let mut refused = |bytes: &[u8], len, receipt| {
            let head = &bytes[..bytes.len().min(READ_HEAD)];
            let answer = client.expect(head, len, receipt);
            assert_eq!(answer, Err(Errno::EPROTO), "{bytes:?} as {len} bytes");
        };
        for tag in (0..=self.tags + FLUSH_TAGS).chain([u16::MAX]) {
            if self.server.iter().any(|sent| sent.tag == tag) {
                continue;
            }
            let queued = self.channel.iter().any(|sent| sent.tag == tag);
            let receipt = match queued {
                true => Receipt::Partial,
                false => Receipt::Whole,
            };
            for asked in [Asked::Stat, Asked::Flush(0), Asked::Part(1)] {
                for way in [Way::Right, Way::Error, Way::Long] {
                    let bytes = reply(Sent { tag, asked }, way);
                    refused(&bytes, bytes.len() as u64, receipt);
                }
            }
        }
        for sent in &self.server {
            let bytes = reply(*sent, Way::Right);
            refused(&bytes, 0, Receipt::Whole);
            refused(&bytes, bytes.len() as u64 + 1, Receipt::Whole);
            refused(&bytes, bytes.len() as u64, Receipt::Partial);
            refused(&bytes[..6], 6, Receipt::Whole);
            self.answer_twice(*sent);
        }
        assert!(client == self.client, "a lie changed something");
    }

    /// Once a request is answered, a second answer is refused.
    pub fn answer_twice(&self, sent: Sent) {
        for way in [Way::Right, Way::Wrong, Way::Long] {
            let mut world = self.clone();
            let first = world.deliver(sent, way);
            assert!(first.is_ok(), "the first is right");
            let second = world.deliver(sent, Way::Error);
            assert_eq!(second, Err(Errno::EPROTO), "{sent:?} is answered twice");
        }
    }
}
