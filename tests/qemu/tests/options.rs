//! The options of the server at /n/host (`--host-options`), and a change by the
//! host while a file is asleep in memory.

use dormouse_qemu_tests::{guest, run, scratch, skipped};
use runner::failure::status;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Reads the file `f`, waits for `go` with nothing of it loaded, compares it
/// with `old` then. `ready` says that it has been read.
const READS: &str = "cd /n/host; { \
    until ps | grep ' cmp$' | grep -q 'on a channel'; do sleep 0.05; done; echo > ready; \
    until ls go > /dev/null 2>&1; do sleep 0.05; done; cat old; \
    } | HEAP=snapshot cmp f -; echo $?";
/// For the guest to come as far as that.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for a file that the guest makes.
fn await_file(path: &Path) {
    let start = Instant::now();
    while !path.exists() && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
    }
}

/// The guest's output when the host itself overwrites `f` while it is asleep.
fn when_overwritten_asleep(options: &str) -> String {
    let share = scratch();
    let at = |name: &str| share.path().join(name);
    for name in ["f", "old"] {
        fs::write(at(name), "as it was\n".repeat(1000)).unwrap();
    }
    let (f, ready, go) = (at("f"), at("ready"), at("go"));
    let stranger = thread::spawn(move || {
        await_file(&ready);
        fs::write(f, "as it is now").unwrap();
        fs::write(go, "").unwrap();
    });
    let guest = guest(share.path()).option("host", options);
    let (console, _) = run(share.path(), &guest.command(READS));
    stranger.join().unwrap();
    console
}

#[test]
fn with_check_always_a_strangers_bytes_are_a_note_and_no_data() {
    let console = when_overwritten_asleep("check=always");
    assert!(
        console.contains("snapshot lost: /n/host/f at 0x0"),
        "{console}"
    );
    assert!(!console.contains("differ"), "{console}");
}

#[test]
fn an_unknown_option_is_refused_with_the_place() {
    let share = scratch();
    let guest = guest(share.path()).option("host", "brake");
    let outcome = guest.command("echo went on").run().unwrap();
    assert_eq!(outcome.status().unwrap(), status::SETUP);
    let console = outcome.console;
    assert!(!console.contains("went on"), "{console}");
    let said = "/n/host: mounting /bin/hostfs: invalid argument";
    assert!(console.contains(said), "{console}");
}

/// Overwrites the file `f` while it is asleep in memory, writes back a buffer of less than
/// a page to `s`, and tries to make and remove a file in the top directory. Then
/// `place/ready` is there, and what was asleep is compared with `old`. At the end the
/// server has time to remove its directory.
const CHANGES: &str = "cd /n/host; { \
    until ps | grep ' cmp$' | grep -q 'on a channel'; do sleep 0.05; done; \
    { cp new f; echo $?; cmp f new; echo $?; lazy -n 1 -m 1 s > /dev/null; echo $?; \
    true > x; echo $?; rm -f x; rm f; echo $?; } > /tmp/said 2> /dev/null; echo > place/ready; \
    until ls place/go > /dev/null 2>&1; do sleep 0.05; done; cat old; \
    } | HEAP=snapshot cmp f -; echo $?; cat /tmp/said; sleep 1";

/// Whether files can be made in a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Writable,
    ReadOnly,
}

/// A directory in which nobody can make, rename or remove files, until it is dropped.
struct Fixed(PathBuf);

impl Fixed {
    /// `None`: this user can in every directory.
    fn new(path: &Path) -> Option<Fixed> {
        let fixed = Fixed(path.to_path_buf());
        fixed.set("+i", 0o555);
        match fs::write(path.join("probe"), "") {
            Ok(()) => None,
            Err(_) => Some(fixed),
        }
    }

    /// For the superuser, who may write everywhere, the directory itself is fixed.
    fn set(&self, attribute: &str, mode: u32) {
        let _ = Command::new("chattr").arg(attribute).arg(&self.0).output();
        let _ = fs::set_permissions(&self.0, fs::Permissions::from_mode(mode));
    }
}

impl Drop for Fixed {
    fn drop(&mut self) {
        self.set("-i", 0o755);
    }
}

/// Files of the server's own in a directory.
fn hidden(directory: &Path) -> usize {
    let entries = directory.read_dir().unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".snapfs")).count()
}

