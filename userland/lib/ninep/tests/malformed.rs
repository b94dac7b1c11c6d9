//! Each way of being malformed is named.
use dormouse_ninep::consts::*;
use dormouse_ninep::*;

/// A message of these fields with a right header.
fn message(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let fields = fields.concat();
    let mut msg = ((fields.len() + HEADER) as u32).to_le_bytes().to_vec();
    msg.extend([kind, 9, 0]);
    msg.extend(fields);
    msg
}

fn request_fails(kind: u8, fields: &[&[u8]], why: Malformed) {
    assert_eq!(decode_request(&message(kind, fields)), Err(why));
}

const FID: &[u8] = &[1, 0, 0, 0];

#[test]
fn headers() {
    assert_eq!(decode_request(&[]), Err(Malformed::Short));
    assert_eq!(
        decode_request(&[7, 0, 0, 0, TCLUNK, 0]),
        Err(Malformed::Short)
    );
    assert_eq!(
        decode_request(&[6, 0, 0, 0, TCLUNK, 0, 0]),
        Err(Malformed::Short)
    );
    assert_eq!(
        decode_request(&[8, 0, 0, 0, TCLUNK, 0, 0]),
        Err(Malformed::Size)
    );
    assert_eq!(
        decode_request(&[0xff, 0xff, 0xff, 0xff, TREAD, 0, 0]),
        Err(Malformed::Size)
    );
    request_fails(255, &[], Malformed::Kind(255));
    request_fails(TLERROR, &[FID], Malformed::Kind(TLERROR));
    request_fails(RCLUNK, &[], Malformed::Kind(RCLUNK));
}

#[test]
fn lengths() {
    request_fails(TCLUNK, &[&FID[..3]], Malformed::Short);
    request_fails(TCLUNK, &[FID, &[0]], Malformed::Long);
    request_fails(
        TWRITE,
        &[FID, &[0; 8], &[5, 0, 0, 0], b"four"],
        Malformed::Short,
    );
    request_fails(
        TWRITE,
        &[FID, &[0; 8], &[0xff; 4], b"four"],
        Malformed::Short,
    );
    request_fails(
        TWRITE,
        &[FID, &[0; 8], &[3, 0, 0, 0], b"four"],
        Malformed::Long,
    );
}

#[test]
fn strings() {
    request_fails(TMKDIR, &[FID, &[1, 0, 0], &[0; 8]], Malformed::Zero);
    request_fails(
        TMKDIR,
        &[FID, &[0xff, 0xff, b'a'], &[0; 8]],
        Malformed::Short,
    );
}

#[test]
fn lists() {
    request_fails(TWALK, &[FID, FID, &[17, 0], &[0; 34]], Malformed::Count);
    request_fails(TWALK, &[FID, FID, &[2, 0], &[0; 2]], Malformed::Short);
    request_fails(TWALK, &[FID, FID, &[1, 0], &[0; 4]], Malformed::Long);
    request_fails(
        TWALKATTR,
        &[FID, &[0; 8], &[17, 0], &[0; 34]],
        Malformed::Count,
    );
    request_fails(
        TWALKATTR,
        &[FID, &[0; 8], &[2, 0], &[0; 2]],
        Malformed::Short,
    );
    request_fails(TWALKATTR, &[FID, &[0; 8], &[0, 0, 0]], Malformed::Long);
    request_fails(
        TWALKATTR,
        &[FID, &[0; 8], &[1, 0], &[1, 0, 0]],
        Malformed::Zero,
    );
    request_fails(
        TWALKOPEN,
        &[FID, FID, FID, &[17, 0], &[0; 34]],
        Malformed::Count,
    );
    request_fails(
        TWALKOPEN,
        &[FID, FID, FID, &[2, 0], &[0; 2]],
        Malformed::Short,
    );
    request_fails(
        TWALKOPEN,
        &[FID, FID, FID, &[1, 0], &[0xff, 0xff, b'a']],
        Malformed::Short,
    );
    request_fails(TREADDIRATTR, &[FID, FID, &[0; 19]], Malformed::Short);
    request_fails(TREADDIRATTR, &[FID, FID, &[0; 21]], Malformed::Long);
    request_fails(TTRIM, &[FID, &[1, 0], &[0xff; 16]], Malformed::Range);
    request_fails(TTRIM, &[FID, &[0xff, 0xff]], Malformed::Count);
}

#[test]
fn snaps() {
    let fields: [&[u8]; 5] = [FID, FID, &[0xff; 8], &[1, 0, 0, 0, 0, 0, 0, 0], &[0; 16]];
    request_fails(TSNAP, &fields, Malformed::Range);
}

/// A put with these operations; `why` it must not pass.
fn put_fails(off: u64, ops: &[PutOp], data: &[u8], why: Malformed) {
    let ops = PutOps::new(ops);
    let put = Request::Put {
        fid: 1,
        wid: 2,
        ack: 3,
        flags: 1,
        off,
        into: NOFID,
        known: 0,
        ops,
        data,
    };
    let mut out = [0; 512];
    let len = encode_request(1, &put, &mut out).unwrap();
    assert_eq!(decode_request(&out[..len]), Err(why));
    assert_eq!(payload_start(&out[..len]), None);
}

