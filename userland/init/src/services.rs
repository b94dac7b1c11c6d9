//! Starts servers, mounts what they serve, and reports those that end.

use alloc::format;
use alloc::vec::Vec;
use rt::abi::{bind, mode, privilege};
use rt::console::{CONSOLE, CONTROL, TERMINAL};
use rt::process::Ended;
use rt::{Failure, File, Named, service, sys};

/// The servers that were started.
#[derive(Default)]
pub struct Services {
    running: Vec<(u64, &'static str)>,
}

impl Services {
    /// Starts consfs and makes the console standard input, output and error.
    pub fn console(&mut self) -> Result<(), Failure> {
        self.start(
            "/bin/consfs",
            TERMINAL,
            privilege::DEVICE | privilege::SERVICE,
            "",
        )?;
        for (new, old) in [("/dev/term/cons", CONSOLE), ("/dev/term/consctl", CONTROL)] {
            sys::bind(new, old, bind::REPLACE).about(old)?;
        }
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
    /// `options` are asked of it, as `mount -o` does.
    pub fn host_directory(&mut self, options: &str) -> Result<(), Failure> {
        let privileges = privilege::DEVICE | privilege::COUNTERS | privilege::SERVICE;
        let name = format!("?{options}");
        self.start("/bin/hostfs", "/n/host", privileges, &name)
    }

    /// Starts ramfs: files in memory.
    pub fn memory(&mut self) -> Result<(), Failure> {
        self.start("/bin/ramfs", "/tmp", privilege::SERVICE, "")
    }

    /// Starts the server at `path` with `privileges` and mounts what it has
    /// under `name` at `place`.
    fn start(
        &mut self,
        path: &'static str,
        place: &str,
        privileges: u64,
        name: &str,
    ) -> Result<(), Failure> {
        let server = service::start(path, &[path], privileges)?;
        self.running.push((server.pid, path));
        let mounted = server.channel.mount_as(place, bind::REPLACE, name);
        mounted.about(format_args!("{place}: mounting {path}"))
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
