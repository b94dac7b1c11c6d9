//! Names in open directories, and trees that are removed or copied by them: nobody
//! leads a program out of a directory that it has opened.

use super::Case;
use crate::check::{Verdict, Why, fails, other, same};
use crate::testdir::TestDir;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::abi::{bind, mode, rfork};
use rt::process::{self, Fork};
use rt::stats::Counters;
use rt::{Directory, Errno, File, Stat64, sys, tree};

pub const CASES: &[Case] = &[
    Case::new("inside.names", names),
    Case::new("inside.listed", listed),
    Case::new("inside.listed.union", listed_union),
    Case::new("inside.moved", moved),
    Case::new("inside.bound", bound),
    Case::new("inside.kernel-tree", kernel_tree),
    Case::new("inside.kept", kept),
    Case::new("inside.tree.removed", removed),
    Case::new("inside.tree.copied", copied),
    Case::new("inside.tree.deep", deep),
    Case::new("inside.tree.deeper", deeper),
];

fn is_there(path: impl AsRef<[u8]>) -> bool {
    File::lstat_path(path).is_ok()
}

fn content(directory: &Directory, name: &str) -> Result<Vec<u8>, Errno> {
    directory.open_file(name, mode::OREAD)?.read_to_end()
}

/// What a list says of each file, and of how many it says something.
fn lists_right(path: &str) -> Result<(Vec<String>, usize), Why> {
    let (mut names, mut known) = (Vec::new(), 0);
    let at = Directory::open(path)?;
    for entry in at.read_dir_stat() {
        let entry = entry?;
        if entry.name == "." || entry.name == ".." {
            continue;
        }
        if let Some(stat) = entry.stat {
            same("attributes", *stat, at.stat_of(&entry.name)?)?;
            known += 1;
        }
        names.push(format!("{}", entry.name));
    }
    names.sort_unstable();
    let at = Directory::open(path)?;
    let plain = at.read_dir().map(|entry| Ok(format!("{}", entry?.name)));
    let mut plain: Vec<String> = plain.collect::<Result<_, Errno>>()?;
    plain.retain(|name| name != "." && name != "..");
    plain.sort_unstable();
    same("the names", &names, &plain)?;
    Ok((names, known))
}

/// A list with attributes says what the files say one by one, and follows no link.
fn listed() -> Verdict {
    TestDir::each(|place| {
        place.file("f", "one")?;
        place.directory("d")?;
        place.symlink("nowhere", "l")?;
        for n in 0..300 {
            place.file(&format!("file-{n:03}"), &"x".repeat(n))?;
        }
        let (names, known) = lists_right(place.0)?;
        same("how many", names.len(), 303)?;
        let all = if place.0.starts_with("/n/host") {
            303
        } else {
            0
        };
        same("attributes that came with the list", known, all)?;
        // What is bound to a name is found there.
        sys::bind("/dev", format!("{}/d", place.0), bind::REPLACE)?;
        let bound = lists_right(place.0);
        sys::unmount(format!("{}/d", place.0))?;
        same("how many beside a bind", bound?.0.len(), 303)?;
        File::create(format!("{}/f", place.0), mode::OWRITE, 0o644)?.write_all(b"longer")?;
        lists_right(place.0)?;
        fails(
            "a file",
            File::open(format!("{}/f", place.0), mode::OREAD)?
                .read_dir()
                .next()
                .unwrap_or(Err(Errno::EIO))
                .map(drop),
            Errno::ENOTDIR,
        )
    })
}

/// Lists of unions and of the kernel's own tree have no attributes, or the right ones.
fn listed_union() -> Verdict {
    TestDir::each(|place| {
        place.directory("a")?;
        place.directory("b")?;
        place.file("a/both", "1")?;
        place.file("b/both", "22")?;
        place.file("b/only", "333")?;
        let (a, b) = (format!("{}/a", place.0), format!("{}/b", place.0));
        sys::bind(&b, &a, bind::AFTER)?;
        let at = Directory::open(&a)?;
        let listed = at.read_dir_stat().collect::<Result<Vec<_>, _>>();
        let sizes = ["both", "only"].map(|name| at.stat_of(name).map(|stat| stat.size));
        sys::unmount(&a)?;
        same("sizes", sizes, [Ok(1), Ok(3)])?;
        for entry in listed? {
            let wrong = entry.stat.is_some_and(|stat| stat.size == 2);
            same("attributes of a hidden file", wrong, false)?;
        }
        lists_right("/").map(drop)
    })
}

