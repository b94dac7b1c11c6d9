//! Ways end where the host's own paths do, and never leave their tree.

#![allow(clippy::disallowed_methods, reason = "not in the kernel")]

#[path = "../../../tests/seeded.rs"]
mod seeded;

use abi::Errno;
use dormouse_names::{LINKS_MAX, Last, Walked, Way};
use proptest::prelude::*;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A server: walks the names of a way below `root` until there is a link.
fn walk(root: &Path, way: &Way, text: &mut Vec<u8>) -> Result<Walked<'static>, Errno> {
    let path = way.names()?.to_vec();
    let names: Vec<&[u8]> = path
        .split(|b| *b == b'/')
        .filter(|n| !n.is_empty())
        .collect();
    let mut at = root.to_path_buf();
    for (index, name) in names.iter().enumerate() {
        if !at.is_dir() {
            return Ok(Walked::Stopped(index, Errno::ENOTDIR));
        }
        if *name == b".." {
            assert_ne!(at, root, "out of the tree");
            at.pop();
            continue;
        }
        at.push(std::ffi::OsStr::from_bytes(name));
        let Ok(found) = at.symlink_metadata() else {
            return Ok(Walked::Stopped(index, Errno::ENOENT));
        };
        if found.is_symlink() && (index + 1 < names.len() || way.last() == Last::Follow) {
            let full = fs::read_link(&at).unwrap();
            // Absolute links are from the root of the tree.
            let inside = full
                .strip_prefix(root)
                .map(|inside| Path::new("/").join(inside));
            *text = inside.unwrap_or(full).as_os_str().as_bytes().to_vec();
            return Ok(Walked::Link(index, &[]));
        }
    }
    Ok(Walked::There)
}

/// Where the way ends, and whether `a/..` was taken for nothing although `a` is
/// nothing, which hosts refuse.
fn end(root: &Path, path: &str, last: Last) -> (Result<PathBuf, Errno>, bool) {
    let mut lenient = false;
    let ended = Way::new(path.as_bytes(), last).and_then(|mut way| {
        let mut text = Vec::new();
        loop {
            let walked = match walk(root, &way, &mut text)? {
                Walked::Link(index, _) => Walked::Link(index, &text),
                other => other,
            };
            let done = way.walked(walked)?;
            lenient |= matches!(walked, Walked::Stopped(..));
            if done {
                let end = way.end()?;
                return Ok(root.join(std::ffi::OsStr::from_bytes(&end)));
            }
        }
    });
    (ended, lenient)
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().canonicalize().unwrap().join("tree");
    fs::create_dir(&root).unwrap();
    (scratch, root)
}

#[track_caller]
fn leads(root: &Path, path: &str, to: Result<&str, Errno>) {
    let (end, _) = end(root, path, Last::Follow);
    assert_eq!(end, to.map(|to| root.join(to)), "{path}");
}

#[test]
fn links_lead_where_they_say() {
    let (_scratch, root) = scratch();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/f"), "f").unwrap();
    for (text, name) in [
        ("a/f", "file"),
        ("a", "dir"),
        ("../f", "a/b/up"),
        ("..", "a/b/parent"),
        ("dir/b", "chain"),
        ("loop", "loop"),
        ("nothing", "dangling"),
        ("../outside", "out"),
        ("a/../../outside", "out2"),
        ("dir/b/../../../outside", "out3"),
        (".", "here"),
    ] {
        symlink(text, root.join(name)).unwrap();
    }
    leads(&root, "file", Ok("a/f"));
    leads(&root, "dir/f", Ok("a/f"));
    leads(&root, "dir/b/up", Ok("a/f"));
    leads(&root, "dir/b/parent/f", Ok("a/f"));
    // `..` is the parent of a link's target.
    leads(&root, "chain/..", Ok("a"));
    leads(&root, "chain/../f", Ok("a/f"));
    leads(&root, "here/here/here/file", Ok("a/f"));
    leads(&root, "loop", Err(Errno::ELOOP));
    leads(&root, "loop/x", Err(Errno::ELOOP));
    leads(&root, "dangling", Err(Errno::ENOENT));
    leads(&root, "file/x", Err(Errno::ENOTDIR));
    leads(&root, "out", Err(Errno::EXDEV));
    leads(&root, "out2", Err(Errno::EXDEV));
    leads(&root, "out3", Err(Errno::EXDEV));
    leads(&root, "chain/../../../outside", Err(Errno::EXDEV));
    // A missing name with a `..` after it does not count; a link does.
    leads(&root, "missing/../file", Ok("a/f"));
    leads(&root, "a/f/../f", Ok("a/f"));
    leads(&root, "missing/x/../../chain/../f", Ok("a/f"));
    let (kept, _) = end(&root, "dir", Last::Keep);
    assert_eq!(kept, Ok(root.join("dir")));
    let (missing, _) = end(&root, "dir/file", Last::Keep);
    assert_eq!(missing, Err(Errno::ENOENT));
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let (_scratch, root) = scratch();
    fs::write(root.join("0"), "").unwrap();
    for n in 1..=LINKS_MAX + 1 {
        symlink((n - 1).to_string(), root.join(n.to_string())).unwrap();
    }
    leads(&root, &LINKS_MAX.to_string(), Ok("0"));
    leads(&root, &(LINKS_MAX + 1).to_string(), Err(Errno::ELOOP));
}

