//! Random messages come back as they went; random bytes never do harm.

#[path = "../../../../tests/seeded.rs"]
mod seeded;

use dormouse_ninep::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// A message with every payload and list that requests can have.
fn puts() -> impl Strategy<Value = (u64, Vec<PutOp>, Vec<u8>)> {
    let op = (0u64..64, 1u64..64, 0u8..3, any::<u32>(), 0u64..1 << 60);
    (0u64..1 << 60, vec(op, 0..20)).prop_map(|(base, raw)| {
        let (mut at, mut data) = (0, 0);
        let mut ops = Vec::new();
        for (gap, len, kind, snapfid, soff) in raw {
            let kind = match kind {
                0 => PutKind::Data,
                1 => PutKind::Keep { snapfid, soff },
                _ => PutKind::Zero,
            };
            if kind == PutKind::Data {
                data += len as usize;
            }
            ops.push(PutOp {
                kind,
                off: at + gap,
                len,
            });
            at += gap + len;
        }
        (base, ops, (0..data).map(|i| i as u8).collect())
    })
}

fn request_returns(request: Request<'_>) {
    let mut out = vec![0; 1 << 17];
    let len = encode_request(77, &request, &mut out).unwrap();
    assert_eq!(peek(&out), Some((len as u32, request.kind(), 77)));
    assert_eq!(decode_request(&out[..len]), Ok((77, request)));
    assert!(decode_reply(&out[..len]).is_err(), "a T is no R");
    for short in 0..len {
        assert_eq!(
            encode_request(77, &request, &mut out[..short]),
            Err(TooSmall)
        );
    }
}

fn reply_returns(reply: Reply<'_>) {
    let mut out = vec![0; 1 << 17];
    let len = encode_reply(77, &reply, &mut out).unwrap();
    assert_eq!(decode_reply(&out[..len]), Ok((77, reply)));
    assert!(decode_request(&out[..len]).is_err(), "an R is no T");
    for short in 0..len {
        assert_eq!(encode_reply(77, &reply, &mut out[..short]), Err(TooSmall));
    }
}

/// Any bytes but zero.
fn string(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 0..=most)
}

