//! The server against messages of well-behaved and of hostile clients.

use crate::Computed;
use crate::server::{MSIZE, Server};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use ninep::consts::{NOFID, VERSION_L, VERSION_SNAP, open};
use ninep::{ByteStr, List, Reply, Request};
use proptest::prelude::*;
use rt::Errno;
use rt::abi::PAGE;

const PG: usize = PAGE as usize;

/// The byte of the file at an offset.
fn byte(offset: u64) -> u8 {
    (offset ^ offset >> 12 ^ offset >> 40) as u8 | 1
}

fn fill(offset: u64, page: &mut [u8]) -> Result<(), Errno> {
    assert!(offset.is_multiple_of(PAGE) && page.len() <= PG && !page.is_empty());
    assert!(page.iter().all(|byte| *byte == 0));
    for (at, to) in page.iter_mut().enumerate() {
        *to = byte(offset + at as u64);
    }
    Ok(())
}

/// The reply to a request, its data included.
fn ask<T>(server: &mut Server<'_>, request: &Request<'_>, look: impl FnOnce(Reply<'_>) -> T) -> T {
    let mut message = vec![0; 4096];
    let n = ninep::encode_request(7, request, &mut message).unwrap();
    let answer = server.answer(&message[..n]).concat();
    let (tag, reply) = ninep::decode_reply(&answer).unwrap();
    assert_eq!(tag, 7);
    look(reply)
}

/// The error that a request is answered with; 0 bytes of one that is not.
fn error(server: &mut Server<'_>, request: &Request<'_>) -> Option<Errno> {
    ask(server, request, |reply| match reply {
        Reply::Error(errno) => Some(errno),
        _ => None,
    })
}

const ROOT: u32 = 1;
const FID: u32 = 2;
const SNAP: u32 = 3;

/// Fid 1 is the root, and fid 2 the first file, open.
fn start(server: &mut Server<'_>, name: &str) {
    let version = VERSION_SNAP;
    let (fid, newfid) = (ROOT, FID);
    let names = [ByteStr(name.as_bytes())];
    for request in [
        Request::Version {
            msize: MSIZE,
            version,
        },
        Request::Session { session: [1; 16] },
        Request::Attach {
            fid,
            afid: NOFID,
            uname: ByteStr(b""),
            aname: ByteStr(b""),
            n_uname: 0,
        },
        Request::Walk {
            fid,
            newfid,
            names: List::new(&names),
        },
        Request::Lopen {
            fid: newfid,
            flags: open::RDONLY,
        },
    ] {
        assert_eq!(error(server, &request), None, "{request:?}");
    }
}

fn read(server: &mut Server<'_>, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, Errno> {
    let request = Request::Read { fid, offset, count };
    ask(server, &request, |reply| match reply {
        Reply::Read { data } => Ok(data.to_vec()),
        Reply::Error(errno) => Err(errno),
        other => panic!("{other:?}"),
    })
}

fn snap(off: u64, count: u64, epoch: u64) -> Request<'static> {
    Request::Snap {
        fid: FID,
        snapfid: SNAP,
        off,
        count,
        epoch,
        known: 0,
    }
}

#[test]
fn every_read_gives_the_bytes_of_the_function_up_to_the_end() {
    for size in [0, 1, PAGE - 1, PAGE, 3 * PAGE + 100, u64::MAX - 5, u64::MAX] {
        let mut server = Server::new(vec![Computed::new("f", size, fill)]);
        start(&mut server, "f");
        for offset in [
            0,
            1,
            PAGE - 1,
            2 * PAGE,
            3 * PAGE + 99,
            size / 2,
            size - 1.min(size),
        ] {
            for offset in [offset, size.saturating_sub(offset), u64::MAX - offset] {
                for count in [0, 1, 4095, 4096, 4097, 3 * 4096, MSIZE, u32::MAX] {
                    let got = read(&mut server, FID, offset, count).unwrap();
                    let most = u64::from(count.min(MSIZE - 24));
                    let want = most.min(size.saturating_sub(offset));
                    assert_eq!(got.len() as u64, want, "{size} {offset} {count}");
                    let right = (0..).zip(&got).all(|(at, got)| *got == byte(offset + at));
                    assert!(right, "{size} {offset} {count}");
                }
            }
        }
    }
}

