//! Files, blocks and a full device, step by step.

mod common;

use abi::Errno;
use common::{Disk, LEN, Outcome, ROOT, page};
use dormouse_swaptree::{Answer, PAGE, PAGES_MAX};
use ninep::consts::setattr;
use ninep::{Reply, Request, SetAttr};

#[test]
fn a_page_is_read_as_it_was_written_and_others_are_zeros() {
    let mut disk = Disk::new(64);
    disk.create(2, "a").unwrap();
    let far = (1 << 44) / PAGE;
    disk.write(2, far, &[page(1), page(2)].concat()).unwrap();
    disk.write(2, 0, &page(3)).unwrap();
    assert_eq!(disk.read(2, far, 2).unwrap(), [page(1), page(2)].concat());
    assert_eq!(
        disk.read(2, far - 1, 2).unwrap(),
        [page(0), page(1)].concat()
    );
    assert_eq!(disk.read(2, 0, 2).unwrap(), [page(3), page(0)].concat());
    assert_eq!(disk.read(2, far + 2, 1).unwrap(), []);
    assert_eq!(disk.free(), 64 - 3);
}

#[test]
fn zeros_take_no_block_and_give_back_that_of_their_page() {
    let mut disk = Disk::new(8);
    disk.create(2, "a").unwrap();
    assert_eq!(disk.write(2, 0, &page(7).repeat(8)), Ok(8));
    assert_eq!(disk.free(), 0);
    assert_eq!(disk.write(2, 2, &page(0).repeat(3)), Ok(3));
    assert_eq!(disk.free(), 3);
    let expected = [page(7), page(0).repeat(3), page(7)].concat();
    assert_eq!(disk.read(2, 1, 5).unwrap(), expected);
    // Zeros need no block on a full device either.
    assert_eq!(disk.write(2, 1 << 20, &page(0)), Ok(1));
    assert_eq!(disk.free(), 3);
}

#[test]
fn a_cut_gives_back_the_blocks_beyond_it() {
    let mut disk = Disk::new(8);
    disk.create(2, "a").unwrap();
    disk.write(2, 0, &page(7).repeat(8)).unwrap();
    let cut = |size| Request::Setattr {
        fid: 2,
        attr: SetAttr {
            valid: setattr::SIZE,
            size,
            ..SetAttr::default()
        },
    };
    disk.now(0, &cut(3 * PAGE)).unwrap();
    assert_eq!((disk.free(), disk.read(2, 2, 4).unwrap()), (5, page(7)));
    disk.now(0, &cut(8 * PAGE)).unwrap();
    let expected = [page(7), page(0).repeat(5)].concat();
    assert_eq!(disk.read(2, 2, 8).unwrap(), expected);
    assert_eq!(disk.now(0, &cut(1)).unwrap_err(), Errno::EINVAL);
    assert_eq!(
        disk.now(0, &cut(u64::MAX - 4095)).unwrap_err(),
        Errno::EFBIG
    );
}

#[test]
fn a_full_device_takes_what_fits_and_says_so() {
    let mut disk = Disk::new(5);
    disk.create(2, "a").unwrap();
    assert_eq!(disk.write(2, 10, &page(1).repeat(3)), Ok(3));
    assert_eq!(disk.write(2, 20, &page(2).repeat(4)), Ok(2));
    assert_eq!(disk.write(2, 30, &page(3)), Err(Errno::ENOSPC));
    // A page that has a block needs no other one.
    assert_eq!(disk.write(2, 10, &page(4)), Ok(1));
    let expected = [page(2).repeat(2)].concat();
    assert_eq!(disk.read(2, 20, 4).unwrap(), expected);
    disk.create(3, "b").unwrap();
    assert_eq!(disk.write(3, 0, &page(5)), Err(Errno::ENOSPC));
    disk.unlink("a").unwrap();
    disk.clunk(2);
    assert_eq!(disk.write(3, 0, &page(5)), Ok(1));
    assert_eq!(disk.free(), 4);
}

