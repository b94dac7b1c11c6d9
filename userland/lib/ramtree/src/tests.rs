use crate::*;
use abi::Errno;

const LIMIT: u64 = 1 << 20;

#[test]
fn a_file_is_sparse_and_its_limit_is_kept() {
    let mut tree = Tree::new(LIMIT);
    let file = tree.create(ROOT, b"a", 0o644).unwrap();
    let (_, used) = tree.space();
    let size = Some(1 << 40);
    let change = Change {
        size,
        ..Change::default()
    };
    tree.change(file, &change).unwrap();
    assert_eq!(tree.space().1, used);
    assert_eq!(tree.write(file, Some((1 << 39) - 2), b"abcd"), Ok(4));
    assert_eq!(tree.facts(file).unwrap().pages, 2);
    let mut bytes = [9; 6];
    assert_eq!(tree.read(file, (1 << 39) - 3, &mut bytes), Ok(6));
    assert_eq!(&bytes, b"\0abcd\0");
    assert_eq!(tree.read(file, 1 << 40, &mut bytes), Ok(0));
    let much = std::vec![1; LIMIT as usize];
    let written = tree.write(file, Some(0), &much).unwrap();
    assert!(written < much.len() && written > much.len() / 2);
    assert_eq!(tree.write(file, Some(1 << 30), b"x"), Err(Errno::ENOSPC));
    assert_eq!(tree.write(file, Some(u64::MAX), b"x"), Err(Errno::EFBIG));
    tree.unlink(ROOT, b"a", false).unwrap();
    assert_eq!(tree.space().1, 0);
    assert!(tree.is_empty());
}

#[test]
fn a_write_of_nothing_changes_nothing() {
    let mut tree = Tree::new(LIMIT);
    let file = tree.create(ROOT, b"a", 0o644).unwrap();
    tree.write(file, Some(0), b"some").unwrap();
    let before = tree.facts(file).unwrap();
    tree.set_time(1_000_000);
    for offset in [None, Some(0), Some(1 << 40), Some(u64::MAX)] {
        assert_eq!(tree.write(file, offset, b""), Ok(0));
    }
    assert_eq!(tree.facts(file), Ok(before));
    assert_eq!(tree.write(ROOT, Some(0), b""), Err(Errno::EISDIR));
}

#[test]
fn what_is_cut_off_does_not_come_back() {
    let mut tree = Tree::new(LIMIT);
    let file = tree.create(ROOT, b"a", 0o644).unwrap();
    tree.write(file, Some(0), &[7; 10_000]).unwrap();
    for size in [5000, 10_000] {
        let size = Some(size);
        let change = Change {
            size,
            ..Change::default()
        };
        tree.change(file, &change).unwrap();
    }
    let mut bytes = [1; 10_000];
    assert_eq!(tree.read(file, 0, &mut bytes), Ok(10_000));
    assert!(bytes[..5000].iter().all(|b| *b == 7) && bytes[5000..].iter().all(|b| *b == 0));
}

