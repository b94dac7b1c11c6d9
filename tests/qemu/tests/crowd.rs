//! Many at once at one file server: each is served, and none is shut out by the
//! others.

use dormouse_qemu_tests::{assert_passed, guest, print_cases, run, scratch};
use std::fs;

#[test]
fn copies_over_files_end_however_many_there_are() {
    const LEN: u32 = 16 << 20;
    const FILES: u32 = 6;
    let share = scratch();
    let at = |name: String| share.path().join(name);
    let content = |n: u32| -> Vec<u8> { (0..LEN).map(|k| (k >> 12 ^ k ^ n) as u8 | 1).collect() };
    for n in 1..=FILES {
        fs::write(at(format!("from{n}")), content(n)).unwrap();
        fs::write(at(format!("to{n}")), vec![7; LEN as usize]).unwrap();
    }
    let command = "cd /n/host; for n in 1 2 3 4 5 6; do \
        dd if=from$n of=to$n bs=16M conv=notrunc & done; wait; echo all";
    let guest = guest(share.path()).mem("256M").command(command);
    let (console, status) = run(share.path(), &guest);
    assert!(status == 0 && console.ends_with("all\n"), "{console}");
    for n in 1..=FILES {
        assert!(
            fs::read(at(format!("to{n}"))).unwrap() == content(n),
            "to{n}"
        );
    }
}

#[test]
fn requests_that_wait_long_for_a_file_keep_nothing_from_others() {
    let share = scratch();
    let guest = guest(share.path())
        .option("test", "1")
        .option("poison", "1");
    let outcome = guest
        .command("suite crowd.waiters crowd.tags crowd.cutters")
        .run()
        .unwrap();
    print_cases(&outcome);
    assert_passed(&outcome);
}

#[test]
fn readers_of_the_console_keep_nothing_from_others() {
    let share = scratch();
    let command = r#"i=0; pids=
while [ $i -lt 80 ]; do cat /dev/cons >/tmp/read$i 2>&1 & pids="$pids $!"; i=$((i+1)); done
sleep 2; echo still here; kill $pids; wait; echo and later"#;
    let (console, _) = run(share.path(), &guest(share.path()).command(command));
    assert!(console.contains("still here\n"), "{console}");
    assert!(console.contains("and later\n"), "{console}");
}
