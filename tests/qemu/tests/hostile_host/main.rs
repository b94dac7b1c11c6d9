//! A share that contains a file system which lies about blocks, sizes, times
//! and inode numbers, returns short reads, fails now and then, and runs out of
//! space in the middle of a write. The guest's programs get an error or the
//! file system's content, and the file server goes on serving.

mod liar;

use dormouse_qemu_tests::{assert_passed, guest, print_cases, run, scratch, skipped};
use liar::{Liar, Trick};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Bytes that differ from place to place and from file to file.
fn content(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n / 4096 * 31 + n % 253 + seed * 97) as u8 | 1)
        .collect()
}

const LEN: usize = 1_300_000;

fn tricks() -> Vec<Trick> {
    let named = |name| Trick {
        name,
        ..Trick::default()
    };
    let sized = |name, size| Trick {
        size: Some(size),
        ..named(name)
    };
    let numbered = |name| Trick {
        number: Some(77),
        ..named(name)
    };
    let short = |name, most| Trick {
        short: Some(most),
        ..named(name)
    };
    let failing = |name, each| Trick {
        fails_each: Some(each),
        ..named(name)
    };
    vec![
        named("honest"),
        Trick {
            no_blocks: true,
            ..named("no-blocks")
        },
        sized("says-more", 3 << 20),
        sized("says-endless", i64::MAX as u64),
        sized("says-less", 4000),
        sized("says-nothing", 0),
        numbered("twin"),
        numbered("other-twin"),
        Trick {
            changes_number: true,
            ..named("changes-number")
        },
        Trick {
            restless: true,
            ..named("restless")
        },
        short("short", 1000),
        short("gives-nothing", 0),
        failing("fails-each-third", 3),
        failing("fails-each-seventh", 7),
        Trick {
            bad_from: Some(700_000),
            ..named("bad-from-the-middle")
        },
    ]
}

/// The file system, with a file for each trick, mounted in `share`. `None`: it
/// cannot be here.
fn mounted(share: &Path) -> Option<(Liar, impl Drop + use<>)> {
    let liar = Liar::default();
    for (seed, trick) in tricks().into_iter().enumerate() {
        liar.add(trick, &content(seed, LEN + seed * 1000));
    }
    let at = share.join("odd");
    fs::create_dir(&at).unwrap();
    match liar.mount(&at) {
        Ok(session) => Some((liar, Unmounts(Some(session)))),
        Err(why) => {
            skipped(format_args!(
                "no file system of one's own can be mounted here: {why}"
            ));
            None
        }
    }
}

/// Unmounts, and waits for it.
struct Unmounts(Option<fuser::BackgroundSession>);

impl Drop for Unmounts {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            let _ = session.umount_and_join();
        }
    }
}

/// The status that the console has for a command that was labelled so.
fn status(console: &str, label: &str) -> u32 {
    let line = console.lines().find_map(|line| {
        let (said, status) = line.rsplit_once(' ')?;
        (said == label).then(|| status.parse().ok())?
    });
    line.unwrap_or_else(|| panic!("no status of {label:?}: {console}"))
}

/// Compares the copies of all files that were made without an error: the number
/// of right ones, and a line for each wrong one.
fn copies(share: &Path, liar: &Liar, console: &str) -> (usize, Vec<String>) {
    let (mut right, mut wrong) = (0, Vec::new());
    let all = tricks();
    for (trick, way) in all.iter().flat_map(|trick| [(trick, "cp"), (trick, "cat")]) {
        let has = liar.content(trick.name);
        let label = format!("{} {way}", trick.name);
        let got = fs::read(share.join(format!("{}.{way}", trick.name)));
        if status(console, &label) != 0 {
            continue;
        }
        let got = got.unwrap();
        // A file that claims a smaller size is read to there at least.
        let least = trick.size.map_or(has.len(), |size| {
            has.len().min(usize::try_from(size).unwrap_or(usize::MAX))
        });
        let least = if trick.short == Some(0) { 0 } else { least };
        if got.len() >= least && has.starts_with(&got) {
            right += 1;
            continue;
        }
        let from = got.iter().zip(&has).position(|(a, b)| a != b);
        let (got, has) = (got.len(), has.len());
        wrong.push(format!(
            "{label}: {got} of {has} bytes, wrong from {from:?} on"
        ));
    }
    (right, wrong)
}

