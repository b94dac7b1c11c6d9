//! Symbolic links: followed where Unix follows them, within their server.

use super::Case;
use crate::check::{Verdict, Why, at_most, fails, same};
use crate::judge::counters;
use crate::testdir::TestDir;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use rt::abi::{Stat64, bind, mode};
use rt::{ByteString, Errno, File, process, sys};

pub const CASES: &[Case] = &[
    Case::new("links.followed", followed),
    Case::new("links.absolute", absolute),
    Case::new("links.themselves", themselves),
    Case::new("links.created-through", created_through),
    Case::new("links.dot-dot", dot_dot),
    Case::new("links.loops", loops),
    Case::new("links.out-of-the-server", out_of_the_server),
    Case::new("links.texts", texts),
    Case::new("links.hard", hard),
    Case::new("links.binds", binds),
    Case::new("links.messages", messages),
    Case::new("links.replaced-while-opened", replaced_while_opened),
    Case::new("links.kernel-tree", kernel_tree),
];

impl TestDir {
    pub(super) fn file(&self, name: &str, content: &str) -> Verdict {
        let file = File::create(self.at(name.as_bytes()), mode::OWRITE, 0o644)?;
        Ok(file.write_all(content.as_bytes())?)
    }

    pub(super) fn directory(&self, name: &str) -> Verdict {
        let mode = mode::DMDIR | 0o755;
        drop(File::create(self.path(name), mode::OREAD, mode)?);
        Ok(())
    }

    pub(super) fn symlink(&self, text: &str, name: &str) -> Result<(), Errno> {
        sys::symlink(text, self.path(name))
    }

    pub(super) fn path(&self, name: &str) -> ByteString {
        self.at(name.as_bytes())
    }

    fn reads(&self, name: &str, content: &str) -> Verdict {
        let read = File::open(self.path(name), mode::OREAD)
            .and_then(|file| file.read_to_end())
            .map_err(|errno| Why(format!("{name}: {errno}")))?;
        same(name, ByteString(read), content.into())
    }

    fn refuses(&self, name: &str, errno: Errno) -> Verdict {
        fails(name, File::open(self.path(name), mode::OREAD), errno)?;
        fails(name, File::stat_path(self.path(name)), errno)
    }
}

fn followed() -> Verdict {
    TestDir::each(|place| {
        place.directory("a")?;
        place.directory("a/b")?;
        place.file("a/f", "f")?;
        place.symlink("a/f", "file")?;
        place.symlink("a", "dir")?;
        place.symlink("dir/b", "chain")?;
        place.symlink("../f", "a/b/up")?;
        place.symlink(".", "here")?;
        place.symlink("dir//./b/../f", "around")?;
        for name in ["file", "dir/f", "chain/up", "here/here/dir/b/up", "around"] {
            place.reads(name, "f")?;
        }
        same("stat", File::stat_path(place.path("dir"))?.is_dir(), true)?;
        same(
            "names",
            File::open(place.path("dir"), mode::OREAD)?
                .read_dir()
                .count()
                > 1,
            true,
        )?;
        sys::chdir(place.path("chain"))?;
        same("working directory", sys::getwd()?, place.path("chain"))?;
        same("from there", File::stat_path("up")?.size, 1)?;
        // The parent of the link's target, not of its name.
        same("above", File::stat_path("../f")?.size, 1)?;
        sys::chdir("..")?;
        same("above itself", File::stat_path("f")?.size, 1)?;
        sys::chdir("/")?;
        let program = process::exec(place.path("file"), &["f"]);
        same("exec", program, Errno::ENOEXEC)
    })
}

fn absolute() -> Verdict {
    TestDir::each(|place| {
        place.file("f", "f")?;
        // By the name the server has here.
        sys::symlink(place.path("f"), place.path("by-name"))?;
        place.reads("by-name", "f")?;
        // From the root of the server's tree.
        place.symlink("/suite-place/f", "by-root")?;
        place.reads("by-root", "f")?;
        place.symlink("/suite-place/nothing", "missing")?;
        place.refuses("missing", Errno::ENOENT)
    })
}

