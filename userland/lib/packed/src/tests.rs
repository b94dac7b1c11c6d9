//! Packed files, whole and damaged.

use crate::{BLOCK, HEAD, PACKED_MAX, Unpacked, first_block, pack};
use abi::Errno;
use core::cell::Cell;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn packed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let read = |at: u64, to: &mut [u8]| {
        to.copy_from_slice(&content[at as usize..][..to.len()]);
        Ok(())
    };
    let write = |at: u64, bytes: &[u8]| {
        let end = at as usize + bytes.len();
        out.resize(out.len().max(end), 0);
        out[at as usize..end].copy_from_slice(bytes);
        Ok(())
    };
    pack::<Errno>(content.len() as u64, read, write).unwrap();
    out
}

/// Reads of a packed file; its bytes that were read are added up.
fn source<'s>(
    file: &'s [u8],
    bytes: &'s Cell<usize>,
) -> impl FnMut(u64, &mut [u8]) -> Result<(), Errno> + 's {
    |at, to| {
        assert!(to.len() <= PACKED_MAX);
        bytes.set(bytes.get() + to.len());
        let at = usize::try_from(at).map_err(|_| Errno::EINVAL)?;
        let from = file.get(at..).and_then(|rest| rest.get(..to.len()));
        to.copy_from_slice(from.ok_or(Errno::EIO)?);
        Ok(())
    }
}

fn unpacked(file: &[u8]) -> Result<Vec<u8>, Errno> {
    let bytes = Cell::new(0);
    let mut unpacked = Unpacked::new(file.len() as u64, source(file, &bytes))?;
    // A file that lies about its size is not believed either.
    let mut content = vec![0; unpacked.size().min(1 << 24) as usize];
    unpacked.read(0, &mut content)?;
    Ok(content)
}

/// Content that compresses, but not to nothing.
fn content(len: usize) -> Vec<u8> {
    let number = |at: usize| (at / 8).wrapping_mul(0x9e37_79b9).to_le_bytes()[at % 8];
    (0..len).map(number).collect()
}

#[test]
fn what_is_packed_is_unpacked() {
    for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77] {
        assert!(
            unpacked(&packed(&content(len))).unwrap() == content(len),
            "{len}"
        );
    }
    let zeros = packed(&vec![0; 5 * BLOCK]);
    assert!(zeros.len() < BLOCK / 10, "{}", zeros.len());
    assert!(unpacked(&zeros).unwrap() == vec![0; 5 * BLOCK]);
}

#[test]
fn more_blocks_than_a_piece_of_the_index_has() {
    let content = vec![7; 70 * BLOCK + 1];
    assert!(unpacked(&packed(&content)).unwrap() == content);
}

#[test]
fn a_read_unpacks_the_blocks_that_it_touches() {
    let (content, bytes) = (content(33 * BLOCK), Cell::new(0));
    let file = packed(&content);
    let mut unpacked = Unpacked::new(file.len() as u64, source(&file, &bytes)).unwrap();
    assert_eq!(bytes.take(), HEAD as usize + 16);
    let mut out = [0; 4096];
    unpacked.read(20 * BLOCK as u64 + 4096, &mut out).unwrap();
    assert_eq!(out, content[20 * BLOCK + 4096..][..4096]);
    let one = bytes.take();
    assert!(one > 16 && one <= 16 + PACKED_MAX, "{one}");
    // The same block is not unpacked again.
    unpacked.read(20 * BLOCK as u64, &mut out).unwrap();
    assert_eq!(bytes.take(), 0);
    unpacked.read(31 * BLOCK as u64 - 100, &mut out).unwrap();
    assert_eq!(out, content[31 * BLOCK - 100..][..4096]);
    assert!(bytes.take() > one);
    let end = content.len() as u64;
    assert_eq!(unpacked.read(end - 4095, &mut out), Err(Errno::EINVAL));
    assert_eq!(unpacked.read(u64::MAX - 4, &mut out), Err(Errno::EINVAL));
}

