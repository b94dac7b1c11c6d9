//! The options of the server at /n/host (`--host-options`), and a change by the
//! host while a file is asleep in memory.

use dormouse_qemu_tests::{guest, run, scratch};
use runner::failure::status;
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

/// The guest's output when the host itself overwrites `f` while it is asleep.
fn when_overwritten_asleep(options: &str) -> String {
    let share = scratch();
    let at = |name: &str| share.path().join(name);
    for name in ["f", "old"] {
        fs::write(at(name), "as it was\n".repeat(1000)).unwrap();
    }
    let (f, ready, go) = (at("f"), at("ready"), at("go"));
    let stranger = thread::spawn(move || {
        let start = Instant::now();
        while !ready.exists() && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
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