/// The calls that do not follow the last name.
fn themselves() -> Verdict {
    TestDir::each(|place| {
        place.directory("d")?;
        place.file("d/f", "f")?;
        place.symlink("d", "l")?;
        place.symlink("nothing", "dangling")?;
        let stat = File::lstat_path(place.path("l"))?;
        same("kind", (stat.is_link(), stat.size), (true, 1))?;
        same("text", sys::read_link(place.path("l"))?, "d".into())?;
        same(
            "behind it",
            File::lstat_path(place.path("l/"))?.is_dir(),
            true,
        )?;
        same(
            "a link",
            File::lstat_path(place.path("dangling"))?.is_link(),
            true,
        )?;
        place.refuses("dangling", Errno::ENOENT)?;
        fails("a file", sys::read_link(place.path("d/f")), Errno::EINVAL)?;
        fails(
            "a directory",
            sys::read_link(place.path("l/")),
            Errno::EINVAL,
        )?;
        fails("remove", sys::remove(place.path("l/")), Errno::ENOTDIR)?;
        fails(
            "rename",
            sys::rename(place.path("l/"), place.path("x")),
            Errno::ENOTDIR,
        )?;
        sys::rename(place.path("l"), place.path("moved"))?;
        same("moved", sys::read_link(place.path("moved"))?, "d".into())?;
        sys::rename(place.path("moved"), place.path("dangling"))?;
        same(
            "over one",
            sys::read_link(place.path("dangling"))?,
            "d".into(),
        )?;
        sys::remove(place.path("dangling"))?;
        place.reads("d/f", "f")?;
        let directory = File::open(place.0, mode::OREAD)?;
        place.symlink("x", "again")?;
        let kinds: Result<Vec<_>, _> = directory
            .read_dir()
            .map(|e| e.map(|e| (e.name, e.kind)))
            .collect();
        let kinds = kinds?;
        let link = kinds.iter().find(|(name, _)| *name == "again");
        same("listed as", link.map(|(_, kind)| *kind), Some(10))
    })
}

fn created_through() -> Verdict {
    TestDir::each(|place| {
        place.directory("d")?;
        place.symlink("d/new", "l")?;
        place.symlink("l", "l2")?;
        place.symlink("no/where", "nowhere")?;
        let exclusive = mode::OWRITE | mode::OEXCL;
        fails(
            "exclusive",
            File::create(place.path("l2"), exclusive, 0o644),
            Errno::EEXIST,
        )?;
        let directory = File::create(place.path("l2"), mode::OREAD, mode::DMDIR | 0o755);
        fails("a directory", directory, Errno::EEXIST)?;
        fails("a link", place.symlink("x", "l2"), Errno::EEXIST)?;
        place.file("l2", "made")?;
        place.reads("d/new", "made")?;
        place.file("l2", "cut")?;
        place.reads("d/new", "cut")?;
        same(
            "still a link",
            File::lstat_path(place.path("l2"))?.is_link(),
            true,
        )?;
        let nowhere = File::create(place.path("nowhere"), mode::OWRITE, 0o644);
        fails("nowhere", nowhere, Errno::ENOENT)?;
        place.file("d/other", "x")?;
        place.symlink("d", "dir")?;
        place.file("dir/below", "below")?;
        place.reads("d/below", "below")?;
        sys::rename(place.path("dir/below"), place.path("dir/b2"))?;
        sys::remove(place.path("dir/b2"))?;
        let cut = File::create(place.path("dir"), mode::OWRITE, 0o644);
        fails("a link to a directory", cut, Errno::EISDIR)
    })
}

fn dot_dot() -> Verdict {
    TestDir::each(|place| {
        place.directory("a")?;
        place.directory("a/b")?;
        place.file("a/f", "a")?;
        place.file("f", "top")?;
        place.symlink("a/b", "l")?;
        place.symlink("l/../f", "through")?;
        place.reads("l/../f", "a")?;
        place.reads("through", "a")?;
        place.reads("a/../f", "top")?;
        place.reads("missing/../f", "top")?;
        place.reads("f/../f", "top")?;
        place.reads("a/b/../../l/.././b/../../f", "top")?;
        sys::chdir(place.path("l"))?;
        same("from below", File::stat_path("../f")?.size, 1)?;
        sys::remove("../f")?;
        sys::chdir("/")?;
        place.refuses("a/f", Errno::ENOENT)?;
        place.reads("f", "top")
    })
}

fn loops() -> Verdict {
    TestDir::each(|place| {
        place.symlink("me", "me")?;
        place.symlink("two", "one")?;
        place.symlink("one", "two")?;
        for name in ["me", "me/x", "one", "one/../f"] {
            place.refuses(name, Errno::ELOOP)?;
        }
        let made = File::create(place.path("one"), mode::OWRITE, 0o644);
        fails("create", made, Errno::ELOOP)?;
        place.file("0", "end")?;
        for n in 1..=41 {
            place.symlink(&format!("{}", n - 1), &format!("{n}"))?;
        }
        place.reads("40", "end")?;
        place.refuses("41", Errno::ELOOP)
    })
}

