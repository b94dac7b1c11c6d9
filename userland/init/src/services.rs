//! Starts servers: a channel, a child that finds its end as descriptor 3, and
//! the tree it serves mounted. Reports those that end.

use alloc::vec::Vec;
use rt::abi::{SERVICE_FD, mode, privilege};
use rt::process::{self, Ended, Fork};
use rt::{Failure, File, Named, sys};

const SERVICE: u32 = SERVICE_FD as u32;
const CONSOLE: &str = "/dev/cons";

/// The servers that were started.
#[derive(Default)]
pub struct Services {
    running: Vec<(u64, &'static str)>,
}

impl Services {
    /// Starts consfs and makes the console standard input, output and error.
    pub fn console(&mut self) -> Result<(), Failure> {
        self.start("/bin/consfs", CONSOLE, privilege::DEVICE)?;
        // Nothing is open yet, so these are 0, 1 and 2.
        let console = File::open(CONSOLE, mode::ORDWR).about(CONSOLE)?;
        for fd in 0..3 {
            if console.fd() != fd {
                console.dup_to(fd).about(CONSOLE)?.into_fd();
            }
        }
        if console.fd() < 3 {
            console.into_fd();
        }
        Ok(())
    }

    /// Starts hostfs: the driver and the snapshots in one process.
    pub fn host_directory(&mut self) -> Result<(), Failure> {
        let privileges = privilege::DEVICE | privilege::COUNTERS;
        self.start("/bin/hostfs", "/n/host", privileges)
    }

    /// Starts the server at `path` with `privileges` and mounts it at `place`.
    fn start(&mut self, path: &'static str, place: &str, privileges: u64) -> Result<(), Failure> {
        let (ours, theirs) = File::pipe().about("channel")?;
        match process::fork().about(path)? {
            Fork::Child => become_server(path, ours, theirs, privileges),
            Fork::Parent(pid) => {
                drop(theirs);
                self.running.push((pid, path));
                ours.mount(place)
                    .about(format_args!("{place}: mounting {path}"))
            }
        }
    }

    /// Says so if it is a server that has ended; of other orphans nobody wants
    /// to know.
    pub fn report(&self, ended: &Ended) {
        if let Some((_, path)) = self.running.iter().find(|(pid, _)| *pid == ended.pid()) {
            let (status, text) = (ended.status(), ended.text());
            rt::eprintln!("init: {path} ended with status {status}: {text}");
        }
    }
}

/// In the child: moves the channel to its place and runs the program.
fn become_server(path: &str, ours: File, theirs: File, privileges: u64) -> ! {
    drop(ours);
    let moved = match theirs.fd() {
        SERVICE => Ok(theirs.into_fd()),
        _ => theirs.dup_to(SERVICE).map(|file| {
            drop(theirs);
            file.into_fd()
        }),
    };
    let started = moved.and_then(|_| sys::privilege(privileges));
    let errno = match started {
        Ok(_) => process::exec(path, &[path]),
        Err(errno) => errno,
    };
    rt::eprintln!("init: {path}: {errno}");
    process::exit_now(1, errno.text())
}
