//! QEMU's own messages, reworded for users.

use crate::failure::{line, say};
use std::io::{BufRead, BufReader, Read};

/// Lines kept to explain the end of a QEMU.
const KEPT: usize = 8;

/// Prints the messages from `stderr`; returns the first ones at its end.
pub fn pass(stderr: impl Read) -> Vec<String> {
    let mut kept = Vec::new();
    for text in BufReader::new(stderr).lines().map_while(Result::ok) {
        match reading(&text) {
            Reading::Nothing => {}
            Reading::Explained(what) => say(what),
            // Reported after the session, as the reason for its end.
            Reading::NoMemory => kept.insert(0, text),
            Reading::AsItIs => {
                line(&text);
                if kept.len() < KEPT {
                    kept.push(text);
                }
            }
        }
    }
    kept
}

/// The reason in a message of QEMU that the guest's memory cannot be allocated.
pub fn no_memory(text: &str) -> Option<&str> {
    let (_, why) = text.split_once("cannot set up guest memory")?;
    Some(why.split_once(": ").map_or(why, |(_, why)| why))
}

/// The treatment of a line.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Nothing,
    Explained(&'static str),
    NoMemory,
    AsItIs,
}

fn reading(text: &str) -> Reading {
    // Features of the processor model that QEMU's translator lacks.
    if text.trim().is_empty() || text.contains("TCG doesn't support requested feature") {
        return Reading::Nothing;
    }
    if no_memory(text).is_some() {
        return Reading::NoMemory;
    }
    // QEMU reports this once, and opens no other file for a guest.
    if text.contains("broken or compromised client") {
        return Reading::Explained(
            "a file of the shared directory is a fifo, a socket or a device: \
             a guest cannot open it",
        );
    }
    Reading::AsItIs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_left_out_and_riddles_are_explained() {
        let said = b"warning: TCG doesn't support requested feature: CPUID.07H\n\n\
                     qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory\n\
                     qemu: 9p: broken or compromised client detected; attempt to open special file\n";
        let kept = pass(&said[..]);
        assert_eq!(kept.len(), 1);
        assert_eq!(no_memory(&kept[0]), Some("Cannot allocate memory"));
        let special = reading("9p: broken or compromised client detected");
        assert!(matches!(special, Reading::Explained(_)));
    }
}