fn out_of_the_server() -> Verdict {
    TestDir::each(|place| {
        place.file("f", "f")?;
        place.directory("d")?;
        place.symlink("../../dev/null", "up")?;
        place.symlink("../../../../../../dev/null", "far")?;
        place.symlink("d/../../../dev/null", "around")?;
        for name in ["up", "far", "around"] {
            place.refuses(name, Errno::EXDEV)?;
            let made = File::create(place.path(name), mode::OWRITE, 0o644);
            fails("create", made, Errno::EXDEV)?;
        }
        // Names of others are none of this server's.
        for text in ["/bin/echo", "/dev/null", "/n/host/x"] {
            place.symlink(text, "l")?;
            place.refuses("l", Errno::ENOENT)?;
            sys::remove(place.path("l"))?;
        }
        Ok(())
    })
}

fn texts() -> Verdict {
    TestDir::each(|place| {
        let odd = b"\xff\xfe \n\x1b[2J";
        drop(File::create(place.at(odd), mode::OWRITE, 0o644)?);
        sys::symlink(odd, place.path("l"))?;
        same(
            "text",
            sys::read_link(place.path("l"))?,
            ByteString(odd.to_vec()),
        )?;
        same("followed", File::stat_path(place.path("l"))?.size, 0)?;
        fails("empty", place.symlink("", "e"), Errno::ENOENT)?;
        fails(
            "a zero",
            sys::symlink("a\0", place.path("e")),
            Errno::EINVAL,
        )?;
        // As long as a path may be; longer ones cannot be given.
        let long = vec![b'n'; 1024];
        sys::symlink(&long, place.path("long"))?;
        same(
            "long",
            sys::read_link(place.path("long"))?,
            ByteString(long),
        )?;
        let refused = File::stat_path(place.path("long"));
        let errno = refused.err();
        same("a long name", errno, Some(Errno::ENAMETOOLONG))?;
        let longer = vec![b'n'; 1025];
        fails(
            "longer",
            sys::symlink(&longer, place.path("e")),
            Errno::ENAMETOOLONG,
        )
    })
}

fn hard() -> Verdict {
    TestDir::each(|place| {
        place.file("f", "one")?;
        place.directory("d")?;
        place.symlink("f", "l")?;
        sys::link(place.path("f"), place.path("d/g"))?;
        same("links", File::stat_path(place.path("f"))?.links, 2)?;
        place.file("d/g", "two")?;
        place.reads("f", "two")?;
        sys::link(place.path("l"), place.path("l2"))?;
        same(
            "the link itself",
            sys::read_link(place.path("l2"))?,
            "f".into(),
        )?;
        fails(
            "there",
            sys::link(place.path("f"), place.path("l")),
            Errno::EEXIST,
        )?;
        fails(
            "a directory",
            sys::link(place.path("d"), place.path("x")),
            Errno::EPERM,
        )?;
        fails(
            "missing",
            sys::link(place.path("no"), place.path("x")),
            Errno::ENOENT,
        )?;
        let elsewhere = match place.0.starts_with("/tmp") {
            true => "/n/host/suite-link",
            false => "/tmp/suite-link",
        };
        fails(
            "elsewhere",
            sys::link(place.path("f"), elsewhere),
            Errno::EXDEV,
        )?;
        fails(
            "the kernel's",
            sys::link("/bin/echo", place.path("x")),
            Errno::EXDEV,
        )?;
        sys::remove(place.path("f"))?;
        place.reads("d/g", "two")
    })
}