/// One name each, no link followed, and only in a directory that was opened for it.
fn names() -> Verdict {
    TestDir::each(|place| {
        place.file("f", "one")?;
        place.directory("d")?;
        place.file("d/g", "two")?;
        place.symlink("f", "l")?;
        place.symlink("d", "m")?;
        let at = Directory::open(place.0)?;
        same("content", content(&at, "f")?, b"one".to_vec())?;
        same("of the inner one", at.inside("d")?.stat_of("g")?.size, 3)?;
        for wrong in ["", ".", "..", "d/g", "/", "f/"] {
            fails(wrong, at.stat_of(wrong), Errno::EINVAL)?;
            fails(wrong, at.open_file(wrong, mode::OREAD), Errno::EINVAL)?;
            fails(wrong, at.remove(wrong), Errno::EINVAL)?;
        }
        fails("nothing", at.stat_of("nothing"), Errno::ENOENT)?;
        fails("a file as a directory", at.inside("f"), Errno::ENOTDIR)?;
        fails(
            "a link to a file",
            at.open_file("l", mode::OREAD),
            Errno::ELOOP,
        )?;
        fails("a link to a directory", at.inside("m"), Errno::ELOOP)?;
        fails(
            "through a link",
            at.create("l", mode::OWRITE, 0o644),
            Errno::ELOOP,
        )?;
        same("its text", at.read_link("l")?, "f".into())?;
        fails("text of a file", at.read_link("f"), Errno::EINVAL)?;
        same("a link", at.stat_of("m")?.is_link(), true)?;
        at.symlink("n", "nowhere")?;
        fails("there", at.symlink("n", "else"), Errno::EEXIST)?;
        at.create("new", mode::OWRITE, 0o644)?.write_all(b"three")?;
        same("made", at.stat_of("new")?.size, 5)?;
        at.make("e", 0o755)?;
        fails("made again", at.make("e", 0o755), Errno::EEXIST)?;
        fails("a full one", at.remove("d"), Errno::ENOTEMPTY)?;
        for name in ["e", "new", "n", "l", "m"] {
            at.remove(name)?;
            same(name, is_there(place.path(name)), false)?;
        }
        same("the link's target", is_there(place.path("d/g")), true)?;
        let plain = Directory::from(File::open(place.0, mode::OREAD)?);
        fails("not opened for names", plain.stat_of("f"), Errno::ENOTDIR)?;
        fails("a file", Directory::open(place.path("f")), Errno::ENOTDIR)
    })
}

/// The directory stays the one that was opened.
fn moved() -> Verdict {
    TestDir::each(|place| {
        place.directory("d")?;
        place.directory("outside")?;
        place.file("d/f", "inner")?;
        place.file("outside/f", "precious")?;
        let at = Directory::open(place.path("d"))?;
        sys::rename(place.path("d"), place.path("away"))?;
        place.symlink("outside", "d")?;
        same("content", content(&at, "f")?, b"inner".to_vec())?;
        at.create("g", mode::OWRITE, 0o644)?;
        same("made", is_there(place.path("away/g")), true)?;
        same("made outside", is_there(place.path("outside/g")), false)?;
        at.remove("f")?;
        same("removed", is_there(place.path("away/f")), false)?;
        same("outside", is_there(place.path("outside/f")), true)
    })
}