#[test]
fn puts() {
    let op = |kind, off, len| PutOp { kind, off, len };
    let zero = |off, len| op(PutKind::Zero, off, len);
    put_fails(0, &[zero(4, 4), zero(7, 1)], b"", Malformed::Order);
    put_fails(0, &[zero(4, 4), zero(0, 1)], b"", Malformed::Order);
    put_fails(0, &[zero(4, 0)], b"", Malformed::Range);
    put_fails(0, &[zero(u64::MAX, 1)], b"", Malformed::Range);
    put_fails(u64::MAX - 7, &[zero(4, 4)], b"", Malformed::Range);
    put_fails(
        0,
        &[op(
            PutKind::Keep {
                snapfid: 1,
                soff: u64::MAX,
            },
            0,
            1,
        )],
        b"",
        Malformed::Range,
    );
    put_fails(0, &[op(PutKind::Data, 0, 3)], b"hi", Malformed::Data);
    put_fails(0, &[zero(0, 2)], b"hi", Malformed::Data);
    put_fails(0, &[], b"hi", Malformed::Data);
    let huge = op(PutKind::Data, 0, u64::MAX);
    put_fails(0, &[huge], b"hi", Malformed::Data);
}

#[test]
fn flags_of_a_put() {
    let (ops, data, into) = (PutOps::default(), &[][..], NOFID);
    let put = Request::Put {
        fid: 1,
        wid: 2,
        ack: 3,
        flags: 8,
        off: 0,
        into,
        known: 0,
        ops,
        data,
    };
    let mut out = [0; 512];
    let len = encode_request(1, &put, &mut out).unwrap();
    assert_eq!(decode_request(&out[..len]), Err(Malformed::Value));
}

#[test]
fn replies() {
    let session = message(RSESSION, &[&[2], &[0; 16]]);
    assert_eq!(decode_reply(&session), Err(Malformed::Value));
    let error = message(RLERROR, &[&[0; 4]]);
    assert_eq!(decode_reply(&error), Ok((9, Reply::Error(abi::Errno::EIO))));
    let walked = message(RWALKATTR, &[&[0, 0], &[0; 152]]);
    assert_eq!(decode_reply(&walked), Err(Malformed::Short));
    let walked = message(RWALKATTR, &[&[0, 0], &[0; 154]]);
    assert_eq!(decode_reply(&walked), Err(Malformed::Long));
    let walked = message(RWALKOPEN, &[&[17, 0], &[0; 17 * 13]]);
    assert_eq!(decode_reply(&walked), Err(Malformed::Count));
    let list = message(RREADDIRATTR, &[&[3, 0, 0, 0], b"four"]);
    assert_eq!(decode_reply(&list), Err(Malformed::Long));
    assert_eq!(payload_start(&list), None);
    let read = message(RREAD, &[&[5, 0, 0, 0], b"four"]);
    assert_eq!(decode_reply(&read), Err(Malformed::Short));
    assert_eq!(payload_start(&read), None);
}

#[test]
fn lists_too_long_to_send() {
    let mut out = vec![0; 1 << 21];
    let walk = Request::Walk {
        fid: 1,
        newfid: 2,
        names: Names::new(&[ByteStr(b"a"); 17]),
    };
    assert_eq!(encode_request(1, &walk, &mut out), Err(TooSmall));
    let ranges = vec![(0, 1); 0xffff];
    let trim = Request::Trim {
        snapfid: 1,
        ranges: Ranges::new(&ranges),
    };
    assert_eq!(encode_request(1, &trim, &mut out), Err(TooSmall));
    let name = "n".repeat(0x10000);
    assert_eq!(
        encode_request(
            1,
            &Request::Version {
                msize: 1,
                version: (&name).into()
            },
            &mut out
        ),
        Err(TooSmall)
    );
}

#[test]
fn directories_end_at_the_first_bad_entry() {
    let entry = DirEntry {
        qid: Qid::default(),
        offset: 1,
        kind: 8,
        name: ByteStr(b"\xff odd"),
    };
    let mut out = [0; 64];
    let len = entry.encode(&mut out).unwrap();
    assert_eq!(len, entry.wire_len());
    let listed: Vec<_> = DirEntries::new(&out[..len + 3]).collect();
    assert_eq!(listed, [Ok(entry), Err(Malformed::Short)]);
    assert_eq!(entry.encode(&mut out[..len - 1]), Err(TooSmall));
    let attr = Attr {
        valid: 1,
        size: 7,
        ..Attr::default()
    };
    let mut out = [0; 256];
    let len = entry.encode_with(&attr, &mut out).unwrap();
    assert_eq!(len, entry.wire_len() + Attr::WIRE_LEN);
    let listed: Vec<_> = DirAttrs::new(&out[..len + 30]).collect();
    assert_eq!(listed, [Ok((entry, attr)), Err(Malformed::Short)]);
    let cut: Vec<_> = DirAttrs::new(&out[..len - 1]).collect();
    assert_eq!(cut, [Err(Malformed::Short)]);
    let short = entry.encode_with(&attr, &mut out[..len - 1]);
    assert_eq!(short, Err(TooSmall));
}
