//! The server dies at any message and is started again: a client that comes
//! back claims its snapshots and finds exactly its old bytes, whatever others
//! did to the file meanwhile; what nobody claims is given up.

use crate::common::holds::*;
use crate::common::*;
use abi::Errno;
use dormouse_snapfs::Snapfs;
use lower::Host;
use ninep::consts::{NOFID, open};
use ninep::*;
use std::cell::Cell;
use std::rc::Rc;

/// What becomes of the file in both clients' hands. Once the server has died
/// (`dead`) no answer arrives any more.
fn life(fs: &Rc<Snapfs<Host>>, dead: &Cell<bool>, holds: &mut Holds) -> Result<(), Errno> {
    let alive = |result: Result<(), Errno>| match dead.get() {
        true => Err(Errno::EIO),
        false => result,
    };
    let me = join(fs, 1, ME)?;
    let other = join(fs, 2, OTHER)?;
    alive(Ok(()))?;
    let fid = me.open_with("a", open::RDWR)?;
    let theirs = other.open_with("a", open::RDWR)?;
    let take = |snapfid: u32, holds: &mut Holds| -> Result<(), Errno> {
        let bytes = fs.backing().get("a").expect("the file");
        let off = 0;
        let held = Held {
            snapfid,
            off,
            bytes,
            epoch: 0,
        };
        let (epoch, _) = snap_at(&me, fid, &held, 0)?;
        alive(Ok(()))?;
        holds.hold(snapfid, 0, &held.bytes, epoch);
        Ok(())
    };
    take(50, holds)?;
    let _ = other.write(theirs, 2 * B + 5, &[7; 2 * B as usize]);
    alive(Ok(()))?;
    take(51, holds)?;
    let ranges = [(0, B)];
    holds.give_up(50, 0..B);
    let trim = Request::Trim {
        snapfid: 50,
        ranges: Ranges::new(&ranges),
    };
    let _ = me.tell(&trim);
    alive(Ok(()))?;
    let _ = other.resize(theirs, 5 * B + 7);
    let _ = other.resize(theirs, 7 * B);
    let _ = other.write(theirs, 3, b"theirs");
    alive(Ok(()))?;
    // Of what is written only a commit that is answered is held again.
    let ops = [
        op(keep(51, 0), 0, B),
        op(PutKind::Data, B, B),
        op(keep(51, 2 * B), 2 * B, B),
        op(PutKind::Zero, 3 * B, B),
    ];
    let before = holds.clone();
    holds.give_up(51, 0..4 * B);
    let done = me.put(fid, 0, 51, &ops, &[9; B as usize]);
    alive(Ok(()))?;
    let done = done?;
    assert!(done.assoc && done.count == 4 * B);
    let old = before
        .0
        .iter()
        .find(|held| held.snapfid == 51)
        .expect("held");
    let mut new = old.bytes[..B as usize].to_vec();
    new.resize(2 * B as usize, 9);
    new.extend(&old.bytes[2 * B as usize..3 * B as usize]);
    new.resize(4 * B as usize, 0);
    holds.hold(51, 0, &new, done.epoch);
    let _ = other.write(theirs, 0, &[5; 4 * B as usize]);
    alive(Ok(()))?;
    take(52, holds)?;
    let _ = other.write(theirs, 6 * B, b"after all");
    holds.give_up(52, 0..u64::MAX);
    let _ = me.tell(&Request::Clunk { fid: 52 });
    alive(Ok(()))
}

/// What another client does before this one is back.
fn meanwhile(other: &Client, how: u32) -> Result<(), Errno> {
    let access = if how == 1 { open::WRONLY } else { open::RDWR };
    let fid = other.open_with("a", access)?;
    match how {
        0 | 1 => {
            other.write(fid, B / 2, &[3; 3 * B as usize])?;
            other.write(fid, 7 * B, &[4; 3 * B as usize])?;
        }
        2 => {
            other.resize(fid, 0)?;
            other.resize(fid, 12 * B)?;
        }
        _ => {
            other.write(fid, 0, &[6; B as usize])?;
            let trunc = other.open_with("a", open::RDWR | open::TRUNC)?;
            other.write(trunc, 0, &[8; 2 * B as usize])?;
            other.clunk(trunc);
        }
    }
    other.clunk(fid);
    Ok(())
}

