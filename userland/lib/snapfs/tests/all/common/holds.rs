//! What clients hold of snapshots, and servers that are started again.

use super::*;
use std::ops::Range;

pub const B: u64 = 4096;
pub const LEN: u64 = 8 * B + 99;
pub const LEASE: u32 = 60;
pub const ME: [u8; 16] = [1; 16];
pub const OTHER: [u8; 16] = [2; 16];

pub fn options(boot: u64) -> Options {
    Options {
        lease: LEASE,
        boot: [boot, 0],
        ..Options::default()
    }
}

/// The server dies, and another one is started over what is beneath.
pub fn restart(fs: Rc<Snapfs<Host>>, boot: u64) -> Rc<Snapfs<Host>> {
    let fs = Rc::into_inner(fs).expect("nobody else holds it");
    let memory = fs.into_backing();
    memory.heal();
    memory.hang_up();
    start(memory, options(boot))
}

/// A client of a session, attached.
pub fn join(fs: &Rc<Snapfs<Host>>, conn: u32, id: [u8; 16]) -> Result<Client, Errno> {
    let client = Client::on(fs.clone(), conn);
    client.hello();
    let (_, lease, _) = client.session(id)?;
    if lease == 0 {
        return Err(Errno::EIO);
    }
    client.attach_as(ROOT, "")?;
    Ok(client)
}

/// A part of a snapshot, as a client knows it.
#[derive(Clone, Debug)]
pub struct Held {
    pub snapfid: u32,
    pub off: u64,
    pub bytes: Vec<u8>,
    pub epoch: u64,
}

impl Held {
    pub fn range(&self) -> Range<u64> {
        self.off..self.off + self.bytes.len() as u64
    }
}

/// Everything a client holds.
#[derive(Clone, Default)]
pub struct Holds(pub Vec<Held>);

impl Holds {
    /// These bytes of the snapshot are not held, or not at that epoch.
    pub fn give_up(&mut self, snapfid: u32, bytes: Range<u64>) {
        let mut kept = Vec::new();
        for held in self.0.drain(..) {
            let range = held.range();
            if held.snapfid != snapfid || range.end <= bytes.start || bytes.end <= range.start {
                kept.push(held);
                continue;
            }
            for part in [range.start..bytes.start, bytes.end..range.end] {
                if part.start < part.end {
                    let inside =
                        (part.start - range.start) as usize..(part.end - range.start) as usize;
                    kept.push(Held {
                        off: part.start,
                        bytes: held.bytes[inside].to_vec(),
                        ..held.clone()
                    });
                }
            }
        }
        self.0 = kept;
    }

    pub fn hold(&mut self, snapfid: u32, off: u64, bytes: &[u8], epoch: u64) {
        self.give_up(snapfid, off..off + bytes.len() as u64);
        let bytes = bytes.to_vec();
        self.0.push(Held {
            snapfid,
            off,
            bytes,
            epoch,
        });
    }
}

pub fn snap_at(client: &Client, fid: u32, held: &Held, epoch: u64) -> Result<(u64, u64), Errno> {
    let count = held.bytes.len() as u64;
    snap_range(client, fid, held.snapfid, (held.off, count), epoch)
}

/// Takes a snapshot of the range (offset, length), or claims one as of `epoch`;
/// returns the file's epoch and the bytes covered.
pub fn snap_range(
    client: &Client,
    fid: u32,
    snapfid: u32,
    (off, count): (u64, u64),
    epoch: u64,
) -> Result<(u64, u64), Errno> {
    let request = Request::Snap {
        fid,
        snapfid,
        off,
        count,
        epoch,
        known: 0,
    };
    client.ask(&request, |reply| match reply {
        Reply::Snap { epoch, count, .. } => Ok((epoch, count)),
        Reply::Error(errno) => Err(errno),
        other => panic!("{other:?}"),
    })
}

/// Everything that was held is claimed, and is what it was.
pub fn claim_all(me: &Client, fid: u32, holds: &Holds) {
    for held in &holds.0 {
        let claimed = snap_at(me, fid, held, held.epoch);
        let (_, count) = claimed.unwrap_or_else(|errno| {
            panic!(
                "{errno:?} for {} {:?} at {}",
                held.snapfid,
                held.range(),
                held.epoch
            )
        });
        assert_eq!(count, held.bytes.len() as u64, "{:?}", held.range());
    }
    check(me, holds);
}

pub fn check(me: &Client, holds: &Holds) {
    for held in &holds.0 {
        let read = me.read_all(held.snapfid, held.off, held.bytes.len() as u64);
        let read = read.unwrap_or_else(|errno| panic!("{errno:?} at {:?}", held.range()));
        assert!(
            read == held.bytes,
            "{} {:?} changed",
            held.snapfid,
            held.range()
        );
    }
}

pub fn lower_host() -> Host {
    let memory = Host::default();
    memory.set("a", &pattern(1, LEN as usize));
    memory
}
