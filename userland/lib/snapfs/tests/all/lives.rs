//! Long random lives of two clients with a server that is started again now and
//! then: what was read stays what it was.

use crate::common::holds::*;
use crate::common::*;
use dormouse_snapfs::{Options, Snapfs};
use lower::Host;
use ninep::PutKind;
use std::rc::Rc;

/// Two clients, a server that is started anew now and then, and what must be.
struct World {
    fs: Rc<Snapfs<Host>>,
    clients: Vec<(Client, u32)>,
    holds: Vec<Holds>,
    random: Random,
    next: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let fs = start(lower_host(), options(0));
        let mut world = World {
            fs,
            clients: Vec::new(),
            holds: vec![Holds::default(); 2],
            random: Random(seed * 7919 + 1),
            next: 1000,
        };
        world.join_all();
        world
    }

    fn join_all(&mut self) {
        for (conn, id) in [(1, ME), (2, OTHER)] {
            let client = join(&self.fs, conn, id).expect("join");
            let fid = client.open("a");
            self.clients.push((client, fid));
        }
    }

    fn take(&mut self, who: usize) {
        self.next += 1;
        let file = self.fs.backing().get("a").expect("the file");
        let off = self.random.next(file.len() as u64);
        let len = 1 + self.random.next(file.len() as u64 - off);
        let (client, fid) = &self.clients[who];
        let held = Held {
            snapfid: self.next,
            off,
            bytes: file[off as usize..(off + len) as usize].to_vec(),
            epoch: 0,
        };
        let (epoch, count) = snap_at(client, *fid, &held, 0).expect("snap");
        assert_eq!(count, len);
        self.holds[who].hold(held.snapfid, off, &held.bytes, epoch);
    }

    fn give_up(&mut self, who: usize) {
        let held = &self.holds[who].0;
        if held.is_empty() {
            return;
        }
        let held = held[self.random.next(held.len() as u64) as usize].clone();
        let (client, _) = &self.clients[who];
        let (off, len) = (held.off + self.random.next(held.bytes.len() as u64), 3 * B);
        if self.random.next(2) == 0 {
            client.clunk(held.snapfid);
            self.holds[who].give_up(held.snapfid, 0..u64::MAX);
        } else {
            let snapfid = held.snapfid;
            client.trim(snapfid, &[(off, len)]);
            self.holds[who].give_up(snapfid, off..off + len);
        }
    }

    fn change(&mut self, who: usize) {
        let (client, fid) = &self.clients[who];
        let off = self.random.next(8 * B);
        let data = vec![self.random.next(200) as u8; 1 + self.random.next(2 * B) as usize];
        match self.random.next(4) {
            0 => client
                .resize(*fid, 1 + self.random.next(10 * B))
                .expect("resize"),
            1 => {
                // Becomes part of a new snapshot.
                self.next += 1;
                let ops = [op(PutKind::Data, 0, data.len() as u64)];
                let done = client.put(*fid, off, self.next, &ops, &data).expect("put");
                self.holds[who].hold(self.next, off, &data, done.epoch);
            }
            _ => assert_eq!(client.write(*fid, off, &data), Ok(data.len() as u32)),
        }
    }

    fn restart(&mut self) {
        self.clients.clear();
        let fs = std::mem::replace(&mut self.fs, start(Host::default(), Options::default()));
        self.fs = restart(fs, 0);
        self.join_all();
        // Some claim at once, others after more was written.
        let first = self.random.next(2) as usize;
        for who in [first, 1 - first] {
            for _ in 0..self.random.next(3) {
                let writer = self.random.next(2) as usize;
                let off = self.random.next(8 * B);
                let (client, fid) = &self.clients[writer];
                client.write(*fid, off, &[77; 5000]).expect("write");
            }
            let (client, fid) = &self.clients[who];
            claim_all(client, *fid, &self.holds[who]);
            // What one gives up another may still claim.
            self.give_up(who);
        }
        for ((client, _), id) in self.clients.iter().zip([ME, OTHER]) {
            assert_eq!(client.session(id).map(|(known, ..)| known), Ok(true));
        }
    }

    fn step(&mut self) {
        let who = self.random.next(2) as usize;
        match self.random.next(20) {
            0 => self.restart(),
            1..6 => self.take(who),
            6..9 => self.give_up(who),
            _ => self.change(who),
        }
        for ((client, _), holds) in self.clients.iter().zip(&self.holds) {
            check(client, holds);
        }
    }

    fn end(self) {
        for (client, _) in &self.clients {
            client.hang_up();
        }
        now(self.fs.tick(u64::from(LEASE)));
        Client::on(self.fs, 9).nothing_is_left();
    }
}

#[test]
fn random_lives_with_restarts_agree_with_what_was_read() {
    for seed in seeds(40) {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..60 {
            world.step();
        }
        world.end();
    }
}