#[test]
fn names_move_and_go() {
    let mut tree = Tree::new(LIMIT);
    let one = tree.mkdir(ROOT, b"one", 0o755).unwrap();
    let two = tree.mkdir(one, b"two", 0o755).unwrap();
    let file = tree.create(two, b"file", 0o644).unwrap();
    assert_eq!(tree.rename(ROOT, b"one", two, b"x"), Err(Errno::EINVAL));
    assert_eq!(tree.rename(ROOT, b"one", one, b"x"), Err(Errno::EINVAL));
    assert_eq!(tree.unlink(ROOT, b"one", true), Err(Errno::ENOTEMPTY));
    assert_eq!(tree.unlink(ROOT, b"one", false), Err(Errno::EISDIR));
    assert_eq!(tree.unlink(two, b"file", true), Err(Errno::ENOTDIR));
    assert_eq!(tree.create(two, b"file", 0), Err(Errno::EEXIST));
    assert_eq!(tree.walk(file, b"x"), Err(Errno::ENOTDIR));
    tree.link(ROOT, b"link", file).unwrap();
    assert_eq!(tree.facts(file).unwrap().names, 2);
    // Another name of the same file: no effect.
    tree.rename(two, b"file", ROOT, b"link").unwrap();
    let other = tree.create(ROOT, b"other", 0o644).unwrap();
    tree.hold(other);
    tree.rename(two, b"file", ROOT, b"other").unwrap();
    assert_eq!(tree.walk(ROOT, b"other"), Ok(file));
    assert_eq!(tree.facts(other).unwrap().names, 0);
    assert_eq!(tree.write(other, None, b"still"), Ok(5));
    tree.release(other);
    assert_eq!(tree.facts(other), Err(Errno::ENOENT));
    tree.rename(one, b"two", ROOT, b"two").unwrap();
    assert_eq!(tree.walk(two, b".."), Ok(ROOT));
    // Into a removed directory.
    tree.hold(two);
    tree.unlink(ROOT, b"two", true).unwrap();
    assert_eq!(tree.create(two, b"x", 0), Err(Errno::ENOENT));
    assert_eq!(tree.rename(ROOT, b"link", two, b"x"), Err(Errno::ENOENT));
    tree.release(two);
    for (name, directory) in [
        (&b"one"[..], true),
        (&b"link"[..], false),
        (&b"other"[..], false),
    ] {
        tree.unlink(ROOT, name, directory).unwrap();
    }
    assert_eq!(tree.space().1, 0);
}

#[test]
fn reading_on_survives_removals() {
    let mut tree = Tree::new(LIMIT);
    for name in [b"a", b"b", b"c", b"d"] {
        tree.create(ROOT, name, 0o644).unwrap();
    }
    let (at, name, _) = tree.entries(ROOT, 0).unwrap().nth(1).unwrap();
    assert_eq!(name, b"b");
    tree.unlink(ROOT, b"b", false).unwrap();
    tree.unlink(ROOT, b"c", false).unwrap();
    let rest: std::vec::Vec<_> = tree.entries(ROOT, at).unwrap().map(|e| e.1).collect();
    assert_eq!(rest, [b"d"]);
    assert_eq!(tree.entries(ROOT, u64::MAX).unwrap().count(), 0);
}

#[test]
fn links_are_names_with_a_text_and_count_for_it() {
    let mut tree = Tree::new(LIMIT);
    let link = tree.symlink(ROOT, b"l", b"\xff/..").unwrap();
    let facts = tree.facts(link).unwrap();
    assert!(facts.link && !facts.directory && facts.size == 4 && facts.mode == 0o777);
    assert_eq!(tree.read_link(link), Ok(&b"\xff/.."[..]));
    assert_eq!(tree.read_link(ROOT), Err(Errno::EINVAL));
    assert_eq!(tree.walk(link, b"x"), Err(Errno::ENOTDIR));
    assert_eq!(tree.read(link, 0, &mut [0]), Err(Errno::ELOOP));
    assert_eq!(tree.write(link, None, b"x"), Err(Errno::ELOOP));
    assert_eq!(tree.symlink(ROOT, b"l", b"x"), Err(Errno::EEXIST));
    assert_eq!(tree.symlink(ROOT, b"m", b""), Err(Errno::ENOENT));
    let long = std::vec![b'x'; LINK_MAX + 1];
    assert_eq!(tree.symlink(ROOT, b"m", &long), Err(Errno::ENAMETOOLONG));
    tree.symlink(ROOT, b"m", &long[1..]).unwrap();
    tree.link(ROOT, b"l2", link).unwrap();
    tree.rename(ROOT, b"l", ROOT, b"m").unwrap();
    tree.unlink(ROOT, b"m", false).unwrap();
    assert_eq!(tree.unlink(ROOT, b"l2", true), Err(Errno::ENOTDIR));
    tree.unlink(ROOT, b"l2", false).unwrap();
    assert_eq!(tree.space().1, 0);
    let mut full = Tree::new(1000);
    assert_eq!(full.symlink(ROOT, b"l", &long[1..]), Err(Errno::ENOSPC));
    assert_eq!(full.space().1, 0);
}