proptest! {
    #![proptest_config(seeded::config(300))]

    #[test]
    fn names_return(fid: u32, newfid: u32, names in vec(string(20), 0..=16)) {
        let names: Vec<ByteStr<'_>> = names.iter().map(ByteStr::from).collect();
        let names = Names::new(&names);
        request_returns(Request::Walk { fid, newfid, names });
        request_returns(Request::Walkopen { fid, newfid, flags: newfid, names });
        request_returns(Request::Walkattr { fid, mask: newfid.into(), names });
    }

    #[test]
    fn strings_return(a in string(40), b in string(40), n: u32) {
        let (a, b) = (ByteStr(&a), ByteStr(&b));
        request_returns(Request::Renameat { olddirfid: n, oldname: a, newdirfid: 7, newname: b });
        request_returns(Request::Attach { fid: n, afid: consts::NOFID, uname: a, aname: b, n_uname: n });
        request_returns(Request::Version { msize: n, version: a });
        reply_returns(Reply::Readlink { target: b });
        let (start, length) = (u64::from(n), u64::MAX);
        reply_returns(Reply::Getlock { kind: 1, start, length, proc_id: n, client_id: a });
    }

    #[test]
    fn data_returns(fid: u32, offset: u64, data in vec(any::<u8>(), 0..300)) {
        request_returns(Request::Write { fid, offset, data: &data });
        reply_returns(Reply::Read { data: &data });
        reply_returns(Reply::Readdir { data: &data });
        reply_returns(Reply::Readdirattr { data: &data });
    }

    #[test]
    fn puts_return((off, ops, data) in puts(), wid: u64, known: u64, flags in 0u32..8) {
        let ops = PutOps::new(&ops);
        request_returns(Request::Put { fid: 1, wid, ack: wid, flags, off, into: 2, known, ops, data: &data });
    }

    #[test]
    fn ranges_return(raw in vec((0u64..1 << 62, 0u64..1 << 62), 0..40), epoch: u64, all: bool) {
        request_returns(Request::Trim { snapfid: 4, ranges: Ranges::new(&raw) });
        let changes = if all { Changes::All } else { Changes::new(&raw) };
        let qid = Qid { kind: 0, version: 5, path: epoch };
        reply_returns(Reply::Snap { qid, epoch, count: 9, size: 10, changes });
        reply_returns(Reply::Put { off: 1, count: 2, epoch, assoc: all, changes });
    }

    /// The head apart from its payload is the whole message cut in two.
    #[test]
    fn payloads_travel_apart((off, ops, data) in puts(), offset: u64) {
        let ops = PutOps::new(&ops);
        let put = |data| Request::Put { fid: 1, wid: 2, ack: 3, flags: 1, off, into: 4, known: 5, ops, data };
        let write = |data| Request::Write { fid: 9, offset, data };
        let (mut whole, mut head) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        for (full, empty) in [(put(&data), put(&[])), (write(&data), write(&[]))] {
            let len = encode_request(5, &full, &mut whole).unwrap();
            let start = encode_request_head(5, &empty, data.len(), &mut head).unwrap();
            assert_eq!(&head[..start], &whole[..start]);
            assert_eq!(&data[..], &whole[start..len]);
            assert_eq!(payload_start(&whole[..len]), Some(start));
            assert_eq!(payload_start(&whole[..start]), Some(start));
            assert_eq!(payload_start(&whole[..start - 1]), None);
        }
        let len = encode_reply(5, &Reply::Read { data: &data }, &mut whole).unwrap();
        let start = encode_reply_head(5, &Reply::Read { data: &[] }, data.len(), &mut head).unwrap();
        assert_eq!(&head[..start], &whole[..start]);
        assert_eq!(payload_start(&whole[..len]), Some(start));
    }

    #[test]
    fn fixed_replies_return(a: u64, b: u32) {
        let qid = Qid { kind: consts::qid::DIR, version: b, path: a };
        let attr = Attr { valid: a, qid, mode: b, size: a, mtime_nsec: a, ..Attr::default() };
        reply_returns(Reply::Getattr(attr));
        reply_returns(Reply::Statfs(StatFs { kind: b, bavail: a, ..StatFs::default() }));
        let qids = [qid; 16];
        let qids = Qids::new(&qids);
        reply_returns(Reply::Walk { qids });
        reply_returns(Reply::Walkopen { qids });
        reply_returns(Reply::Walkattr { qids, attr });
        request_returns(Request::Readdirattr { fid: b, dfid: b, offset: a, count: b, mask: a });
        reply_returns(Reply::Session { known: true, lease: b, wmax: b, epoch: a });
        let attr = SetAttr { valid: b, size: a, mtime_nsec: a, ..SetAttr::default() };
        request_returns(Request::Setattr { fid: b, attr });
    }

    /// Any bytes at all, and real messages with bytes changed.
    #[test]
    fn noise_does_no_harm(noise in vec(any::<u8>(), 0..400), kind: u8, at in 0usize..80, byte: u8) {
        let mut msg = vec![0, 0, 0, 0, kind, 1, 0];
        msg.extend(&noise);
        let put = Request::Put {
            fid: 1, wid: 2, ack: 3, flags: 1, off: 4, into: 5, known: 6,
            ops: PutOps::new(&[PutOp { kind: PutKind::Data, off: 0, len: 2 }]), data: b"hi",
        };
        let mut changed = vec![0; 100];
        let len = encode_request(5, &put, &mut changed).unwrap();
        changed.truncate(len);
        changed[at.min(len - 1)] = byte;
        for mut msg in [msg, changed] {
            let size = (msg.len() as u32).to_le_bytes();
            msg[..4].copy_from_slice(&size);
            harmless(&msg);
        }
        harmless(&noise);
        DirEntries::new(&noise).for_each(drop);
        DirAttrs::new(&noise).for_each(drop);
    }
}

/// Decodes, and looks at everything that decoded.
fn harmless(msg: &[u8]) {
    let _ = peek(msg);
    if let Some(start) = payload_start(msg) {
        assert!(start <= msg.len());
    }
    if let Ok((tag, request)) = decode_request(msg) {
        let _ = format!("{request:?}");
        let mut out = vec![0; msg.len()];
        assert_eq!(encode_request(tag, &request, &mut out), Ok(msg.len()));
        assert_eq!(out, msg, "one spelling only");
    }
    if let Ok((tag, reply)) = decode_reply(msg) {
        let _ = format!("{reply:?}");
        let mut out = vec![0; msg.len()];
        assert_eq!(encode_reply(tag, &reply, &mut out), Ok(msg.len()));
    }
}
