//! The server dies and another one takes its place, over the same files.
//! Clients reconnect, open their files by name, and the kernel reclaims its
//! snapshots.

use ninep::consts::open;
use ninep::{Reply, Request};

use super::{
    FIRST_SNAP, KERNEL, LEASE, OTHER, OpenFile, Real, SESSION, connect, name_of, start_server,
};
use crate::server::File;

impl Real {
    /// The server is restarted. It must be the only one, with a lease. Before
    /// the kernel is back, `meanwhile` happens.
    ///
    /// Files without a name are gone, see [`Real::gone`], and their snapshots
    /// lost; panics if any other snapshot is.
    pub fn restart(&mut self, meanwhile: impl FnOnce(&mut Real)) {
        let old = self.servers.pop().expect("a server");
        assert!(self.servers.is_empty() && self.lease, "one with a lease");
        let backing = old.into_backing();
        backing.hang_up();
        self.servers.push(start_server(backing, LEASE));
        connect(&self.servers[0], OTHER, None);
        let names: Vec<_> = (0..self.files.len()).map(|f| self.name_now(f)).collect();
        for (file, name) in names.iter().enumerate() {
            match name {
                Some(name) => {
                    let opened = self.open_fid(0, OTHER, &name_of(*name), open::RDWR);
                    self.files[file].other = opened.expect("open").0;
                }
                None => self.files[file].gone = true,
            }
        }
        meanwhile(self);
        connect(&self.servers[0], KERNEL, Some(SESSION));
        for (file, name) in names.iter().enumerate() {
            self.come_back(file, *name);
        }
        // The second one says that nothing more is claimed.
        let session = Request::Session { session: SESSION };
        self.tell(0, KERNEL, &session).expect("a known session");
    }

    /// The name of a file.
    fn name_now(&self, file: File) -> Option<File> {
        (0..self.files.len()).find(|name| self.file_at(*name) == Some(file))
    }

    /// Returns true if no client can reach the file any more.
    pub fn gone(&self, file: File) -> bool {
        self.files[file].gone
    }

    /// Returns true if the file has a name, or else no snapshot in use.
    pub fn survives(&self, file: File) -> bool {
        let wanted = |held: &super::Held| held.file == file && !held.ranges.is_empty();
        self.name_now(file).is_some() || !self.snaps.values().any(wanted)
    }

    /// The kernel reopens a file, if it was open, and reclaims its snapshots.
    fn come_back(&mut self, file: File, name: Option<File>) {
        let Some(name) = name else {
            self.files[file].opens = 0;
            return;
        };
        let opened = self.open_fid(0, KERNEL, &name_of(name), open::RDWR);
        let (fid, _) = opened.expect("open");
        for (snap, held) in &self.snaps {
            if held.file == file {
                for (range, epoch) in &held.ranges {
                    self.claim(fid, *snap, range, *epoch);
                }
            }
        }
        let OpenFile { opens, .. } = self.files[file];
        self.files[file].fid = fid;
        if opens == 0 {
            self.tell(0, KERNEL, &Request::Clunk { fid })
                .expect("clunk");
        }
    }

    fn claim(&self, fid: u32, snap: u32, range: &std::ops::Range<u64>, epoch: u64) {
        let request = Request::Snap {
            fid,
            snapfid: FIRST_SNAP + snap,
            off: range.start,
            count: range.end - range.start,
            epoch,
            known: 0,
        };
        let claimed = self.ask(0, KERNEL, &request, |reply| match reply {
            Reply::Snap { count, .. } => Some(count),
            _ => None,
        });
        let want = Ok(range.end - range.start);
        assert_eq!(claimed, want, "{range:?} of {snap} as of {epoch}");
    }
}