/// What is bound to a path in a directory is found there, and is not removed.
fn bound() -> Verdict {
    TestDir::each(|place| {
        let path = place.path("d");
        place.directory("d")?;
        let seen = other(|| {
            process::change(rfork::NAMES)?;
            sys::bind("/bin", &path, bind::REPLACE)?;
            let at = Directory::open(place.0)?;
            same(
                "a program",
                at.inside("d")?.stat_of("echo")?.mode & 0o111,
                0o111,
            )?;
            fails("removing it", at.remove("d"), Errno::EBUSY)?;
            fails("making it", at.make("d", 0o755), Errno::EEXIST)
        });
        sys::remove(&path)?;
        seen
    })
}

fn kernel_tree() -> Verdict {
    let root = Directory::open("/")?;
    same(
        "a program",
        root.inside("bin")?.stat_of("echo")?.mode & 0o111,
        0o111,
    )?;
    fails(
        "removing it",
        root.inside("bin")?.remove("echo"),
        Errno::EROFS,
    )?;
    fails(
        "removing a mount",
        root.inside("n")?.remove("host"),
        Errno::EBUSY,
    )?;
    fails("making one", root.make("x", 0o755), Errno::EROFS)?;
    same(
        "nothing",
        root.inside("dev")?.inside("term")?.read_dir().count() > 0,
        true,
    )
}

/// A file is created or kept in one step: what another program has written into it
/// meanwhile is not lost.
fn kept() -> Verdict {
    TestDir::each(|place| {
        place.file("f", "kept")?;
        place.symlink("g", "l")?;
        let access = mode::OWRITE | mode::OAPPEND | mode::OKEEP;
        for (name, want) in [("f", "kept+"), ("new", "+"), ("l", "+"), ("l", "++")] {
            File::create(place.path(name), access, 0o644)?.write_all(b"+")?;
            let read = File::open(place.path(name), mode::OREAD)?.read_to_end()?;
            same(name, &read[..], want.as_bytes())?;
        }
        same("the link's target", is_there(place.path("g")), true)?;
        let excluded = File::create(place.path("f"), access | mode::OEXCL, 0o644);
        fails("exclusive", excluded, Errno::EEXIST)
    })
}

const ROUNDS: usize = 4;
/// Files in each directory of the trees.
const FILES: usize = 6;

/// Runs `work` on a tree while another process replaces a directory in it by a link
/// out of it, back and forth.
fn while_replaced(place: &TestDir, work: impl Fn() -> Verdict) -> Verdict {
    let inner = || place.path("tree/a/b");
    let (away, link) = (place.path("away"), place.path("link"));
    let replace = || -> ! {
        let _ = sys::symlink(place.path("outside"), &link);
        loop {
            let _ = sys::rename(inner(), &away);
            let _ = sys::rename(&link, inner());
            let _ = sys::sleep(0);
            let _ = sys::rename(inner(), &link);
            let _ = sys::rename(&away, inner());
        }
    };
    let pid = match process::fork_with(rfork::NOTES)? {
        Fork::Child => replace(),
        Fork::Parent(pid) => pid,
    };
    let done = work();
    process::kill(pid, "enough")?;
    process::wait_for(pid)?;
    done
}

fn grow(place: &TestDir, under: &str) -> Verdict {
    let mut path = String::from(under);
    for name in ["a", "b", "c"] {
        place.directory(&path)?;
        for n in 0..FILES {
            place.file(&format!("{path}/{n}"), "inner")?;
        }
        path = format!("{path}/{name}");
    }
    place.directory(&path)
}

fn clear(place: &TestDir, names: &[&str]) {
    for name in names {
        let path = place.path(name);
        if is_there(&path) {
            tree::remove("suite", path.as_byte_str());
        }
    }
}

/// `rm -r` removes nothing but its tree.
fn removed() -> Verdict {
    TestDir::each(|place| {
        grow(place, "outside")?;
        for round in 0..ROUNDS {
            grow(place, "tree")?;
            while_replaced(place, || {
                // What is moved about may escape it, or fail.
                quiet(|| tree::remove("suite", place.path("tree").as_byte_str()))
            })?;
            for n in 0..FILES {
                for at in ["outside", "outside/a", "outside/a/b"] {
                    let path = place.path(&format!("{at}/{n}"));
                    same(&format!("round {round}, {path}"), is_there(&path), true)?;
                }
            }
            clear(place, &["tree", "away", "link"]);
        }
        clear(place, &["outside"]);
        Ok(())
    })
}