#[test]
fn a_removed_file_lives_until_its_last_fid_is_gone() {
    let mut disk = Disk::new(8);
    disk.create(2, "a").unwrap();
    disk.write(2, 0, &page(1)).unwrap();
    disk.unlink("a").unwrap();
    assert_eq!(disk.unlink("a"), Err(Errno::ENOENT));
    // The name is free for another file.
    disk.create(3, "a").unwrap();
    assert_eq!(disk.create(4, "a"), Err(Errno::EEXIST));
    disk.write(2, 1, &page(2)).unwrap();
    assert_eq!(disk.read(2, 0, 2).unwrap(), [page(1), page(2)].concat());
    assert_eq!(disk.read(3, 0, 2).unwrap(), []);
    disk.clunk(2);
    assert_eq!(disk.free(), 8);
}

#[test]
fn the_blocks_of_a_file_that_goes_during_a_transfer_stay_until_its_end() {
    let mut disk = Disk::new(2);
    disk.create(2, "a").unwrap();
    disk.unlink("a").unwrap();
    let data = &page(1).repeat(2);
    let write = |fid| Request::Write {
        fid,
        offset: 0,
        data,
    };
    let Ok(Outcome::Begun) = disk.request(1, &write(2)) else {
        panic!("not begun");
    };
    disk.clunk(2);
    assert_eq!(disk.free(), 0);
    disk.create(3, "b").unwrap();
    assert_eq!(disk.now(2, &write(3)).unwrap_err(), Errno::ENOSPC);
    disk.finish(0, Ok(()));
    assert_eq!(disk.free(), 2);
}

#[test]
fn a_write_that_fails_gives_its_fresh_blocks_back() {
    let mut disk = Disk::new(8);
    disk.create(2, "a").unwrap();
    disk.write(2, 1, &page(1)).unwrap();
    let data = &page(2).repeat(3);
    let write = Request::Write {
        fid: 2,
        offset: 2 * PAGE,
        data,
    };
    disk.request(1, &write).unwrap();
    let (tag, answer, _) = disk.finish(0, Err(Errno::EIO));
    assert!(matches!(answer, Answer::Reply(Reply::Error(Errno::EIO))));
    assert_eq!((tag, disk.free()), (1, 7));
    assert_eq!(disk.read(2, 1, 3).unwrap(), page(1));
}

#[test]
fn a_request_waits_for_one_on_the_same_pages() {
    let mut disk = Disk::new(8);
    disk.create(2, "a").unwrap();
    disk.create(3, "b").unwrap();
    disk.write(2, 0, &page(9).repeat(8)).unwrap();
    let data = &page(1).repeat(2);
    let write = |fid, offset| Request::Write { fid, offset, data };
    let read = |fid, offset| Request::Read {
        fid,
        offset,
        count: PAGE as u32,
    };
    disk.request(1, &write(2, 2 * PAGE)).unwrap();
    let mut blocked = |request: Request<'_>| {
        let outcome = disk.request(2, &request).unwrap();
        let blocked = matches!(outcome, Outcome::Blocked);
        if matches!(outcome, Outcome::Begun) {
            disk.finish(1, Ok(()));
        }
        blocked
    };
    assert!(blocked(read(2, 3 * PAGE)));
    assert!(blocked(write(2, PAGE)));
    assert!(!blocked(read(2, PAGE)));
    assert!(!blocked(read(2, 4 * PAGE)));
    assert!(!blocked(read(3, 2 * PAGE)));
    assert!(blocked(Request::Flush { oldtag: 1 }));
    assert!(!blocked(Request::Flush { oldtag: 7 }));
    disk.finish(0, Ok(()));
    assert_eq!(disk.read(2, 3, 1).unwrap(), page(1));
}

