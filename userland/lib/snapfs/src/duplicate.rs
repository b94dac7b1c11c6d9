//! A copy of a whole server, for models that try many futures of one state.

use crate::conn::{Conn, Entry, Open};
use crate::durable::{Durable, Kept, Session, Sessions};
use crate::file::File;
use crate::snap::Snapshot;
use crate::sync::Condition;
use crate::{Backing, Snapfs};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

/// The files of the old server beside those of the new one.
struct Files(Vec<(Rc<File>, Rc<File>)>);

impl Files {
    /// The new server's own of an old file. One that has no name any more
    /// may still be held by a fid.
    fn new_of(&mut self, old: &Rc<File>) -> Rc<File> {
        if let Some((_, new)) = self.0.iter().find(|(known, _)| Rc::ptr_eq(known, old)) {
            return new.clone();
        }
        let new = Rc::new(File {
            path: old.path,
            lock: old.lock.clone(),
            state: old.state.clone(),
        });
        self.0.push((old.clone(), new.clone()));
        new
    }

    fn entry(&mut self, entry: &Entry) -> Entry {
        match entry {
            Entry::Plain(_) => entry.clone(),
            Entry::Open(open) => Entry::Open(Rc::new(Open {
                file: self.new_of(&open.file),
                same_as: open.same_as.clone(),
                closed: open.closed.clone(),
                ..**open
            })),
            Entry::Snap(snapshot) => Entry::Snap(self.snapshot(snapshot)),
            Entry::Reserved => unreachable!("a request is in flight"),
        }
    }

    fn snapshot(&mut self, snapshot: &Snapshot) -> Rc<Snapshot> {
        Rc::new(Snapshot {
            file: self.new_of(&snapshot.file),
            references: snapshot.references.clone(),
            options: snapshot.options,
        })
    }

    fn session(&mut self, session: &Session) -> Rc<Session> {
        let kept = session.kept.borrow();
        let snaps = kept.snaps.iter();
        let snaps = snaps.map(|(fid, snapshot)| (*fid, self.snapshot(snapshot)));
        Rc::new(Session {
            kept: RefCell::new(Kept {
                snaps: snaps.collect(),
                writes: kept.writes.clone(),
            }),
            ..session.state()
        })
    }

    fn sessions(&mut self, sessions: &Sessions) -> Sessions {
        let list = sessions.list.borrow();
        let list = list
            .iter()
            .map(|(id, session)| (*id, self.session(session)));
        Sessions {
            list: RefCell::new(list.collect()),
            now: sessions.now.clone(),
            count: sessions.count.clone(),
            lease: sessions.lease,
        }
    }

    fn conn(&mut self, conn: &Conn, sessions: &Sessions) -> Conn {
        assert!(conn.tags.borrow().is_empty(), "a request is in flight");
        let fids = conn.fids.borrow();
        let entries = fids.iter().map(|(fid, entry)| (*fid, self.entry(entry)));
        Conn {
            holds: conn.holds.clone(),
            refused: conn.refused.clone(),
            id: conn.id.clone(),
            session: RefCell::new(conn.session().and_then(|session| sessions.find(session.id))),
            fids: RefCell::new(entries.collect()),
            fids_max: conn.fids_max.clone(),
            snapfids: conn.snapfids.clone(),
            msize: conn.msize.clone(),
            versions: conn.versions.clone(),
            snaps: conn.snaps.clone(),
            tags: RefCell::default(),
            flushed: RefCell::default(),
            turns: conn.turns.clone(),
            done: Condition::default(),
            writes: conn.writes.clone(),
        }
    }
}

impl<B: Backing> Snapfs<B> {
    /// A copy of the server over `backing`, a copy of its own; both go on on their
    /// own.
    ///
    /// # Panics
    /// If a request is in flight.
    pub fn duplicate(&self, backing: B) -> Snapfs<B> {
        let mut files = Files(Vec::new());
        let known = self.files.borrow();
        let known = known.iter().map(|(path, file)| (*path, files.new_of(file)));
        let known = RefCell::new(known.collect());
        let sessions = files.sessions(&self.durable.sessions);
        let conns = self.conns.borrow();
        let conns = conns
            .iter()
            .map(|(id, conn)| (*id, Rc::new(files.conn(conn, &sessions))))
            .collect();
        let old_files = self.durable.old_files.borrow();
        let old_files = old_files.iter().map(|file| files.new_of(file)).collect();
        Snapfs {
            durable: Durable {
                sessions,
                log: self.durable.log.clone(),
                boot: self.durable.boot,
                old_files: RefCell::new(old_files),
            },
            lazy: self.lazy.clone(),
            unlearnt: self.unlearnt.clone(),
            backing,
            conns: RefCell::new(conns),
            files: known,
            unused: self.unused.clone(),
            fids: self.fids.clone(),
            by_names: self.by_names,
            known: self.known.clone(),
            store: self.store.clone(),
            hidden: self.hidden.clone(),
            names: self.names.clone(),
            tables: self.tables.clone(),
            staging: self.staging.clone(),
            wmax: self.wmax,
            fids_max: self.fids_max,
            copying: self.copying.clone(),
            now_served: self.now_served.clone(),
            flushes: crate::sync::Condition::default(),
            tree: self.tree.clone(),
            epoch: self.epoch.clone(),
            now_s: self.now_s.clone(),
            old_s: self.old_s,
            snapshots: self.snapshots.clone(),
            rescued: self.rescued.clone(),
            lost: self.lost.clone(),
            counts_blocks: self.counts_blocks.clone(),
        }
    }
}