fn binds() -> Verdict {
    TestDir::each(|place| {
        place.directory("a")?;
        place.directory("b")?;
        place.file("a/f", "a")?;
        place.file("b/g", "b")?;
        place.symlink("a", "l")?;
        place.symlink("b/g", "over")?;
        // The target of a link is bound, and later changes of the link have no
        // effect on that.
        sys::bind(place.path("l"), "/mnt", bind::REPLACE)?;
        sys::remove(place.path("l"))?;
        let bound = File::stat_path("/mnt/f").map(|stat| stat.size);
        // A link is looked for in each member of a union, itself.
        sys::symlink("f", place.path("a/in-a"))?;
        sys::symlink("nothing", place.path("a/dangling"))?;
        sys::bind(place.path("b"), "/mnt", bind::BEFORE)?;
        let member = File::stat_path("/mnt/in-a").map(|stat| stat.size);
        let dangling = File::stat_path("/mnt/dangling");
        // Out of the bound directory, but not of its server.
        sys::symlink("../b/g", place.path("a/out"))?;
        let out = File::stat_path("/mnt/out").map(|stat| stat.size);
        sys::unmount("/mnt")?;
        same("bound", bound, Ok(1))?;
        same("in a member", member, Ok(1))?;
        fails("dangling", dangling, Errno::ENOENT)?;
        same("beside", out, Ok(1))?;
        // The server decides where a link leads, whatever is bound over that
        // place.
        let b = place.path("b");
        sys::bind("/bin", &b, bind::REPLACE)?;
        let over = File::stat_path(place.path("over")).map(|stat| stat.size);
        sys::unmount(&b)?;
        same("under what is bound", over, Ok(1))
    })
}

/// Paths without links cost as much as before links existed.
fn messages() -> Verdict {
    TestDir::each(|place| {
        place.directory("a")?;
        place.directory("a/b")?;
        place.file("a/b/f", "f")?;
        place.symlink("a/b", "l")?;
        const TIMES: u64 = 20;
        let cost = |path: &ByteString| {
            let before = counters()?.get(Stat64::Messages);
            for _ in 0..TIMES {
                File::stat_path(path)?;
            }
            Ok::<_, Why>(counters()?.get(Stat64::Messages) - before)
        };
        // The message that gives a fid back may be counted one call later, in
        // the next measurement: of several, the fewest and the most.
        let costs = |name: &str| {
            let path = place.path(name);
            let costs = [cost(&path)?, cost(&path)?, cost(&path)?];
            Ok::<_, Why>(costs.iter().fold((u64::MAX, 0), |(fewest, most), cost| {
                (fewest.min(*cost), most.max(*cost))
            }))
        };
        let (_, plain) = costs("a/b/f")?;
        for name in ["a/b/../b/f", "a/./b//f"] {
            let (more, _) = costs(name)?;
            let more = more.saturating_sub(plain);
            at_most(&format!("messages more for {name}"), more, TIMES / 2 - 1)?;
        }
        // Walk to the link, read it, and give it back.
        let (more, _) = costs("l/f")?;
        let more = more.saturating_sub(plain);
        at_most("messages more through a link", more, 4 * TIMES)
    })
}

fn replaced_while_opened() -> Verdict {
    TestDir::each(|place| {
        place.file("f", "one")?;
        place.file("g", "two")?;
        place.symlink("f", "l")?;
        place.symlink("l", "chain")?;
        let path = place.0;
        let replacing = || -> Result<(), Errno> {
            let place = core::mem::ManuallyDrop::new(TestDir(path));
            let next = place.path("next");
            for n in 0..150 {
                match n % 3 {
                    0 => sys::symlink("f", &next)?,
                    1 => sys::symlink("g", &next)?,
                    _ => File::create(&next, mode::OWRITE, 0o644)?.write_all(b"new")?,
                }
                sys::rename(&next, place.path("l"))?;
            }
            Ok(())
        };
        let replacer = process::spawn(|| u8::from(replacing().is_err()))?;
        let mut wrong = Ok(());
        for _ in 0..150 {
            let read = File::open(place.path("chain"), mode::OREAD).and_then(|f| f.read_to_end());
            match read {
                Ok(bytes) if matches!(&bytes[..], b"one" | b"two" | b"new" | b"") => {}
                other => wrong = Err(Why(format!("{other:?}"))),
            }
        }
        let ended = process::wait_for(replacer)?;
        same("the other process", ended.status(), 0)?;
        wrong
    })
}

fn kernel_tree() -> Verdict {
    fails("a program", sys::read_link("/bin/echo"), Errno::EINVAL)?;
    fails("a directory", sys::read_link("/dev"), Errno::EINVAL)?;
    fails("made", sys::symlink("x", "/dev/x"), Errno::EROFS)?;
    fails("there", sys::symlink("x", "/dev/null"), Errno::EEXIST)?;
    same("lstat", File::lstat_path("/dev")?.is_dir(), true)?;
    same("dot dot", File::stat_path("/bin/../dev/null").is_ok(), true)
}
