//! What the runner refuses before it starts anything, and the firmwares that it can start.

use dormouse_qemu_tests::{guest, run, scratch};
use runner::failure::status;
use runner::judge::EXIT_HALT;
use runner::share::Lock;
use runner::{Accel, Firmware, Guest, Swap};
use std::process::{Command, Stdio};
use std::time::Duration;

#[track_caller]
fn refused(guest: Guest, reason: &str) {
    // Should it not be refused, it ends soon.
    let guest = guest.timeout(Duration::from_secs(60));
    let failure = guest.run().unwrap_err();
    assert_eq!(failure.status, status::SETUP);
    assert!(failure.text.contains(reason), "{failure}");
}

#[test]
fn a_missing_share_is_named() {
    refused(
        Guest::new().share("/no/such/directory"),
        "/no/such/directory: No such file",
    );
}

#[test]
fn a_share_that_is_a_file_is_named() {
    let directory = scratch();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    refused(Guest::new().share(&file), "not a directory");
}

#[test]
fn a_share_in_use_is_named_and_free_again_afterwards() {
    let directory = scratch();
    let lock = Lock::take(directory.path()).unwrap();
    refused(
        Guest::new().share(directory.path()),
        "in use by another Dormouse",
    );
    drop(lock);
    Lock::take(directory.path()).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn bad_arguments_are_named() {
    refused(Guest::new().mem("much"), "much: not an amount of memory");
    refused(
        Guest::new().mem("64k"),
        "--mem 64k: a guest needs 20M at least",
    );
    refused(Guest::new().command("a\0b"), "a zero byte");
    refused(Guest::new().option("host", "a\nb"), "a line's end");
    refused(
        Guest::new().accel(Accel::Kvm).icount(true),
        "instructions can be counted under TCG only",
    );
}

#[test]
fn a_kept_image_boots_without_the_runner() {
    let (share, image) = (scratch(), tempfile::tempdir().unwrap());
    let kept = guest(share.path())
        .swap(Swap::Size(64 << 20))
        .keep_image(image.path().join("image"))
        .qemu(vec!["-name".into(), "mouse".into()])
        .command("echo times >> /n/host/booted; cat /n/host/booted");
    assert_eq!(run(share.path(), &kept), ("times\n".into(), 0));
    let mut boot = Command::new("timeout");
    boot.arg("60").arg(image.path().join("image/boot"));
    let booted = boot.stdin(Stdio::null()).output().unwrap();
    let console = String::from_utf8_lossy(&booted.stdout);
    assert!(console.contains("times\r\ntimes\r\n"), "{console}");
    assert_eq!(booted.status.code(), Some(EXIT_HALT), "{console}");
    refused(
        kept.keep_image("/dev/null/image"),
        "image /dev/null/image: ",
    );
}

#[test]
fn either_firmware_starts_a_guest_of_any_size_with_its_devices() {
    for firmware in [Firmware::Small, Firmware::Usual] {
        for memory in ["32M", "3G", "6G"] {
            let share = scratch();
            let guest = guest(share.path()).mem(memory).firmware(firmware);
            let guest = guest.swap(Swap::Size(64 << 20));
            let command = "echo text > /n/host/file; cat /n/host/file; ps | grep -c swapfs";
            let (console, status) = run(share.path(), &guest.command(command));
            let expected = ("text\n1\n", 0);
            assert_eq!((&*console, status), expected, "{firmware:?} {memory}");
        }
    }
}
