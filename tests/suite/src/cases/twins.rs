//! Two files of the host with one inode number, in `/n/host/odd`; see
//! `tests/qemu/tests/hostile_host`. Only on request.

use super::Case;
use crate::check::{PG, Verdict, equal, fails};
use rt::abi::mode;
use rt::{Errno, File, Segment};

pub const CASES: &[Case] = &[Case::asked("twins.asleep", asleep)];

const ONE: &str = "/n/host/odd/twin";
const OTHER: &str = "/n/host/odd/other-twin";

/// While a program sleeps on the one, the other is refused: neither are its bytes taken
/// for those of the first, nor is it written to in the first one's name.
fn asleep() -> Verdict {
    let file = File::open(ONE, mode::OREAD)?;
    let len = file.stat()?.size as usize;
    let mut want = Segment::attach_with("snapshot", len, 0, 1)?;
    file.read_full_at(&mut want.bytes_mut()[..len], 0)?;
    let mut asleep = Segment::attach("snapshot", len)?;
    file.read_full_at(&mut asleep.bytes_mut()[..len], 0)?;
    for access in [mode::OREAD, mode::OWRITE, mode::ORDWR | mode::OTRUNC] {
        let other = File::open(OTHER, access);
        let used = other.and_then(|other| match access {
            mode::OREAD => other.read_at(&mut [0; 64], PG as u64),
            _ => other.write_at(&[0xee; 64], PG as u64),
        });
        fails(OTHER, used, Errno::EIO)?;
    }
    equal("asleep", &asleep.bytes()[..len], &want.bytes()[..len])?;
    drop(asleep);
    drop(file);
    // Nobody sleeps any more.
    let other = File::open(OTHER, mode::OREAD)?;
    let read = other.read_at(&mut [0; 64], 0);
    equal("bytes read", &[read? as u8], &[64])
}
