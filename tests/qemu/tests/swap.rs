//! The swap server: on an image, and in a directory of the host.

use dormouse_qemu_tests::{assert_passed, guest, run, scratch};
use runner::{Guest, Swap};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

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
        // Without swap the bundle, which takes memory, has no swapfs.
        let commands = "ps | grep -c swapfs; ls /bin | grep -c swapfs";
        let (console, _) = run(share.path(), &guest.command(commands));
        let words: Vec<&str> = console.split_whitespace().collect();
        assert_eq!(words, [servers, servers], "{swap:?}");
    }
    // Its files have no names.
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

/// A guest that runs one case of the suite.
fn case(share: &Path, name: &str) -> Guest {
    let guest = guest(share).option("test", "1").option("poison", "1");
    let guest = guest.timeout(Duration::from_secs(300));
    guest.command(format!("suite {name}"))
}

#[test]
fn without_swap_memory_stays() {
    let share = scratch();
    assert_passed(&case(share.path(), "swap-place.none").run().unwrap());
}

#[test]
fn a_full_swap_is_an_error_and_no_page_is_lost() {
    let share = scratch();
    let guest = case(share.path(), "swap-place.full").swap(Swap::Size(8 << 20));
    assert_passed(&guest.run().unwrap());
}

#[test]
fn one_program_does_not_take_all_of_swap() {
    let share = scratch();
    let guest = case(share.path(), "swap-place.part").swap(Swap::Size(IMAGE));
    assert_passed(&guest.run().unwrap());
}

#[test]
fn who_stores_ends_where_memory_and_swap_run_out_and_others_carry_on() {
    let share = scratch();
    let cases = "swap-small.storer swap-small.newcomer";
    let swap = Swap::Size(128 << 20);
    assert_passed(&small(share.path(), cases, swap).run().unwrap());
}