#[test]
fn texts_that_lead_nowhere_are_refused() {
    let mut way = Way::new(b"a/l", Last::Follow).unwrap();
    assert_eq!(way.walked(Walked::Link(1, b"")), Err(Errno::ENOENT));
    let mut way = Way::new(b"a/l", Last::Follow).unwrap();
    assert_eq!(way.walked(Walked::Link(1, b"a\0b")), Err(Errno::EINVAL));
    let long = vec![b'n'; abi::PATH_MAX];
    let mut way = Way::new(b"a/l", Last::Follow).unwrap();
    assert_eq!(way.walked(Walked::Link(1, &long)), Err(Errno::ENAMETOOLONG));
    let mut way = Way::new(b"a/l/x", Last::Follow).unwrap();
    assert_eq!(way.walked(Walked::Link(1, b"\xff//./")), Ok(false));
    assert_eq!(way.names(), Ok(&b"a/\xff/x"[..]));
}

#[derive(Clone, Debug)]
enum Made {
    File(String),
    Dir(String),
    Link(String, String),
}

fn path(most: usize) -> impl Strategy<Value = String> {
    let name = prop_oneof![
        5 => prop::sample::select(vec!["a", "b", "c"]),
        2 => Just(".."),
        1 => Just("."),
    ];
    // Not at the end: `file/.` is the file here, and an error on hosts.
    let end = prop::sample::select(vec!["a", "b", "c", ".."]);
    (prop::collection::vec(name, 0..most), end).prop_map(|(mut names, end)| {
        names.push(end);
        names.join("/")
    })
}

fn plain(most: usize) -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    prop::collection::vec(name, 1..=most).prop_map(|names| names.join("/"))
}

fn made() -> impl Strategy<Value = Made> {
    prop_oneof![
        1 => plain(3).prop_map(Made::File),
        2 => plain(3).prop_map(Made::Dir),
        3 => (plain(3), path(4)).prop_map(|(at, text)| Made::Link(at, text)),
        1 => (plain(3), plain(3)).prop_map(|(at, text)| Made::Link(at, format!("/{text}"))),
    ]
}

proptest! {
    #![proptest_config(seeded::config(400))]

    #[test]
    fn ways_end_where_the_hosts_do(
        all in prop::collection::vec(made(), 0..14),
        paths in prop::collection::vec(path(5), 8),
    ) {
        let (_scratch, root) = scratch();
        for made in &all {
            // A name that is in the way of another is left out in both trees.
            let _ = match made {
                Made::File(at) => fs::write(root.join(at), "").map_err(drop),
                Made::Dir(at) => fs::create_dir(root.join(at)).map_err(drop),
                Made::Link(at, text) => match text.strip_prefix('/') {
                    Some(text) => symlink(root.join(text), root.join(at)).map_err(drop),
                    None => symlink(text, root.join(at)).map_err(drop),
                },
            };
        }
        for path in &paths {
            let host = fs::canonicalize(root.join(path));
            let (end, lenient) = end(&root, path, Last::Follow);
            if lenient {
                prop_assert!(host.is_err(), "{}", path);
                continue;
            }
            match (end, host) {
                // Stricter than the host: nothing may lead out, even if it
                // came back.
                (Err(Errno::EXDEV), _) => {}
                (Ok(end), Ok(host)) => prop_assert_eq!(end, host, "{}", path),
                (Err(errno), Err(error)) => match error.kind() {
                    ErrorKind::NotFound => prop_assert_eq!(errno, Errno::ENOENT, "{}", path),
                    ErrorKind::NotADirectory => prop_assert_eq!(errno, Errno::ENOTDIR, "{}", path),
                    _ => prop_assert_eq!(errno, Errno::ELOOP, "{}", path),
                },
                (ours, host) => prop_assert!(false, "{}: {:?}, host {:?}", path, ours, host),
            }
        }
    }
}