/// `cp -r` reads nothing out of its tree, and writes nothing out of the copy.
fn copied() -> Verdict {
    TestDir::each(|place| {
        place.directory("outside")?;
        place.file("outside/secret", "secret")?;
        for round in 0..ROUNDS {
            grow(place, "tree")?;
            while_replaced(place, || {
                let (from, to) = (place.path("tree"), place.path("copy"));
                quiet(|| tree::copy("suite", from.as_byte_str(), to.as_byte_str()))
            })?;
            let leaked = is_there(place.path("copy/a/b/secret"));
            // A link is copied as such.
            let through = File::lstat_path(place.path("copy/a/b")).is_ok_and(|b| b.is_link());
            ensure!(!leaked || through, "round {round}: copied from outside");
            clear(place, &["tree", "away", "link", "copy"]);
            // The same with the copy.
            grow(place, "tree")?;
            grow(place, "from")?;
            while_replaced(place, || {
                let (from, to) = (place.path("from"), place.path("tree"));
                quiet(|| tree::copy("suite", from.as_byte_str(), to.as_byte_str()))
            })?;
            for n in 0..FILES {
                let path = place.path(&format!("outside/{n}"));
                same(&format!("round {round}, {path}"), is_there(&path), false)?;
            }
            clear(place, &["tree", "away", "link", "from"]);
        }
        clear(place, &["outside"]);
        Ok(())
    })
}

/// Runs `work` in a process without standard error, whose result does not matter.
fn quiet(work: impl FnOnce() -> bool) -> Verdict {
    match process::fork()? {
        Fork::Child => {
            drop(File::from_fd(2));
            process::exit(u8::from(!work()), "")
        }
        Fork::Parent(pid) => match process::wait_for(pid)?.text() {
            "" => Ok(()),
            text => Err(Why(text.into())),
        },
    }
}

/// Deeper than there are descriptors, and longer than a path may be.
fn deep() -> Verdict {
    const DEPTH: usize = 100;
    TestDir::each(|place| {
        place.directory("tree")?;
        let mut at = Directory::open(place.path("tree"))?;
        for n in 0..DEPTH {
            let name = format!("directory-{n}");
            at.create("file", mode::OWRITE, 0o644)?.write_all(b"x")?;
            at.make(&name, 0o755)?;
            at = at.inside(&name)?;
        }
        drop(at);
        let (from, to) = (place.path("tree"), place.path("copy"));
        let copied = tree::copy("suite", from.as_byte_str(), to.as_byte_str());
        let removed = [from, to].map(|path| tree::remove("suite", path.as_byte_str()));
        same("copied", copied, true)?;
        same("removed", removed, [true, true])
    })
}

/// So deep that a directory of each level with its path would not fit into memory, nor
/// would there be time to open all above each.
fn deeper() -> Verdict {
    const DEPTH: usize = 1200;
    /// Messages for a level: it is opened, listed and removed, and opened again some times.
    const EACH: u64 = 60;
    let place = TestDir("/tmp/deeper");
    drop(File::create(place.0, mode::OREAD, mode::DMDIR | 0o755)?);
    place.directory("tree")?;
    let name = "n".repeat(200);
    let mut at = Directory::open(place.path("tree"))?;
    for _ in 0..DEPTH {
        at.make(&name, 0o755)?;
        at = at.inside(&name)?;
    }
    drop(at);
    let messages = || Ok::<_, Why>(Counters::now()?.get(Stat64::Messages));
    let before = messages()?;
    let removed = tree::remove("suite", place.path("tree").as_byte_str());
    let took = messages()? - before;
    same("removed", removed, true)?;
    ensure!(took < EACH * DEPTH as u64, "{took} messages");
    Ok(())
}
