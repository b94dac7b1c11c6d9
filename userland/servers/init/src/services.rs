//! Starts servers, mounts their trees, and restarts servers that end.

use alloc::format;
use alloc::string::String;
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
        self.start(Known {
            privileges: privilege::DEVICE | privilege::SERVICE,
            again: 0,
            ..Known::new(&["/bin/consfs"], TERMINAL)
        })?;
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
        self.start(Known {
            privileges: privilege::DEVICE | privilege::COUNTERS | privilege::SERVICE,
            name: format!("?{options}"),
            ..Known::new(&["/bin/hostfs"], "/n/host")
        })
    }

    /// Starts ramfs: files in memory.
    pub fn memory(&mut self) -> Result<(), Failure> {
        self.start(Known::new(&["/bin/ramfs"], "/tmp"))
    }

    /// Starts swapfs, and makes its files the place of memory that does not fit.
    /// `kind` is the boot option: where its files are.
    pub fn swap(&mut self, kind: &str) -> Result<(), Failure> {
        let argv: &[&str] = match kind {
            "image" => &["/bin/swapfs"],
            "directory" => &["/bin/swapfs", "swap"],
            _ => return Err(Failure::new(format_args!("swap={kind}: no such place"))),
        };
        self.start(Known {
            privileges: privilege::DEVICE | privilege::SERVICE,
            task: Task::Swap,
            ..Known::new(argv, "swap")
        })
    }

    /// Starts a server and mounts its tree.
    fn start(&mut self, server: Known) -> Result<(), Failure> {
        self.known.get_mut().push(server);
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
        let (path, status, text) = (server.argv[0], ended.status(), ended.text());
        // The log works without a console.
        say(&format!("{path} ended with status {status}: {text}"));
        if status == 0 || server.again == 0 {
            return;
        }
        server.again -= 1;
        // The name leads to the dead server; unmounting uncovers the files
        // below.
        if server.task == Task::Files {
            let _ = sys::unmount(server.place);
        }
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
    argv: &'static [&'static str],
    place: &'static str,
    privileges: u64,
    name: String,
    /// How often it may be restarted. Never for the console, because
    /// descriptors that other programs have open there cannot recover.
    again: u32,
    task: Task,
}

/// The purpose of a server's tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Files for programs.
    Files,
    /// The place of memory that does not fit.
    Swap,
}

impl Known {
    /// A server with the privileges of one that uses no device.
    fn new(argv: &'static [&'static str], place: &'static str) -> Known {
        Known {
            pid: 0,
            argv,
            place,
            privileges: privilege::SERVICE,
            name: String::new(),
            again: AGAIN,
            task: Task::Files,
        }
    }

    fn start(&mut self) -> Result<(), Failure> {
        let (path, place) = (self.argv[0], self.place);
        let server = service::start(path, self.argv, self.privileges)?;
        self.pid = server.pid;
        match self.task {
            Task::Files => {
                let mounted = server.channel.mount_as(place, bind::REPLACE, &self.name);
                mounted.about(format_args!("{place}: mounting {path}"))
            }
            // Without a name: programs must not get to memory of others.
            Task::Swap => server
                .channel
                .swap_on()
                .about(format_args!("{place}: {path}")),
        }
    }
}
