//! snapfs dies in the middle of everything: the files underneath are as whole
//! as without it, and a new one over the same tree finds nothing left.

use crate::common::*;
use dormouse_snapfs::{Executor, Options, Snapfs};
use lower::Host;
use ninep::{PutKind, PutOps, Request, SetAttr};
use std::rc::Rc;

const BLOCK: usize = 4096;
const LEN: usize = 64 * BLOCK;

/// One change, as a message of its own connection.
fn change(number: u64, fids: (u32, u32)) -> Vec<u8> {
    let (a, b) = fids;
    let data = vec![b'N'; LEN];
    let ops = [op(PutKind::Data, 0, LEN as u64)];
    let attr = SetAttr {
        valid: ninep::consts::setattr::SIZE,
        size: 3,
        ..SetAttr::default()
    };
    let request = match number {
        0 => Request::Put {
            fid: a,
            wid: 1,
            ack: 0,
            flags: ninep::consts::put::COMMIT,
            off: 0,
            into: ninep::consts::NOFID,
            known: 0,
            ops: PutOps::new(&ops),
            data: &data,
        },
        1 => Request::Renameat {
            olddirfid: ROOT,
            oldname: "new".into(),
            newdirfid: ROOT,
            newname: "replaced".into(),
        },
        2 => Request::Unlinkat {
            dirfid: ROOT,
            name: "removed".into(),
            flags: 0,
        },
        _ => Request::Setattr { fid: b, attr },
    };
    message(number as u16 + 1, &request)
}

async fn ask(fs: &Snapfs<Host>, bytes: Vec<u8>) {
    fs.handle(0, &bytes).await;
}

/// Runs all changes at once and dies after `steps` of what they wait for;
/// whether there was as much to do.
fn die_after(steps: u64, seed: u64) -> bool {
    let client = Client::new();
    for name in ["written", "replaced", "removed", "cut"] {
        client.host().set(name, &vec![b'O'; LEN]);
    }
    client.host().set("new", &vec![b'N'; LEN]);
    client.host().set("untouched", b"untouched");
    let names = ["written", "replaced", "removed", "cut"];
    let fids = names.map(|name| client.open(name));
    for fid in fids {
        client.snap(fid, 0, LEN as u64);
    }
    client.host().set_manual(true);
    let mut executor = Executor::default();
    for number in 0..4 {
        let task = ask(&client.fs, change(number, (fids[0], fids[3])));
        assert!(matches!(executor.spawn(task), Ok(None)));
    }
    let mut random = Random(seed * 7919 + 17);
    let mut done = 0;
    while done < steps && client.host().waiting() > 0 {
        let waiting = client.host().waiting() as u64;
        client.host().release(random.next(waiting) as usize);
        executor.run(|()| ());
        done += 1;
    }
    let reached = done == steps && !executor.is_idle();
    drop(executor);
    let fs = Rc::into_inner(client.fs).expect("nobody else holds it");
    let left = fs.into_backing();
    left.set_manual(false);
    left.hang_up();
    look(left, &format!("{steps} steps with seed {seed}"));
    reached
}

/// What a new server over the same tree finds.
fn look(left: Host, what: &str) {
    let fs = start(left, Options::default());
    let client = Client::on(fs, 0);
    client.hello();
    client.attach();
    let memory = client.host();
    assert!(!memory.names("").contains(&".snapfs".into()), "{what}");
    assert_eq!(memory.get("untouched"), Some(b"untouched".to_vec()));
    let old = |name: &str| memory.get(name).is_some_and(|bytes| bytes == [b'O'; LEN]);
    let new = |name: &str| memory.get(name).is_some_and(|bytes| bytes == [b'N'; LEN]);
    // Each block was written, or was not.
    let written = memory.get("written").expect("it was only written");
    assert_eq!(written.len(), LEN, "{what}");
    for block in written.chunks(BLOCK) {
        assert!(block == [b'O'; BLOCK] || block == [b'N'; BLOCK], "{what}");
    }
    // A name that is given to another file stands for one of the two.
    let before = old("replaced") && new("new");
    let after = new("replaced") && memory.get("new").is_none();
    assert!(before || after, "{what}: the name stands for nothing");
    assert!(old("removed") || memory.get("removed").is_none(), "{what}");
    assert!(
        old("cut") || memory.get("cut") == Some(b"OOO".to_vec()),
        "{what}"
    );
    // It serves.
    let fid = client.open("written");
    let snap = client.snap(fid, 0, LEN as u64);
    client.write(fid, 0, b"again").unwrap();
    assert!(client.read_all(snap, 0, LEN as u64).unwrap() == written);
    client.end();
}

#[test]
fn a_crash_in_the_middle_of_anything_harms_no_file_and_leaves_nothing() {
    let mut crashes = 0u64;
    for seed in 1..6 {
        crashes += (0..).take_while(|steps| die_after(*steps, seed)).count() as u64;
    }
    println!("{crashes} crashes");
    assert!(crashes > 200);
}