#[test]
fn a_page_that_fails_is_an_error_and_its_neighbours_are_not() {
    let calls = Cell::new(0);
    let fails = |offset, page: &mut [u8]| match offset / PAGE {
        2 => Err(Errno::EDQUOT),
        _ => {
            calls.set(calls.get() + 1);
            fill(offset, page)
        }
    };
    let mut server = Server::new(vec![Computed::new("f", 5 * PAGE, fails)]);
    start(&mut server, "f");
    let page = PAGE as u32;
    assert_eq!(read(&mut server, FID, 0, 5 * page).unwrap().len(), 2 * PG);
    assert_eq!(calls.get(), 2);
    for offset in [2 * PAGE, 2 * PAGE + 1, 3 * PAGE - 1] {
        assert_eq!(read(&mut server, FID, offset, page), Err(Errno::EIO));
    }
    assert_eq!(read(&mut server, FID, 3 * PAGE - 1, 0), Ok(vec![]));
    assert_eq!(
        read(&mut server, FID, 3 * PAGE, 5 * page).unwrap().len(),
        2 * PG
    );
}

#[test]
fn a_snapshot_is_the_file_and_lasts_until_it_is_given_back() {
    let mut server = Server::new(vec![
        Computed::new("f", 1 << 40, fill),
        Computed::new("g", 10, fill),
    ]);
    start(&mut server, "f");
    let count = |server: &mut Server<'_>, request| {
        ask(server, &request, |reply| match reply {
            Reply::Snap {
                count, epoch, size, ..
            } => {
                assert_eq!((epoch, size), (1, 1 << 40));
                Ok(count)
            }
            Reply::Error(errno) => Err(errno),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(
        count(&mut server, snap(5, u64::MAX - 5, 0)),
        Ok((1 << 40) - 5)
    );
    assert_eq!(count(&mut server, snap(1 << 40, 1, 0)), Ok(0));
    assert_eq!(count(&mut server, snap(0, 9, 1)), Ok(9));
    assert_eq!(count(&mut server, snap(0, 9, 2)), Err(Errno::ESTALE));
    assert_eq!(count(&mut server, snap(1 << 40, 1, 1)), Err(Errno::ESTALE));
    let clunk = Request::Clunk { fid: FID };
    assert_eq!(error(&mut server, &clunk), None);
    assert_eq!(read(&mut server, SNAP, 77, 1), Ok(vec![byte(77)]));
    assert_eq!(error(&mut server, &Request::Clunk { fid: SNAP }), None);
    assert_eq!(read(&mut server, SNAP, 77, 1), Err(Errno::EBADF));
}

#[test]
fn a_snapshot_is_of_one_open_file_and_is_no_name() {
    let mut server = Server::new(vec![
        Computed::new("f", 10, fill),
        Computed::new("g", 10, fill),
    ]);
    start(&mut server, "f");
    assert_eq!(error(&mut server, &snap(0, 1, 0)), None);
    let of = |fid, snapfid| Request::Snap {
        fid,
        snapfid,
        off: 0,
        count: 1,
        epoch: 0,
        known: 0,
    };
    let (names, none) = ([ByteStr(b"g")], List::new(&[]));
    let walk = |fid, newfid, names| Request::Walk { fid, newfid, names };
    let to_g = walk(ROOT, 9, List::new(&names));
    assert_eq!(error(&mut server, &to_g), None);
    assert_eq!(
        error(&mut server, &of(9, 20)),
        Some(Errno::EBADF),
        "not open"
    );
    assert_eq!(
        error(&mut server, &Request::Lopen { fid: 9, flags: 0 }),
        None
    );
    assert_eq!(error(&mut server, &of(9, SNAP)), Some(Errno::EINVAL));
    assert_eq!(error(&mut server, &of(9, FID)), Some(Errno::EINVAL));
    assert_eq!(error(&mut server, &of(SNAP, 20)), Some(Errno::EBADF));
    assert_eq!(
        error(&mut server, &walk(SNAP, 20, none)),
        Some(Errno::EBADF)
    );
    assert_eq!(
        error(&mut server, &walk(ROOT, SNAP, none)),
        Some(Errno::EBADF)
    );
    let flags = 0;
    assert_eq!(
        error(&mut server, &Request::Lopen { fid: SNAP, flags }),
        Some(Errno::EBADF)
    );
    let trim = |snapfid| Request::Trim {
        snapfid,
        ranges: List::new(&[(0, 5)]),
    };
    assert_eq!(error(&mut server, &trim(SNAP)), None);
    assert_eq!(error(&mut server, &trim(FID)), Some(Errno::EBADF));
}

#[test]
fn nothing_is_written_and_old_clients_see_no_snapshots() {
    let mut server = Server::new(vec![Computed::new("f", 10, fill)]);
    start(&mut server, "f");
    let (fid, name) = (FID, ByteStr(b"x"));
    let write = Request::Write {
        fid,
        offset: 0,
        data: b"x",
    };
    let mkdir = Request::Mkdir {
        dfid: ROOT,
        name,
        mode: 0,
        gid: 0,
    };
    for request in [write, mkdir, Request::Remove { fid }] {
        assert_eq!(
            error(&mut server, &request),
            Some(Errno::EROFS),
            "{request:?}"
        );
    }
    let version = Request::Version {
        msize: 100,
        version: VERSION_L,
    };
    assert_eq!(error(&mut server, &version), None);
    assert_eq!(read(&mut server, SNAP, 0, 1), Err(Errno::EBADF));
    assert_eq!(error(&mut server, &snap(0, 1, 0)), Some(Errno::EOPNOTSUPP));
}

#[test]
fn fids_are_bounded() {
    let mut server = Server::new(vec![Computed::new("f", 10, fill)]);
    start(&mut server, "f");
    let snapshot = |server: &mut Server<'_>, snapfid| {
        let request = Request::Snap {
            fid: FID,
            snapfid,
            off: 0,
            count: 1,
            epoch: 0,
            known: 0,
        };
        error(server, &request)
    };
    let fid = |server: &mut Server<'_>, newfid| {
        let names = List::new(&[]);
        let fid = FID;
        error(server, &Request::Walk { fid, newfid, names })
    };
    const FIRST: u32 = 10;
    const PART: u32 = 16 * 1024 / 3;
    let made = (FIRST..20_000).find(|snapfid| snapshot(&mut server, *snapfid).is_some());
    assert_eq!(made, Some(FIRST + PART));
    assert_eq!(snapshot(&mut server, FIRST + PART), Some(Errno::EMFILE));
    // Others can still walk and open, and one that is given back may be taken again.
    let given_back = Request::Clunk { fid: FIRST };
    assert_eq!(error(&mut server, &given_back), None);
    assert_eq!(snapshot(&mut server, FIRST), None);
    let last = (20_000..40_000).find(|newfid| fid(&mut server, *newfid).is_some());
    assert_eq!(last, Some(20_000 + 16 * 1024 - PART - 2));
}