#[test]
fn what_is_not_whole_pages_is_refused() {
    let mut disk = Disk::new(8);
    disk.create(2, "a").unwrap();
    disk.write(2, 0, &page(1).repeat(4)).unwrap();
    let mut refused = |offset, len: usize| {
        let data = &vec![1; len];
        let count = len as u32;
        let read = disk.now(
            0,
            &Request::Read {
                fid: 2,
                offset,
                count,
            },
        );
        let write = disk.now(
            0,
            &Request::Write {
                fid: 2,
                offset,
                data,
            },
        );
        (read.is_err(), write.is_err())
    };
    assert_eq!(refused(0, LEN), (false, false));
    assert_eq!(refused(1, LEN), (true, true));
    // A read is cut to whole pages.
    assert_eq!(refused(0, LEN + 1), (false, true));
    assert_eq!(refused(0, 1), (true, true));
    assert_eq!(refused(0, (PAGES_MAX + 1) * LEN), (false, true));
    assert_eq!(refused(i64::MAX as u64 - 4095, LEN), (false, true));
    assert_eq!(refused(0, 0), (true, false));
    assert_eq!(disk.free(), 4);
}

#[test]
fn the_directory_lists_names_and_nothing_else_is_in_it() {
    let mut disk = Disk::new(8);
    disk.create(2, "a").unwrap();
    disk.create(3, "b").unwrap();
    disk.unlink("a").unwrap();
    let open = Request::Lopen {
        fid: ROOT,
        flags: 0,
    };
    disk.now(0, &open).unwrap();
    let mut list = [0; 8192];
    let mut names = Vec::new();
    let mut offset = 0;
    loop {
        let readdir = Request::Readdir {
            fid: ROOT,
            offset,
            count: 8192,
        };
        let step = disk.tree.request(0, &readdir, &mut list).unwrap();
        let dormouse_swaptree::Step::Answer(Answer::List(len)) = step else {
            panic!("{step:?}");
        };
        for entry in ninep::DirEntries::new(&list[..len]) {
            let entry = entry.unwrap();
            names.push(entry.name.to_owned());
            offset = entry.offset;
        }
        if len == 0 {
            break;
        }
    }
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].as_byte_str().bytes(), b"b");
}

#[test]
fn blocks_that_became_free_are_discarded_and_used_by_nobody_meanwhile() {
    const BLOCKS: u64 = 400;
    let mut disk = Disk::new(BLOCKS as u32);
    let fill = |disk: &mut Disk, fid, pages: u64| {
        for at in (0..pages).step_by(20) {
            assert_eq!(disk.write(fid, at, &page(7).repeat(20)), Ok(20));
        }
    };
    disk.create(2, "a").unwrap();
    disk.create(3, "b").unwrap();
    fill(&mut disk, 2, 240);
    fill(&mut disk, 3, 160);
    disk.unlink("a").unwrap();
    disk.clunk(2);
    assert_eq!(disk.tree.next_discard(100), None, "it is not worth it");
    disk.write(3, 0, &page(0).repeat(16)).unwrap();
    let mut under = Vec::new();
    while let Some(blocks) = disk.tree.next_discard(100) {
        assert!(blocks.len() <= 100);
        for block in blocks.clone() {
            disk.blocks[block as usize] = page(0);
        }
        under.push(blocks);
    }
    let all: usize = under.iter().map(ExactSizeIterator::len).sum();
    assert_eq!((all, disk.free()), (256, 0));
    // A write waits for blocks that are about to be free.
    let data = page(9);
    let write = Request::Write {
        fid: 3,
        offset: 1000 * PAGE,
        data: &data,
    };
    assert!(matches!(disk.request(1, &write), Ok(Outcome::Blocked)));
    for blocks in under {
        disk.tree.discarded(blocks);
    }
    assert_eq!(disk.write(3, 1000, &data), Ok(1));
    assert_eq!(disk.free(), 255);
    assert_eq!(disk.tree.next_discard(100), None, "there are no more");
    assert_eq!(disk.read(3, 16, 20).unwrap(), page(7).repeat(20));
}