/// All that comes after a restart. `die`: the server dies once more, at that
/// exchange after the next start.
fn afterwards(mut fs: Rc<Snapfs<Host>>, holds: &Holds, how: u32, die: Option<u64>) -> bool {
    let mut died = false;
    if let Some(k) = die {
        died = kill_at(&fs, k).run(|_| {
            let _ = join(&fs, 2, OTHER).and_then(|other| meanwhile(&other, how));
        });
        fs = restart(fs, 0);
    }
    let other = join(&fs, 2, OTHER).expect("join");
    meanwhile(&other, how).expect("served");
    let me = join(&fs, 1, ME).expect("join");
    let fid = me.open("a");
    claim_all(&me, fid, holds);
    meanwhile(&other, 0).expect("served");
    check(&me, holds);
    assert_eq!(me.session(ME).map(|(known, ..)| known), Ok(true));
    assert_eq!(other.session(OTHER).map(|(known, ..)| known), Ok(true));
    meanwhile(&other, 2).expect("served");
    check(&me, holds);
    me.hang_up();
    other.hang_up();
    now(fs.tick(u64::from(LEASE)));
    other.nothing_is_left();
    died
}

/// Makes every exchange from the `k`th on fail.
struct Killer {
    dead: Rc<Cell<bool>>,
}

fn kill_at(fs: &Snapfs<Host>, k: u64) -> Killer {
    let (start, dead) = (fs.backing().exchanges(), Rc::new(Cell::new(false)));
    let seen = dead.clone();
    fs.backing().inject(move |exchange| {
        if exchange.number - start >= k {
            seen.set(true);
        }
        seen.get().then_some(Errno::EIO)
    });
    Killer { dead }
}

impl Killer {
    fn run(self, life: impl FnOnce(&Cell<bool>)) -> bool {
        life(&self.dead);
        self.dead.get()
    }
}

/// One life with a death at exchange `k`; did it come to that?
fn die_at(k: u64, how: u32) -> bool {
    let fs = start(lower_host(), options(0));
    let mut holds = Holds::default();
    let died = kill_at(&fs, k).run(|dead| {
        let _ = life(&fs, dead, &mut holds);
    });
    afterwards(restart(fs, 0), &holds, how, None);
    died
}

#[test]
fn re_claim_after_a_restart_while_another_client_overwrites() {
    for how in 0..4 {
        let deaths = (0..).take_while(|k| die_at(*k, how)).count();
        println!("way {how}: died at each of {deaths} messages");
        assert!(deaths > 60);
    }
}

#[test]
fn a_second_death_during_the_recovery_loses_nothing() {
    for how in 0..4 {
        let mut deaths = 0;
        for k in 0.. {
            let fs = start(lower_host(), options(0));
            let mut holds = Holds::default();
            let _ = life(&fs, &Cell::new(false), &mut holds);
            let fs = restart(fs, 0);
            if !afterwards(fs, &holds, how, Some(k)) {
                break;
            }
            deaths += 1;
        }
        println!("way {how}: died again at each of {deaths} messages");
        assert!(deaths > 15);
    }
}

fn lived() -> (Rc<Snapfs<Host>>, Holds) {
    let fs = start(lower_host(), options(0));
    let mut holds = Holds::default();
    life(&fs, &Cell::new(false), &mut holds).expect("nothing fails");
    (fs, holds)
}

#[test]
fn what_nobody_claims_is_given_up_when_the_leases_have_run_out() {
    let (fs, _) = lived();
    let fs = restart(fs, 0);
    assert!(fs.counters().saved > 0);
    assert!(fs.backing().get(".snapfs/store").is_some());
    now(fs.tick(u64::from(LEASE) - 1));
    assert!(fs.counters().saved > 0);
    now(fs.tick(u64::from(LEASE)));
    Client::on(fs, 3).nothing_is_left();
}

#[test]
fn a_strangers_change_while_the_server_was_down_is_not_passed_on() {
    let (fs, holds) = lived();
    let fs = Rc::into_inner(fs).expect("alone");
    let memory = fs.into_backing();
    memory.hang_up();
    memory.set("a", &[1; 20 * B as usize]);
    let fs = start(memory, options(0));
    let me = join(&fs, 1, ME).expect("join");
    let fid = me.open("a");
    let mut lost = 0;
    for held in &holds.0 {
        match snap_at(&me, fid, held, held.epoch) {
            Err(errno) => {
                assert_eq!(errno, Errno::ESTALE);
                lost += 1;
            }
            Ok((_, count)) => {
                let read = me.read_all(held.snapfid, held.off, count);
                assert_eq!(read.as_deref(), Ok(&held.bytes[..count as usize]));
                lost += u32::from(count < held.bytes.len() as u64);
            }
        }
    }
    assert!(lost > 0, "what was live is lost");
    me.hang_up();
    now(fs.tick(u64::from(LEASE)));
    me.nothing_is_left();
}