#[test]
fn a_directory_of_the_host_is_as_good_as_an_image() {
    let (share, place) = (scratch(), scratch());
    let guest = case(share.path(), "swap.*").swap(Swap::Directory(place.path().into()));
    assert_passed(&guest.run().unwrap());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn pages_are_lost_with_their_server_and_no_others() {
    let share = scratch();
    let guest = case(share.path(), "swap-place.lost").swap(Swap::Size(IMAGE));
    assert_passed(&guest.option("drivers", "1").run().unwrap());
}

/// Changes one bit of each page of the image that is not zeros.
fn damage(image: &File) {
    let mut page = [0; 4096];
    for offset in (0..IMAGE).step_by(page.len()) {
        image.read_exact_at(&mut page, offset).unwrap();
        if page.iter().any(|byte| *byte != 0) {
            image
                .write_all_at(&[page[100] ^ 0x10], offset + 100)
                .unwrap();
        }
    }
}

#[test]
fn a_bit_that_changes_in_the_image_is_a_note_and_no_wrong_data() {
    let (share, place) = (scratch(), scratch());
    let (path, image) = image(place.path());
    let guest = case(share.path(), "swap-place.damaged").swap(Swap::Image(path));
    with_host(share.path(), &guest, move |_| damage(&image));
}

#[test]
fn the_image_shrinks_when_pages_are_given_up() {
    let (share, place) = (scratch(), scratch());
    let (path, image) = image(place.path());
    let pages = move || image.metadata().unwrap().blocks() / 8;
    let guest = case(share.path(), "swap-place.shrinks").swap(Swap::Image(path));
    with_host(share.path(), &guest, move |turn| {
        let (least, most) = match turn % 3 {
            // The case may be run again.
            0 => (4000, 4300),
            1 => (3000, 3300),
            _ => (0, 300),
        };
        // The guest's device does it in its own time.
        for _ in 0..500 {
            if (least..=most).contains(&pages()) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("turn {turn}: {} pages are stored", pages());
    });
}

/// A new image.
fn image(folder: &Path) -> (PathBuf, File) {
    let path = folder.join("image");
    let mut options = File::options();
    let image = options.read(true).write(true).create_new(true).open(&path);
    let image = image.unwrap();
    image.set_len(IMAGE).unwrap();
    (path, image)
}

/// Runs a guest whose case waits for the host, which then calls `answer` with the number
/// of times that it has before.
fn with_host(share: &Path, guest: &Guest, answer: impl Fn(u32) + Send + 'static) {
    let (ready, go) = (share.join("ready"), share.join("go"));
    let over = Arc::new(AtomicBool::new(false));
    let seen = over.clone();
    let host = thread::spawn(move || {
        let mut turn = 0;
        while !seen.load(Ordering::Relaxed) {
            if ready.exists() && !go.exists() {
                answer(turn);
                turn += 1;
                fs::write(&go, "").unwrap();
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let outcome = guest.run().unwrap();
    over.store(true, Ordering::Relaxed);
    host.join().unwrap();
    assert_passed(&outcome);
}

/// A guest with 64 MiB of memory.
fn small(share: &Path, name: &str, swap: Swap) -> Guest {
    let guest = case(share, name).swap(swap).mem("64M");
    guest.timeout(Duration::from_secs(900))
}

#[test]
fn programs_use_more_than_the_memory() {
    let share = scratch();
    let cases = "swap-small.alone swap-small.several swap-small.fork swap-small.scattered";
    let guest = small(share.path(), cases, Swap::Size(1 << 30));
    assert_passed(&guest.run().unwrap());
}

/// Bytes of the sparse file that is larger than everything, and its pages with data.
const FILE: u64 = 8 << 30;
const DATA: u64 = 2000;
const PAGE: u64 = 4096;
/// The words of a page that guests look at.
const WORDS: [u64; 4] = [0, 100, 300, 511];

/// A word as the guest makes it: all differ.
fn word(seed: u64, page: u64, at: u64) -> u64 {
    (seed << 40 | page << 9 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

fn read_word(file: &File, page: u64, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, page * PAGE + at * 8)
        .unwrap();
    u64::from_le_bytes(bytes)
}

/// A guest reads a file of 8 GiB, stores to `pages` pages of it and writes all of it
/// back.
fn window(case: &str, pages: u64) {
    let share = scratch();
    let path = share.path().join("large");
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).open(&path);
    let file = file.unwrap();
    file.set_len(FILE).unwrap();
    let data = |n: u64| n * (FILE / PAGE / DATA) + n * n % 1000;
    for (page, at) in (0..DATA)
        .map(data)
        .flat_map(|page| WORDS.map(|at| (page, at)))
    {
        let bytes = word(99, page, at).to_le_bytes();
        file.write_all_at(&bytes, page * PAGE + at * 8).unwrap();
    }
    let outcome = small(share.path(), case, Swap::Size(1 << 30))
        .run()
        .unwrap();
    assert_passed(&outcome);
    let stored = FILE / PAGE / 2 - pages / 2..FILE / PAGE / 2 - pages / 2 + pages;
    for (page, at) in (0..DATA)
        .map(data)
        .flat_map(|page| WORDS.map(|at| (page, at)))
    {
        assert_eq!(
            read_word(&file, page, at),
            word(99, page, at),
            "page {page}"
        );
    }
    for page in stored.clone() {
        assert_eq!(read_word(&file, page, 7), word(3, page, 7), "page {page}");
    }
    for page in [stored.start - 1, stored.end] {
        assert_eq!(read_word(&file, page, 7), 0, "beside the window");
    }
    let blocks = file.metadata().unwrap().blocks() / 8;
    assert!(blocks < pages + 2 * DATA, "{blocks} pages are stored");
}

#[test]
fn a_file_of_8_gib_is_read_changed_and_written_back_in_64_mib() {
    window("swap-small.window", 80 << 20 >> 12);
}

#[test]
#[ignore = "takes minutes; run with -- --ignored"]
fn much_of_a_file_of_8_gib_is_changed_in_64_mib() {
    window("swap-large.window", 768 << 20 >> 12);
}

#[test]
#[ignore = "takes minutes; run with -- --ignored"]
fn programs_use_four_times_the_memory() {
    let share = scratch();
    let cases = "swap-large.alone swap-large.several";
    let guest = small(share.path(), cases, Swap::Size(1 << 30));
    assert_passed(&guest.run().unwrap());
}

#[test]
fn a_program_that_needs_more_than_there_is_ends_and_others_carry_on() {
    let share = scratch();
    for swap in [Swap::None, Swap::Size(IMAGE)] {
        let guest = small(share.path(), "swap-small.out", swap);
        assert_passed(&guest.run().unwrap());
    }
}