#[test]
fn a_block_that_is_more_or_less_than_it_should_be_is_an_error() {
    let (small, large) = (packed(&[1; 100]), packed(&vec![1; BLOCK]));
    // A bomb: the size says 100 bytes, the block has 64 KiB; and the other way round.
    for (size, from) in [(100_u64, &large), (99, &small), (BLOCK as u64, &small)] {
        let mut file = from.clone();
        file[8..16].copy_from_slice(&size.to_le_bytes());
        assert_eq!(unpacked(&file), Err(Errno::EIO), "{size}");
    }
}

#[test]
fn a_size_of_fewer_or_more_blocks_is_an_error() {
    let file = packed(&content(3 * BLOCK));
    for blocks in [0, 1, 2, 4, 5] {
        let mut file = file.clone();
        file[8..16].copy_from_slice(&(blocks * BLOCK as u64).to_le_bytes());
        assert_eq!(unpacked(&file), Err(Errno::EINVAL), "{blocks}");
    }
}

#[test]
fn an_index_that_lies_is_an_error() {
    let file = packed(&content(3 * BLOCK));
    let len = file.len() as u64;
    for lie in [
        0,
        HEAD,
        first_block(3 * BLOCK as u64) - 1,
        len,
        len + 1,
        u64::MAX,
    ] {
        for entry in 0..4 {
            let mut file = file.clone();
            file[HEAD as usize + 8 * entry..][..8].copy_from_slice(&lie.to_le_bytes());
            let honest = entry == 3 && lie == len;
            assert_eq!(unpacked(&file).is_ok(), honest, "{lie} {entry}");
        }
    }
    for size in [1 << 40, u64::MAX, u64::MAX - BLOCK as u64] {
        let mut file = file.clone();
        file[8..16].copy_from_slice(&size.to_le_bytes());
        assert_eq!(unpacked(&file), Err(Errno::EINVAL), "{size}");
    }
}

#[test]
fn every_prefix_is_an_error() {
    let file = packed(&content(BLOCK + 5));
    let step = |at: usize| at < 200 || at.is_multiple_of(97) || at + 200 > file.len();
    for end in (0..file.len()).filter(|end| step(*end)) {
        assert!(unpacked(&file[..end]).is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn random_content_comes_back(
        runs in proptest::collection::vec((any::<u8>(), 1usize..30_000), 0..12),
        offset in any::<u64>(), len in 0usize..100_000,
    ) {
        let content: Vec<u8> = runs.iter().enumerate()
            .flat_map(|(at, (byte, len))| (0..*len).map(move |n| match at % 3 {
                0 => (n.wrapping_mul(0x9e37_79b9) >> 9) as u8 ^ byte,
                _ => *byte,
            }))
            .collect();
        let (file, bytes) = (packed(&content), Cell::new(0));
        let mut unpacked = Unpacked::new(file.len() as u64, source(&file, &bytes)).unwrap();
        let at = (offset % (content.len() as u64 + 1)) as usize;
        let mut out = vec![0; len.min(content.len() - at)];
        unpacked.read(at as u64, &mut out).unwrap();
        prop_assert!(out == content[at..][..out.len()]);
    }

    #[test]
    fn damage_is_found_or_does_no_harm(
        places in proptest::collection::vec((any::<u64>(), any::<u8>()), 1..8),
        cut in any::<u64>(), cuts in any::<bool>(),
    ) {
        let right = content(BLOCK + 100);
        let mut file = packed(&right);
        for (place, byte) in places {
            let at = (place % file.len() as u64) as usize;
            file[at] ^= byte;
        }
        if cuts {
            file.truncate((cut % (file.len() as u64 + 1)) as usize);
        }
        if let Ok(got) = unpacked(&file) {
            prop_assert!(got == right[..got.len()]);
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_content(
        size in prop_oneof![0u64..200_000, any::<u64>()],
        index in proptest::collection::vec(prop_oneof![0u64..500, any::<u64>()], 0..6),
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut file = b"packed1\n".to_vec();
        file.extend(size.to_le_bytes());
        index.iter().for_each(|entry| file.extend(entry.to_le_bytes()));
        file.extend(rest);
        if let Ok(got) = unpacked(&file) {
            prop_assert!(got.len() as u64 == size);
        }
    }
}