/// Runs [`CHANGES`]; the output, and the number of the server's files in the top directory
/// and in `place` while pages are asleep.
fn changed_asleep(options: &str, root: Root, eager: bool) -> Option<(String, [usize; 2])> {
    let share = scratch();
    let at = |name: &str| share.path().join(name);
    for (name, text) in [
        ("f", "as it was\n"),
        ("old", "as it was\n"),
        ("new", "as it is\n"),
    ] {
        fs::write(at(name), text.repeat(1000)).unwrap();
    }
    fs::write(at("s"), "abc").unwrap();
    fs::create_dir(at("place")).unwrap();
    let _fixed = match root {
        Root::Writable => None,
        Root::ReadOnly => Some(Fixed::new(share.path())?),
    };
    let (path, place) = (share.path().to_path_buf(), at("place"));
    let host = thread::spawn(move || {
        await_file(&place.join("ready"));
        let kept = [hidden(&path), hidden(&place)];
        fs::write(place.join("go"), "").unwrap();
        kept
    });
    let mut guest = guest(share.path()).eager(eager);
    if !options.is_empty() {
        guest = guest.option("host", options);
    }
    let (console, status) = run(share.path(), &guest.command(CHANGES));
    assert_eq!(status, 0, "{console}");
    let kept = host.join().unwrap();
    assert_eq!(hidden(&at("place")), 0, "{console}");
    Some((console, kept))
}

#[test]
fn the_store_is_where_it_is_asked_for() {
    for eager in [false, true] {
        let (console, kept) = changed_asleep("store=place", Root::Writable, eager).unwrap();
        assert_eq!(console, "0\n0\n0\n0\n0\n0\n", "eager: {eager}");
        // What was removed is in use; old bytes have no name.
        assert_eq!(kept, [0, 1], "eager: {eager}");
    }
    let (console, kept) = changed_asleep("store=memory", Root::Writable, false).unwrap();
    assert_eq!((console.as_str(), kept), ("0\n0\n0\n0\n0\n0\n", [1, 0]));
}

#[test]
fn a_top_directory_that_cannot_be_written_hides_nothing_and_fails_alike() {
    for options in ["", "store=place"] {
        for eager in [false, true] {
            let Some((console, kept)) = changed_asleep(options, Root::ReadOnly, eager) else {
                skipped("this user can write to every directory");
                return;
            };
            assert_eq!(console, "0\n0\n0\n0\n1\n1\n", "{options}, eager: {eager}");
            assert_eq!(kept, [0, 0], "{options}, eager: {eager}");
        }
    }
}

#[test]
fn a_store_that_is_not_there_is_refused_with_the_place() {
    let share = scratch();
    for store in ["store=none", "store=file", "store=../out"] {
        fs::write(share.path().join("file"), "").unwrap();
        let guest = guest(share.path()).option("host", store);
        let outcome = guest.command("echo went on").run().unwrap();
        let console = outcome.console;
        assert!(!console.contains("went on"), "{store}: {console}");
        assert!(
            console.contains("/n/host: mounting /bin/hostfs: "),
            "{store}: {console}"
        );
    }
}

/// Each removes a file in use, and the machine stops: right after the end of the use, and
/// while a program goes on with it.
const STOPS: [(&str, u8); 4] = [
    ("exec 3</n/host/f; rm /n/host/f; exec 3<&-; exit 3", 3),
    ("exec 3</n/host/f; rm /n/host/f; halt 4", 4),
    ("sh -c 'rm /n/host/f; (halt 5)' </n/host/f; echo went on", 5),
    ("sleep 1000 </n/host/f & rm /n/host/f; exit 6", 6),
];

#[test]
fn a_machine_that_stops_leaves_nothing_in_the_shared_directory() {
    for (commands, wanted) in STOPS {
        let share = scratch();
        fs::write(share.path().join("f"), "some bytes\n".repeat(1000)).unwrap();
        // Without a look at what programs leave, which takes time.
        let guest = guest(share.path()).option("left", "0");
        let outcome = guest.command(commands).run().unwrap();
        let status = outcome.status().unwrap();
        assert_eq!(
            (outcome.console.as_str(), status),
            ("", wanted),
            "{commands}"
        );
        let left: Vec<_> = share.path().read_dir().unwrap().flatten().collect();
        assert!(left.is_empty(), "{commands}: {left:?}");
    }
}
