//! Input on which loader and runner must fail: each gives a clear message and a
//! failure, and none hangs or counts as passed.

use runner::bundle::Bundle;
use runner::failure::status;
use runner::guests::Profile;
use runner::judge::EXIT_HALT;
use runner::{End, Guest, Outcome, Verbosity, guests};
use std::fs;
use std::time::Duration;

/// QEMU's exit status when the guest reports a failure.
const EXIT_FAILURE: i32 = 35;

fn boot(bundle: Vec<u8>, timeout_seconds: u64) -> Outcome {
    let guest = Guest::new()
        .mem("64M")
        .timeout(Duration::from_secs(timeout_seconds));
    guest.bundle(bundle).run().unwrap()
}

/// A bundle with this kernel and nothing else.
fn with_kernel(kernel: &[u8]) -> Vec<u8> {
    let mut bundle = Bundle::new();
    bundle.add("kernel", kernel).unwrap();
    bundle.finish().unwrap()
}

/// The real kernel's file, to be damaged.
fn kernel() -> Vec<u8> {
    fs::read(
        guests::build(Profile::Quick, Verbosity::Normal)
            .unwrap()
            .kernel,
    )
    .unwrap()
}

fn read_u64(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
}

fn write_u64(file: &mut [u8], at: usize, value: u64) {
    file[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

// Places in an ELF file (System V ABI, chapters 4 and 5).
const E_TYPE: usize = 16;
const E_MACHINE: usize = 18;
const E_ENTRY: usize = 24;
const P_FLAGS: usize = 4;
const P_OFFSET: usize = 8;
const P_VADDR: usize = 16;
const P_FILESZ: usize = 32;
const P_MEMSZ: usize = 40;

/// Where the headers of the segments to load begin.
fn load_headers(file: &[u8]) -> Vec<usize> {
    let first = read_u64(file, 32) as usize;
    let count = u16::from_le_bytes([file[56], file[57]]) as usize;
    let headers = (0..count).map(|n| first + n * 56);
    headers
        .filter(|at| file[*at..*at + 4] == [1, 0, 0, 0])
        .collect()
}

/// The kernel with these instructions at its entry.
fn kernel_that_begins(code: &[u8]) -> Vec<u8> {
    let mut file = kernel();
    let entry = read_u64(&file, E_ENTRY);
    let at = load_headers(&file).into_iter().find_map(|header| {
        let offset_in_segment = entry.checked_sub(read_u64(&file, header + P_VADDR))?;
        let inside = offset_in_segment < read_u64(&file, header + P_FILESZ);
        inside.then(|| (read_u64(&file, header + P_OFFSET) + offset_in_segment) as usize)
    });
    let at = at.expect("the entry lies in a segment");
    file[at..at + code.len()].copy_from_slice(code);
    with_kernel(&file)
}

#[track_caller]
fn refused(bundle: Vec<u8>, reason: &str) {
    let outcome = boot(bundle, 20);
    let said = format!("loader: {reason}");
    assert!(
        outcome.console.contains(&said),
        "{:?} does not say {said:?}",
        outcome.console
    );
    assert!(
        outcome.verdicts.starts_with(&format!("@panic {said}")),
        "{:?}",
        outcome.verdicts
    );
    assert_eq!(outcome.exit_code, Some(EXIT_FAILURE));
    let failure = outcome.status().unwrap_err();
    assert_eq!(failure.status, status::GUEST);
    assert!(failure.text.contains(reason), "{failure}");
}

#[test]
fn a_bad_bundle_is_named() {
    refused(b"no archive at all".to_vec(), "bundle: archive length");
    refused(
        vec![b'x'; 4096],
        "bundle: header at block 0 has an invalid checksum",
    );
    let mut cut = with_kernel(&kernel());
    cut.truncate(8 * 512);
    refused(
        cut,
        "bundle: payload described by header at block 0 extends beyond the archive",
    );
    let mut other = Bundle::new();
    other.add("bin/cat", b"meow").unwrap();
    refused(other.finish().unwrap(), "bundle: no file named kernel");
}

#[test]
fn a_kernel_that_is_no_kernel_is_named() {
    refused(with_kernel(b"hello"), "kernel: ");
    refused(with_kernel(&kernel()[..2000]), "kernel: ");
    let mut file = kernel();
    file[E_TYPE] = 3;
    refused(with_kernel(&file), "kernel: not a static executable");
    let mut file = kernel();
    file[E_MACHINE] = 183;
    refused(with_kernel(&file), "kernel: not for x86_64");
    let mut file = kernel();
    let name = b".bootloader-config\0";
    let at = file
        .windows(name.len())
        .position(|window| window == name)
        .unwrap();
    file[at + 1] = b'B';
    refused(with_kernel(&file), "kernel: no section .bootloader-config");
    let mut file = kernel();
    write_u64(&mut file, E_ENTRY, 0x1000);
    refused(
        with_kernel(&file),
        "kernel: the entry is not in an executable segment",
    );
}

#[test]
fn segments_that_cannot_be_protected_are_refused() {
    let mut file = kernel();
    let header = load_headers(&file)[0];
    file[header + P_FLAGS] = 7;
    let at = read_u64(&file, header + P_VADDR);
    refused(
        with_kernel(&file),
        &format!("kernel: segment at {at:#x} is writable and executable"),
    );

    let mut file = kernel();
    let headers = load_headers(&file);
    let second = read_u64(&file, headers[1] + P_VADDR);
    let first = read_u64(&file, headers[0] + P_VADDR);
    write_u64(&mut file, headers[0] + P_MEMSZ, second - first + 1);
    refused(
        with_kernel(&file),
        &format!("kernel: segment at {second:#x} shares a page"),
    );

    let mut file = kernel();
    let header = load_headers(&file)[0];
    write_u64(&mut file, header + P_VADDR, 0x20_0000);
    refused(
        with_kernel(&file),
        "kernel: segment at 0x200000 is not in the upper half",
    );

    let mut file = kernel();
    let header = *load_headers(&file).last().unwrap();
    write_u64(&mut file, header + P_MEMSZ, 1 << 28);
    refused(with_kernel(&file), "out of memory");
}

#[test]
fn a_guest_that_hangs_is_ended_at_the_time_limit() {
    // 1: jmp 1b
    let outcome = boot(kernel_that_begins(&[0xeb, 0xfe]), 2);
    assert_eq!(outcome.end, End::TimedOut);
    assert_eq!(outcome.status().unwrap_err().status, status::TIMEOUT);
    assert!(!outcome.report().problems(outcome.exit_code).is_empty());
}

#[test]
fn a_triple_fault_is_not_success() {
    // ud2, with no interrupt table yet: QEMU ends with 0.
    let outcome = boot(kernel_that_begins(&[0x0f, 0x0b]), 20);
    assert_eq!(outcome.exit_code, Some(0));
    assert_eq!(outcome.status().unwrap_err().status, status::GUEST);
}

#[test]
fn the_good_exit_code_alone_is_not_success() {
    // mov al, 0x10; out 0xf4, al; 1: jmp 1b
    let outcome = boot(
        kernel_that_begins(&[0xb0, 0x10, 0xe6, 0xf4, 0xeb, 0xfe]),
        20,
    );
    assert_eq!(outcome.exit_code, Some(EXIT_HALT));
    assert_eq!(outcome.status().unwrap_err().status, status::GUEST);
}
