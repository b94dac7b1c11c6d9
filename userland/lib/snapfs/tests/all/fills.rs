//! Page faults in the short way: as in the other, or not at all.

use crate::common::*;
use dormouse_snapfs::{Backing, Filled};
use ninep::{Reply, Request, decode_reply};

const B: u64 = 4096;

#[test]
fn a_fill_that_a_rescue_overtakes_reads_the_saved_bytes() {
    for overtaken in [false, true] {
        let client = Client::new();
        client.host().set("a", &pattern(1, 4 * B as usize));
        let fid = client.open("a");
        let snap = client.snap(fid, 0, 4 * B);
        let read = Request::Read {
            fid: snap,
            offset: B,
            count: B as u32,
        };
        let mut asked = None;
        let fill = client.fs.begin_fill(0, &message(5, &read), |read| {
            asked = Some(*read);
            true
        });
        let (fill, asked) = (fill.expect("a fill"), asked.expect("a read"));
        assert_eq!((asked.off, asked.count), (B, B as u32));
        if overtaken {
            client.write(fid, B, &[7; B as usize]).unwrap();
        }
        client.write(fid, 3 * B, &[8; B as usize]).unwrap();
        let data = now(client.host().read(asked.fid, asked.off, asked.count));
        let answer = match client.fs.end_fill(fill, data.map(Filled::Here)) {
            Ok(answer) if !overtaken => answer.to_vec(),
            Err(fill) if overtaken => now(client.fs.read_again(fill)).to_vec(),
            _ => panic!("overtaken: {overtaken}"),
        };
        let data = &pattern(1, 4 * B as usize)[B as usize..2 * B as usize];
        assert_eq!(decode_reply(&answer), Ok((5, Reply::Read { data })));
        // It is over: nothing waits for its tag.
        assert_eq!(client.tell(&Request::Flush { oldtag: 5 }), Ok(()));
        client.end();
    }
}

#[test]
fn only_whole_references_in_the_live_file_are_filled_in_the_short_way() {
    let client = Client::new();
    client.host().set("a", &pattern(1, 4 * B as usize));
    let fid = client.open("a");
    let snap = client.snap(fid, 0, B);
    client.write(fid, 3 * B, &[1]).unwrap();
    // Another epoch, beside the first.
    client.snap_into(fid, snap, B, B).unwrap();
    let begins = |fid, offset, count| {
        let read = Request::Read { fid, offset, count };
        let fill = client.fs.begin_fill(0, &message(5, &read), |_| true);
        let answer = fill.map(|fill| now(client.fs.read_again(fill)));
        answer.is_some()
    };
    let len = B as u32;
    assert!(begins(snap, 0, len) && begins(snap, B, len) && begins(snap, B, 9 * len));
    assert!(!begins(snap, 0, 2 * len), "two references");
    assert!(!begins(snap, 2 * B, len), "not covered");
    assert!(
        !begins(snap, 0, 0) && !begins(snap, u64::MAX, len),
        "nothing"
    );
    assert!(!begins(fid, 0, len) && !begins(ROOT, 0, len), "no snapshot");
    assert!(client.fs.begin_fill(0, b"junk", |_| true).is_none());
    client.write(fid, 0, &[2]).unwrap();
    assert!(!begins(snap, 0, len), "saved");
    client.end();
}