#[test]
fn epochs_are_never_used_again_over_a_restart() {
    let (mut fs, _) = lived();
    for _ in 0..3 {
        let me = join(&fs, 1, ME).expect("join");
        let fid = me.open("a");
        // Many changes that nobody was told of, and one that somebody was.
        for _ in 0..5000 {
            me.write(fid, 0, b"x").expect("write");
        }
        let done = me
            .put(fid, 0, NOFID, &[op(PutKind::Data, 0, 1)], b"y")
            .expect("put");
        drop(me);
        fs = restart(fs, 0);
        assert!(fs.counters().epoch > done.epoch);
    }
}

/// Steps are short with the feature, as in every run of all tests.
#[cfg(feature = "duplicate")]
#[test]
fn a_long_log_is_written_anew_in_steps_and_remembers_everything() {
    let fs = start(lower_host(), options(0));
    let me = join(&fs, 1, ME).expect("join");
    let fid = me.open("a");
    let bytes = fs.backing().get("a").expect("the file");
    let mut holds = Holds::default();
    holds.hold(50, 0, &bytes, 0);
    let (epoch, _) = snap_at(&me, fid, &holds.0[0], 0).expect("a snapshot");
    holds.0[0].epoch = epoch;
    let (steps, longest) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (seen, most) = (steps.clone(), longest.clone());
    fs.backing().inject(move |call| {
        if call.writes(".snapfs/log.new") {
            seen.set(seen.get() + 1);
            most.set(most.get().max(call.len));
        }
        None::<Errno>
    });
    // Every block is saved, and then the log grows.
    me.write(fid, 0, &vec![7; bytes.len()]).expect("write");
    for _ in 0..2000 {
        me.write(fid, 0, b"x").expect("write");
    }
    let (steps, longest) = (steps.get(), longest.get());
    println!("{steps} steps, {longest} bytes at most");
    assert!(
        steps > 4 && longest < 1024,
        "{steps} steps, {longest} bytes"
    );
    drop(me);
    let fs = restart(fs, 0);
    let me = join(&fs, 1, ME).expect("join");
    let fid = me.open("a");
    claim_all(&me, fid, &holds);
    me.hang_up();
    now(fs.tick(u64::from(LEASE)));
    me.nothing_is_left();
}

#[test]
fn a_log_that_was_torn_or_garbled_is_read_as_far_as_it_is_good() {
    let (fs, holds) = lived();
    let memory = Rc::into_inner(fs).expect("alone").into_backing();
    memory.hang_up();
    let log = memory.get(".snapfs/log").expect("a log");
    let mut random = Random(77);
    for n in 0..200 {
        let memory = memory.duplicate();
        let mut bad = log.clone();
        if n % 2 == 0 {
            bad.truncate(random.next(log.len() as u64) as usize);
        } else {
            let at = random.next(log.len() as u64) as usize;
            bad[at] ^= 1 << random.next(8);
        }
        memory.set(".snapfs/log", &bad);
        let fs = start(memory, options(0));
        let me = join(&fs, 1, ME).expect("join");
        let fid = me.open("a");
        for held in &holds.0 {
            // Said before it was overwritten, or not said at all: what is
            // believed of a shorter log may be old, and so is what is live.
            let _ = snap_at(&me, fid, held, held.epoch);
        }
        me.hang_up();
        now(fs.tick(u64::from(LEASE)));
        me.nothing_is_left();
    }
}

#[test]
fn a_saved_block_that_was_torn_is_lost_and_not_passed_on() {
    let (fs, holds) = lived();
    let memory = Rc::into_inner(fs).expect("alone").into_backing();
    memory.hang_up();
    let mut store = memory.get(".snapfs/store").expect("a store");
    for byte in store.iter_mut().step_by(B as usize) {
        *byte ^= 1;
    }
    memory.set(".snapfs/store", &store);
    let fs = start(memory, options(0));
    let me = join(&fs, 1, ME).expect("join");
    let fid = me.open("a");
    let mut lost = 0;
    for held in &holds.0 {
        snap_at(&me, fid, held, held.epoch).expect("claimed");
        for at in held.range().step_by(100) {
            match me.read(held.snapfid, at, 1) {
                Ok(byte) => assert_eq!(byte, [held.bytes[(at - held.off) as usize]]),
                Err(errno) => {
                    assert_eq!(errno, Errno::ESTALE);
                    lost += 1;
                }
            }
        }
    }
    assert!(lost > 0);
    me.hang_up();
    now(fs.tick(u64::from(LEASE)));
    me.nothing_is_left();
}

