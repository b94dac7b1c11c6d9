//! The words that a program finds on its stack.
use dormouse_image::Program;
use dormouse_image::stack::{Stack, Strings, random, words};

const TOP: u64 = 0x7000_0000;

/// The headers of this test, which is a program too.
fn program() -> Program {
    let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut head = file[..4096].to_vec();
    // One part, executable, and nothing that makes it a program of Linux.
    head[16] = 2;
    head[56] = 1;
    head[57] = 0;
    let at = u64::from_le_bytes(head[32..40].try_into().unwrap()) as usize;
    let words: [u64; 7] = [5 << 32 | 1, 0, 0x40_0000, 0x40_0000, 4096, 4096, 4096];
    for (chunk, word) in head[at..].chunks_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    head[24..32].copy_from_slice(&0x40_0100_u64.to_le_bytes());
    Program::parse(&head, 4096..TOP).unwrap()
}

#[test]
fn lists_end_with_zeros_and_point_to_their_strings() {
    let strings = Strings {
        bytes: b"sh\0-c\0A=1\0",
        arguments: &[0, 3],
        environment: &[6],
    };
    let stack = Stack::new(TOP, 7, &strings);
    assert_eq!((stack.random, stack.path), (TOP - 16, TOP - 24));
    assert_eq!(stack.strings, TOP - 34);
    let table: Vec<u64> = stack.words(&program(), &strings).collect();
    assert_eq!(table.len(), words(&strings));
    assert_eq!(stack.pointer % 16, 0);
    let end = stack.pointer + 8 * table.len() as u64;
    assert!(end <= stack.strings && stack.strings - end < 16);
    let at = stack.strings;
    assert_eq!(table[..6], [2, at, at + 3, 0, at + 6, 0]);
    let auxiliary = |key| table[6..].chunks(2).find(|pair| pair[0] == key).unwrap()[1];
    assert_eq!(auxiliary(9), 0x40_0100);
    assert_eq!(auxiliary(25), stack.random);
    assert_eq!(auxiliary(31), stack.path);
    assert_eq!(table[table.len() - 2..], [0, 0]);
}

#[test]
fn random_bytes_differ_with_their_seed() {
    assert_ne!(random(1), random(2));
    assert_eq!(random(7), random(7));
}
