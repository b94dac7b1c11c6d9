//! The swap server: on an image, and in a directory of the host.

use dormouse_qemu_tests::{guest, run, scratch};
use runner::Swap;
use std::fs;

/// The image of these tests, in bytes.
const IMAGE: u64 = 32 << 20;

/// Bytes that no two pages have in common, `pages` of them.
fn pages(pages: u32) -> Vec<u8> {
    let words = (0..pages * 512).flat_map(|word| (u64::from(word) * 0x9e37_79b9).to_le_bytes());
    words.collect()
}

#[test]
fn swap_files_are_copied_compared_and_removed_over_9p() {
    let share = scratch();
    fs::write(share.path().join("f"), pages(2000)).unwrap();
    let guest = guest(share.path())
        .swap(Swap::Size(IMAGE))
        .option("swap", "none")
        .option("drivers", "1");
    let commands = "mount /mnt swapfs; cd /mnt; \
        cp /n/host/f a; cp a b; cmp b /n/host/f; echo $?; rm a; \
        cp b c; cmp c /n/host/f; echo $?; ls; rm b; rm c; ls; \
        { cat /n/host/f /n/host/f /n/host/f /n/host/f /n/host/f; } > big; \
        ls -l big; cd /; unmount /mnt";
    let (console, _) = run(share.path(), &guest.command(commands));
    assert!(console.starts_with("0\n0\nb\nc\n"), "{console}");
    assert!(console.contains("no space"), "{console}");
}

#[test]
fn swap_is_on_an_image_or_in_a_directory_of_the_host_or_nowhere() {
    let share = scratch();
    let place = scratch();
    for (swap, servers) in [
        (Swap::None, "0"),
        (Swap::Size(IMAGE), "1"),
        (Swap::Directory(place.path().into()), "1"),
    ] {
        let guest = guest(share.path()).swap(swap.clone());
        let (console, _) = run(share.path(), &guest.command("ps | grep -c swapfs"));
        assert_eq!(console.trim(), servers, "{swap:?}");
    }
    // Its files have no names.
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
