//! Starting servers.

use crate::process::{self, Fork};
use crate::{ByteStr, ByteString, Failure, File, Named, sys};
use abi::SERVICE_FD;

const SERVICE: u32 = SERVICE_FD as u32;

/// A server that was started.
pub struct Service {
    /// The process that serves.
    pub pid: u64,
    /// The client's end of the channel, to be mounted.
    pub channel: File,
}

/// The path of the program for a name typed by a user: in `/bin` if the name
/// contains no slash.
pub fn path_of(name: ByteStr<'_>) -> ByteString {
    match name.contains(&b'/') {
        true => name.to_owned(),
        false => ByteString([b"/bin/", name.bytes()].concat()),
    }
}

/// Starts the program at `path` with a channel as [`abi::SERVICE_FD`] and no
/// other privileges than `privileges`.
pub fn start<'a>(
    path: impl Into<ByteStr<'a>>,
    argv: &[impl AsRef<[u8]>],
    privileges: u64,
) -> Result<Service, Failure> {
    let path = path.into();
    let (ours, theirs) = File::pipe().about("channel")?;
    match process::fork().about(path)? {
        Fork::Parent(pid) => Ok(Service { pid, channel: ours }),
        Fork::Child => {
            drop(ours);
            become_server(path, argv, theirs, privileges)
        }
    }
}

/// In the child: moves the channel to its place and runs the program.
fn become_server(
    path: ByteStr<'_>,
    argv: &[impl AsRef<[u8]>],
    channel: File,
    privileges: u64,
) -> ! {
    let moved = match channel.fd() {
        SERVICE => Ok(channel.into_fd()),
        _ => channel.dup_to(SERVICE).map(|moved| {
            drop(channel);
            moved.into_fd()
        }),
    };
    let errno = match moved.and_then(|_| sys::privilege(privileges)) {
        Ok(_) => process::exec(path, argv),
        Err(errno) => errno,
    };
    crate::eprintln!("{path}: {errno}");
    process::exit_now(1, errno.text())
}
