//! A guest of 64 MiB: requests of programs do not make the file server use more
//! memory than there is.

use dormouse_qemu_tests::{assert_passed, guest, print_cases, run, scratch};
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

#[test]
fn copies_of_large_files_at_once_are_done_and_the_server_lives() {
    let share = scratch();
    let at = |name: &str| share.path().join(name);
    let from: Vec<u8> = (0..48u32 << 20).map(|n| (n >> 12 ^ n) as u8 | 1).collect();
    fs::write(at("from"), &from).unwrap();
    let command = "cd /n/host; for n in 1 2 3 4 5; do cp from to$n & done; wait; \
                   echo alive >alive; cat alive";
    let guest = guest(share.path()).mem("64M");
    let guest = guest.timeout(Duration::from_secs(300)).command(command);
    let (console, _) = run(share.path(), &guest);
    assert_eq!(console, "alive\n");
    for n in 1..=5 {
        assert!(fs::read(at(&format!("to{n}"))).unwrap() == from, "to{n}");
    }
}

/// Where memory is large a search for pages that can leave takes long, and a read that
/// does not fit is not tried again for ever.
#[test]
fn an_eager_read_of_more_than_a_large_memory_ends() {
    let share = scratch();
    let file = fs::File::create(share.path().join("three")).unwrap();
    file.set_len(3 << 30).unwrap();
    let guest = guest(share.path()).mem("768M").eager(true);
    let guest = guest.command("lazy /n/host/three 2> /n/host/error; echo $?; echo alive");
    let (console, _) = run(share.path(), &guest.timeout(Duration::from_secs(300)));
    let error = fs::read_to_string(share.path().join("error")).unwrap();
    // The read fails; where no page is left for the program to say so, it ends by a note.
    let told = error + &console;
    assert!(told.contains("out of memory"), "{told}");
    assert!(console.ends_with("\nalive\n"), "{console}");
}

#[test]
fn a_file_a_hundred_times_larger_than_memory_is_copied() {
    let share = scratch();
    let file = fs::File::create(share.path().join("three")).unwrap();
    file.set_len(3 << 30).unwrap();
    file.write_all_at(b"the end", (3 << 30) - 7).unwrap();
    let guest = guest(share.path()).mem("24M");
    let guest = guest.command("cd /n/host; cp three copy; tail -c 7 copy");
    let (console, _) = run(share.path(), &guest.timeout(Duration::from_secs(300)));
    assert_eq!(console, "the end");
    let copy = share.path().join("copy").metadata().unwrap();
    assert_eq!(copy.len(), 3 << 30);
}

#[test]
fn a_terabyte_of_numbers_is_summed_in_64_mebibytes() {
    let share = scratch();
    let guest = guest(share.path()).mem("64M").option("test", "1");
    let outcome = guest.command("suite pagers.sum").run().unwrap();
    print_cases(&outcome);
    assert_passed(&outcome);
}

#[test]
fn a_program_that_is_larger_than_memory_runs() {
    let share = scratch();
    let guest = guest(share.path()).mem("64M").option("test", "1");
    let guest = guest.timeout(Duration::from_secs(300));
    let outcome = guest.command("suite exec.larger").run().unwrap();
    print_cases(&outcome);
    assert_passed(&outcome);
}

/// The suite runs smaller versions of these cases.
#[test]
#[ignore = "writes 6 GiB and looks at 64; run with -- --ignored"]
fn a_cut_of_64_gibibytes_and_rescues_of_two_are_done_or_refused() {
    let share = scratch();
    let guest = guest(share.path()).mem("64M").option("test", "1");
    let guest = guest.timeout(Duration::from_secs(1200));
    let outcome = guest
        .command("suite large.cut.long large.rescued.long large.cut.full.long")
        .run()
        .unwrap();
    print_cases(&outcome);
    assert_passed(&outcome);
}
