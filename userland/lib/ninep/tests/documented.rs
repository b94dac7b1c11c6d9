//! The codec reads and writes the examples of docs/protocol.md.
use dormouse_ninep::*;

const PAGE: &str = include_str!("../../../../docs/protocol.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that the page gives for `name`.
fn documented(name: &str) -> Vec<u8> {
    let start = format!("{name}: ");
    let line = PAGE.lines().find_map(|line| line.strip_prefix(&start));
    let digits: Vec<u8> = line
        .unwrap_or_else(|| panic!("no example of {name} in docs/protocol.md"))
        .bytes()
        .filter(|byte| *byte != b' ')
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn request(name: &str, request: Request<'_>) {
    let mut out = [0; 256];
    let len = encode_request(3, &request, &mut out).unwrap();
    assert_eq!(hex(&out[..len]), hex(&documented(name)), "{name}");
    assert_eq!(decode_request(&documented(name)), Ok((3, request)));
}

fn reply(name: &str, reply: Reply<'_>) {
    let mut out = [0; 256];
    let len = encode_reply(3, &reply, &mut out).unwrap();
    assert_eq!(hex(&out[..len]), hex(&documented(name)), "{name}");
    assert_eq!(decode_reply(&documented(name)), Ok((3, reply)));
}

#[test]
fn session() {
    let session = core::array::from_fn(|i| i as u8);
    request("Tsession", Request::Session { session });
    let (lease, wmax, epoch) = (0, 8 << 20, 41);
    reply(
        "Rsession",
        Reply::Session {
            known: false,
            lease,
            wmax,
            epoch,
        },
    );
}

#[test]
fn snap() {
    let (off, count) = (0, 1 << 30);
    request(
        "Tsnap",
        Request::Snap {
            fid: 5,
            snapfid: 9,
            off,
            count,
            epoch: 0,
            known: 0,
        },
    );
    let qid = Qid {
        kind: consts::qid::FILE,
        version: 1,
        path: 0x77,
    };
    reply(
        "Rsnap",
        Reply::Snap {
            qid,
            epoch: 41,
            count,
            size: count,
            changes: Changes::NONE,
        },
    );
}

#[test]
fn put() {
    let ops = [
        PutOp {
            kind: PutKind::Data,
            off: 0,
            len: 2,
        },
        PutOp {
            kind: PutKind::Keep {
                snapfid: 9,
                soff: 4098,
            },
            off: 2,
            len: 4094,
        },
        PutOp {
            kind: PutKind::Zero,
            off: 4096,
            len: 4096,
        },
    ];
    let put = Request::Put {
        fid: 5,
        wid: 7,
        ack: 7,
        flags: consts::put::COMMIT,
        off: 4096,
        into: 9,
        known: 41,
        ops: PutOps::new(&ops),
        data: b"hi",
    };
    request("Tput", put);
    let changes = Changes::new(&[(4096, 2)]);
    reply(
        "Rput",
        Reply::Put {
            off: 4096,
            count: 8192,
            epoch: 42,
            assoc: true,
            changes,
        },
    );
}

#[test]
fn trim() {
    request(
        "Ttrim",
        Request::Trim {
            snapfid: 9,
            ranges: Ranges::new(&[(0, 4096)]),
        },
    );
    reply("Rtrim", Reply::Trim);
}