proptest! {
    #[test]
    fn any_bytes_are_answered(
        kind in prop_oneof![Just(110), Just(116), Just(202), Just(206), Just(12), any::<u8>()],
        body in proptest::collection::vec(any::<u8>(), 0..80),
        sized in any::<bool>(),
    ) {
        let mut server = Server::new(vec![Computed::new("f", u64::MAX, fill)]);
        start(&mut server, "f");
        let size = if sized { body.len() as u32 + 7 } else { 3 };
        let mut message = size.to_le_bytes().to_vec();
        message.extend([kind, 9, 0]);
        message.extend(body);
        assert_is_reply(&server.answer(&message).concat());
    }

    #[test]
    fn any_read_of_a_known_fid_is_the_function(
        size in any::<u64>(), offset in any::<u64>(), count in 0u32..20_000, near in any::<bool>(),
    ) {
        let mut server = Server::new(vec![Computed::new("f", size, fill)]);
        start(&mut server, "f");
        let offset = if near { size.saturating_sub(offset % 20_000) } else { offset };
        let got = read(&mut server, FID, offset, count).unwrap();
        let want = u64::from(count).min(size.saturating_sub(offset));
        prop_assert_eq!(got.len() as u64, want);
        prop_assert!((0..).zip(&got).all(|(at, got)| *got == byte(offset + at)));
    }
}

/// The answer is a message that decodes, for the request's tag.
fn assert_is_reply(whole: &[u8]) {
    let (size, _, tag) = ninep::peek(whole).unwrap();
    assert_eq!(size as usize, whole.len());
    assert!(ninep::decode_reply(whole).is_ok());
    assert!(tag == 9 || tag == ninep::consts::NOTAG);
}
