//! Starts servers, mounts their trees, and restarts servers that end.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use rt::abi::{bind, mode, privilege};
use rt::console::{CONSOLE, CONTROL, TERMINAL};
use rt::process::Ended;
use rt::{Failure, File, Named, service, sys};

/// The servers that were started.
#[derive(Default)]
pub struct Services {
    known: RefCell<Vec<Known>>,
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
        // The first open descriptors: 0, 1 and 2.
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

    /// Starts hostfs: driver and snapshots in one process. `options` are mount
    /// options, as of `mount -o`.
    pub fn host_directory(&mut self, options: &str) -> Result<(), Failure> {
        let privileges = privilege::DEVICE | privilege::COUNTERS | privilege::SERVICE;
        let name = format!("?{options}");
        self.start("/bin/hostfs", "/n/host", privileges, &name)
    }

    /// Starts ramfs: files in memory.
    pub fn memory(&mut self) -> Result<(), Failure> {
        self.start("/bin/ramfs", "/tmp", privilege::SERVICE, "")
    }

    /// Starts the server at `path` with `privileges` and mounts its tree `name`
    /// at `place`.
    fn start(
        &mut self,
        path: &'static str,
        place: &'static str,
        privileges: u64,
        name: &str,
    ) -> Result<(), Failure> {
        self.known.get_mut().push(Known {
            pid: 0,
            path,
            place,
            privileges,
            name: name.to_string(),
            again: if place == TERMINAL { 0 } else { AGAIN },
        });
        match self.known.get_mut().last_mut() {
            Some(known) => known.start(),
            None => Ok(()),
        }
    }

    /// Reports the end of a server, and restarts it unless it ended
    /// voluntarily. Other orphans are ignored.
    pub fn report(&self, ended: &Ended) {
        let mut known = self.known.borrow_mut();
        let Some(server) = known.iter_mut().find(|known| known.pid == ended.pid()) else {
            return;
        };
        let (path, status, text) = (server.path, ended.status(), ended.text());
        // The log works without a console.
        say(&format!("{path} ended with status {status}: {text}"));
        if status == 0 || server.again == 0 {
            return;
        }
        server.again -= 1;
        // The name leads to the dead server; unmounting uncovers the files
        // below.
        let _ = sys::unmount(server.place);
        match server.start() {
            Ok(()) => say(&format!("{path} was started again at {}", server.place)),
            Err(failure) => say(&format!("{path} was not started again: {failure}")),
        }
    }
}

/// How often a server is started again.
const AGAIN: u32 = 3;

fn say(text: &str) {
    rt::eprintln!("init: {text}");
    let _ = sys::log(format!("init: {text}").as_bytes());
}

/// A server and how to start it.
struct Known {
    pid: u64,
    path: &'static str,
    place: &'static str,
    privileges: u64,
    name: String,
    /// How often it may be restarted. Never for the console, because
    /// descriptors that other programs have open there cannot recover.
    again: u32,
}

impl Known {
    fn start(&mut self) -> Result<(), Failure> {
        let (path, place) = (self.path, self.place);
        let server = service::start(path, &[path], self.privileges)?;
        self.pid = server.pid;
        let mounted = server.channel.mount_as(place, bind::REPLACE, &self.name);
        mounted.about(format_args!("{place}: mounting {path}"))
    }
}
