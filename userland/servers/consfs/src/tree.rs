//! The tree: a directory with the console and its control file.

use ninep::consts::{getattr, qid};
use ninep::{Attr, DirEntry, Qid};

/// A file of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// The directory.
    Root,
    /// `cons`: input and output.
    Console,
    /// `consctl`: the control file.
    Control,
}

/// The names in the directory.
const NAMES: [(&str, Node); 2] = [("cons", Node::Console), ("consctl", Node::Control)];

impl Node {
    /// Looks up `name` in this file.
    pub fn walk(self, name: &[u8]) -> Option<Node> {
        match (self, name) {
            (Node::Root, b"." | b"..") => Some(Node::Root),
            (Node::Root, name) => NAMES
                .iter()
                .find(|(n, _)| n.as_bytes() == name)
                .map(|(_, node)| *node),
            (Node::Console | Node::Control, _) => None,
        }
    }

    pub fn qid(self) -> Qid {
        let (kind, path) = match self {
            Node::Root => (qid::DIR, 0),
            Node::Console => (0, 1),
            Node::Control => (0, 2),
        };
        Qid {
            kind,
            version: 0,
            path,
        }
    }

    pub fn attributes(self) -> Attr {
        Attr {
            valid: getattr::BASIC,
            qid: self.qid(),
            mode: match self {
                Node::Root => 0o040_555,
                // Character devices that all may read and write.
                Node::Console | Node::Control => 0o020_666,
            },
            nlink: 1,
            blksize: 4096,
            ..Attr::default()
        }
    }
}

/// Entries of the directory after position `from`, as far as they fit; the
/// bytes used.
pub fn list(from: u64, out: &mut [u8]) -> usize {
    let mut used = 0;
    let positions = 1u64..;
    for (position, (name, node)) in positions.zip(NAMES) {
        let entry = DirEntry {
            qid: node.qid(),
            offset: position,
            // Linux's `d_type` of a character device.
            kind: 2,
            name: name.into(),
        };
        if position > from {
            match entry.encode(out.get_mut(used..).unwrap_or(&mut [])) {
                Ok(n) => used += n,
                Err(_) => break,
            }
        }
    }
    used
}