#[test]
fn what_is_left_of_another_boot_is_not_used() {
    let (fs, holds) = lived();
    let fs = restart(fs, 1);
    let me = join(&fs, 1, ME).expect("join");
    let fid = me.open("a");
    for held in &holds.0 {
        assert_eq!(snap_at(&me, fid, held, held.epoch), Err(Errno::ESTALE));
    }
    me.hang_up();
    now(fs.tick(u64::from(LEASE)));
    me.nothing_is_left();
}

#[test]
fn a_file_that_was_removed_is_lost_by_the_restart_and_leaves_nothing() {
    let (fs, holds) = lived();
    let other = Client::on(fs.clone(), 4);
    other.hello();
    other.attach();
    other.unlink("a").expect("remove");
    other.host().set("a", &pattern(9, LEN as usize));
    drop(other);
    let fs = restart(fs, 0);
    let me = join(&fs, 1, ME).expect("join");
    let fid = me.open("a");
    for held in &holds.0 {
        let claimed = snap_at(&me, fid, held, held.epoch);
        assert_eq!(claimed, Err(Errno::ESTALE), "another file");
    }
    me.hang_up();
    now(fs.tick(u64::from(LEASE)));
    me.nothing_is_left();
}

#[test]
fn an_epoch_can_be_claimed_where_the_bytes_are_proved_to_be_the_same() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 8 * B as usize));
    let fid = client.open("a");
    let bytes = pattern(1, 8 * B as usize);
    let all = Held {
        snapfid: 70,
        off: 0,
        bytes: bytes.clone(),
        epoch: 0,
    };
    let (epoch, _) = snap_at(&client, fid, &all, 0).unwrap();
    client.clunk(70);
    // Somebody else keeps the file known to the server.
    let witness = client.snap(fid, 0, 1);
    client.write(fid, 5 * B, b"changed").unwrap();
    assert_eq!(snap_at(&client, fid, &all, epoch), Ok((epoch + 1, 5 * B)));
    assert_eq!(
        client.read_all(70, 0, 5 * B),
        Ok(bytes[..5 * B as usize].to_vec())
    );
    assert_eq!(client.read(70, 5 * B, 1), Err(Errno::ESTALE));
    let tail = Held {
        snapfid: 71,
        off: 5 * B + 100,
        bytes: vec![0; 10],
        epoch: 0,
    };
    assert_eq!(snap_at(&client, fid, &tail, epoch), Err(Errno::ESTALE));
    assert_eq!(
        snap_at(&client, fid, &all, epoch + 9),
        Err(Errno::ESTALE),
        "not yet"
    );
    client.write(fid, 0, b"later").unwrap();
    assert_eq!(
        client.read_all(70, 0, 5 * B),
        Ok(bytes[..5 * B as usize].to_vec())
    );
    client.clunk(witness);
    client.end();
}

#[test]
fn without_a_lease_nothing_is_written_for_later() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 8 * B as usize));
    let fid = client.open("a");
    client.snap(fid, 0, 8 * B);
    let (_, before) = client.host().traffic();
    client
        .put_with(&whole_write(fid, &[op(PutKind::Data, 0, 1)], b"x"))
        .unwrap();
    let (_, after) = client.host().traffic();
    assert_eq!(after - before, B + 1, "the rescued block and the byte");
    assert!(client.host().names(".snapfs").is_empty());
    client.end();
}

#[test]
fn the_log_stays_short_over_a_long_life() {
    let fs = start(lower_host(), options(0));
    let me = join(&fs, 1, ME).expect("join");
    let fid = me.open("a");
    let mut holds = Holds::default();
    let bytes = fs.backing().get("a").expect("the file");
    let held = Held {
        snapfid: 50,
        off: 0,
        bytes: bytes.clone(),
        epoch: 0,
    };
    let (epoch, _) = snap_at(&me, fid, &held, 0).expect("snap");
    holds.hold(50, 0, &bytes, epoch);
    let mut longest = 0;
    for round in 0..3000u64 {
        // A snapshot that comes and goes, so that places are used again.
        let snap = me.snap(fid, 0, 8 * B);
        me.write(fid, round % 8 * B, &round.to_le_bytes())
            .expect("write");
        me.clunk(snap);
        let log = fs.backing().get(".snapfs/log").map_or(0, |log| log.len());
        longest = longest.max(log);
    }
    println!("the log had {longest} bytes at most");
    assert!(longest < 100 << 10, "{longest}");
    drop(me);
    afterwards(restart(fs, 0), &holds, 2, None);
}
