//! Many at once at one file server: each is served, and none is shut out by the
//! others.

use dormouse_qemu_tests::{guest, run, scratch};
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