#[test]
fn what_a_lying_file_system_has_is_copied_or_an_error() {
    let share = scratch();
    let Some((liar, _mounted)) = mounted(share.path()) else {
        return;
    };
    let mut script = String::from("cd /n/host\n");
    for trick in tricks() {
        let name = trick.name;
        script += &format!("cp odd/{name} {name}.cp; echo {name} cp $?\n");
        script += &format!("cat odd/{name} > {name}.cat; echo {name} cat $?\n");
    }
    // Both are open at a time, and differ.
    script += "cmp odd/twin odd/other-twin; echo cmp $?\n";
    script += "cp odd/honest again; echo again $?\n";
    fs::write(share.path().join("script"), script).unwrap();
    for eager in [false, true] {
        let guest = guest(share.path()).eager(eager);
        let guest = guest
            .timeout(Duration::from_secs(300))
            .command("sh /n/host/script 2>/n/host/errors");
        let (console, _) = run(share.path(), &guest);
        let (right, wrong) = copies(share.path(), &liar, &console);
        assert_eq!(wrong, Vec::<String>::new(), "eager {eager}: {console}");
        assert!(right >= 2 * 5, "only {right} were right: {console}");
        assert_ne!(status(&console, "cmp"), 0, "{console}");
        for label in ["honest cp", "honest cat", "short cat", "again"] {
            assert_eq!(status(&console, label), 0, "{label}: {console}");
        }
        assert_eq!(
            fs::read(share.path().join("again")).unwrap(),
            content(0, LEN)
        );
    }
}

#[test]
fn of_two_files_with_one_inode_number_the_second_is_refused_while_the_first_is_asleep() {
    let share = scratch();
    let Some((liar, _mounted)) = mounted(share.path()) else {
        return;
    };
    let before = ["twin", "other-twin"].map(|name| liar.content(name));
    let guest = guest(share.path()).option("test", "1");
    let guest = guest.timeout(Duration::from_secs(300));
    let outcome = guest.command("suite twins.asleep").run().unwrap();
    print_cases(&outcome);
    assert_passed(&outcome);
    let after = ["twin", "other-twin"].map(|name| liar.content(name));
    assert!(before == after, "a file was changed");
}

#[test]
fn a_write_that_found_room_for_a_part_is_an_error_and_what_is_there_is_read() {
    let share = scratch();
    let liar = Liar::default();
    let full = Trick {
        name: "full",
        room: Some(100_000),
        ..Trick::default()
    };
    liar.add(full, &content(1, 50_000));
    let odd = share.path().join("odd");
    fs::create_dir(&odd).unwrap();
    let _mounted = match liar.mount(&odd) {
        Ok(session) => Unmounts(Some(session)),
        Err(why) => {
            skipped(format_args!(
                "no file system of one's own can be mounted here: {why}"
            ));
            return;
        }
    };
    fs::write(share.path().join("new"), content(2, 300_000)).unwrap();
    let command = "cd /n/host; cp new odd/full; echo cp $?; cat odd/full > read; echo cat $?; \
                   cat new >> odd/full; echo append $?; cp odd/full copy; echo copy $?";
    for eager in [false, true] {
        let guest = guest(share.path()).eager(eager).command(command);
        let (console, _) = run(share.path(), &guest);
        assert_ne!(status(&console, "cp"), 0, "{console}");
        assert_ne!(status(&console, "append"), 0, "{console}");
        assert_eq!(status(&console, "cat"), 0, "{console}");
        assert_eq!(status(&console, "copy"), 0, "{console}");
        let has = liar.content("full");
        assert_eq!(has.len(), 100_000, "{console}");
        assert!(content(2, 300_000).starts_with(&has), "{console}");
        for name in ["read", "copy"] {
            let got = fs::read(share.path().join(name)).unwrap();
            assert!(got == has, "{name}: {} bytes; {console}", got.len());
        }
    }
}
