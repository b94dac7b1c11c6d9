//! Sessions: the state that outlives a connection. While a client is
//! disconnected, its snapshots and the results of its writes are kept until its
//! lease expires.
//!
//! The owner's [`Snapfs::tick`] is the only clock here.

use crate::conn::{Conn, Entry};
use crate::put::Write;
use crate::serve::Replied;
use crate::snap::Snapshot;
use crate::{Backing, ConnId, Snapfs};
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::cmp::Reverse;
use ninep::Reply;

/// Most sessions of one server; further clients get no lease.
const SESSIONS_MAX: usize = 1024;

/// A session's name, as its client made it up.
pub type SessionId = u128;

/// The sessions of a server, and its clock.
#[derive(Default)]
pub struct Sessions {
    /// Seconds that a client may be away; 0: nothing outlives a connection.
    pub lease: u32,
    /// Seconds, as of the last tick.
    pub(crate) now: Cell<u64>,
    /// Sessions there ever were.
    pub(crate) count: Cell<u64>,
    pub(crate) list: RefCell<BTreeMap<SessionId, Rc<Session>>>,
}

/// One session with a lease.
pub struct Session {
    pub id: SessionId,
    pub(crate) conn: Cell<Option<ConnId>>,
    /// When its lease runs out; `None` while it does not run.
    pub(crate) until: Cell<Option<u64>>,
    /// It is from before this instance, and may reclaim the snapshots it had.
    pub claims: Cell<bool>,
    /// Its client has been connected at least once.
    pub(crate) joined: Cell<bool>,
    /// The time at which its client connected last.
    pub(crate) since: Cell<u64>,
    /// Seconds for which its client was connected, without the present time.
    pub(crate) served: Cell<u64>,
    /// Sessions have ascending numbers.
    pub(crate) number: u64,
    pub(crate) kept: RefCell<Kept>,
}

/// The objects kept for a client.
#[derive(Default)]
pub struct Kept {
    pub snaps: Vec<(u32, Rc<Snapshot>)>,
    pub writes: Vec<(u64, Write)>,
}

impl Sessions {
    pub fn new(lease: u32) -> Sessions {
        Sessions {
            lease,
            ..Sessions::default()
        }
    }

    /// The time at which a lease that begins now ends.
    fn end_of_lease(&self) -> u64 {
        self.now.get().saturating_add(u64::from(self.lease))
    }

    pub fn find(&self, id: SessionId) -> Option<Rc<Session>> {
        self.list.borrow().get(&id).cloned()
    }

    /// Adds a session, whose lease runs until then; `None` if there are too many.
    fn add(&self, id: SessionId, until: Option<u64>) -> Option<Rc<Session>> {
        let mut list = self.list.borrow_mut();
        if list.len() >= SESSIONS_MAX {
            return None;
        }
        self.count.set(self.count.get() + 1);
        let session = Rc::new(Session {
            id,
            conn: Cell::new(None),
            until: Cell::new(until),
            claims: Cell::new(until.is_some()),
            joined: Cell::new(false),
            since: Cell::new(0),
            served: Cell::new(0),
            number: self.count.get(),
            kept: RefCell::default(),
        });
        list.insert(id, session.clone());
        Some(session)
    }

    /// A session that an earlier instance had.
    pub fn add_old(&self, id: SessionId) {
        self.add(id, Some(self.end_of_lease()));
    }

    /// Returns true if there is no session.
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// The ids of all sessions.
    pub fn ids(&self) -> Vec<SessionId> {
        self.list.borrow().keys().copied().collect()
    }

    /// Is there a session that may still claim what an earlier instance had?
    pub fn may_claim(&self) -> bool {
        let list = self.list.borrow();
        list.values().any(|session| session.claims.get())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.borrow().len()
    }

    /// Returns true if its lease has expired.
    fn is_over(&self, session: &Session) -> bool {
        let until = session.until.get();
        until.is_some_and(|until| until <= self.now.get())
    }

    /// If there are as many as there may be: the one to end early, of those whose
    /// client is away. It is one that has nothing here, or was served for the
    /// shortest time, or began last: who makes up ids, which are free, cannot have
    /// been served for long under all of them.
    fn least(&self) -> Option<Rc<Session>> {
        let list = self.list.borrow();
        if list.len() < SESSIONS_MAX {
            return None;
        }
        let away = list.values().filter(|session| session.is_away());
        let least = away.min_by_key(|session| {
            let kept = session.kept.borrow();
            let nothing = kept.snaps.is_empty() && kept.writes.is_empty();
            (!nothing, session.served.get(), Reverse(session.number))
        });
        least.cloned()
    }

    /// Sessions whose lease has run out.
    fn overdue(&self) -> Vec<Rc<Session>> {
        let list = self.list.borrow();
        let over = list.values().filter(|session| self.is_over(session));
        over.cloned().collect()
    }
}

impl<B: Backing> Snapfs<B> {
    /// `Tsession`. The second one of a connection ends its claims.
    pub(crate) async fn session(&self, conn: &Conn, id: [u8; 16]) -> Replied {
        let id = SessionId::from_le_bytes(id);
        let (known, kept) = match conn.session() {
            Some(session) if session.id == id => {
                self.end_claims(&session).await;
                (true, true)
            }
            None if conn.is_empty() => self.begin_session(conn, id).await?,
            _ => return Err(Errno::EINVAL),
        };
        self.promise_epochs().await?;
        Ok(Reply::Session {
            known,
            lease: if kept { self.durable.sessions.lease } else { 0 },
            wmax: self.wmax as u32,
            epoch: self.epoch.get(),
        })
    }

    /// Joins a connection to its session. Returns whether the session is known,
    /// and whether it has a lease.
    async fn begin_session(&self, conn: &Conn, id: SessionId) -> Result<(bool, bool), Errno> {
        let sessions = &self.durable.sessions;
        if sessions.lease == 0 {
            return Ok((false, false));
        }
        if sessions.find(id).is_none() {
            self.make_room_for_session().await;
        }
        while let Some(old) = sessions.find(id) {
            self.take_over(&old).await;
            // While that took its time, it may have ended, or a third
            // connection may have come.
            let same = sessions.find(id);
            if !same.is_some_and(|same| Rc::ptr_eq(&same, &old)) {
                continue;
            }
            if old.conn.get().is_some() || conn.session().is_some() {
                return Err(Errno::EBUSY);
            }
            let known = old.joined.get();
            let claiming = old.claims.get().then(|| sessions.end_of_lease());
            old.until.set(claiming);
            old.give_to(conn, sessions.now.get());
            return Ok((known, true));
        }
        let Some(session) = sessions.add(id, None) else {
            return Ok((false, false));
        };
        session.give_to(conn, sessions.now.get());
        if self.log_session(&session).await.is_err() {
            // It could not be kept over a restart: it is not kept at all.
            sessions.list.borrow_mut().remove(&id);
            conn.set_session(None);
            self.close_idle_log().await;
            return Ok((false, false));
        }
        Ok((false, true))
    }

    /// A client that makes up many ids must not keep the leases from others.
    async fn make_room_for_session(&self) {
        while let Some(session) = self.durable.sessions.least() {
            self.end_session(&session).await;
        }
    }

    /// Takes the session from a connection whose end was not noticed yet: its
    /// requests in flight are finished first, so that no write is lost.
    async fn take_over(&self, session: &Session) {
        let Some(id) = session.conn.get() else { return };
        let old = self.conns.borrow().get(&id).cloned();
        if let Some(old) = old {
            old.msize.set(0);
            old.wait_for_all().await;
            self.leave(&old).await;
        }
    }

    /// A connection ends: its session waits for the client.
    pub(crate) async fn leave(&self, conn: &Conn) {
        let Some(session) = conn.take_session() else {
            return self.give_back_all(conn).await;
        };
        let mut kept = Kept::default();
        let mut rest = Vec::new();
        for (fid, entry) in conn.take_all() {
            match entry {
                Entry::Snap(snapshot) => kept.snaps.push((fid, snapshot)),
                entry => rest.push(entry),
            }
        }
        let writes = core::mem::take(&mut *conn.writes.borrow_mut());
        let done = writes
            .into_iter()
            .filter(|(_, write)| matches!(write, Write::Done(_)));
        kept.writes.extend(done);
        *session.kept.borrow_mut() = kept;
        session.end_service(self.durable.sessions.now.get());
        session
            .until
            .set(Some(self.durable.sessions.end_of_lease()));
        for entry in rest {
            let _ = self.clunk(entry).await;
        }
    }

    /// A session is no more; its snapshots are given back.
    pub(crate) async fn end_session(&self, session: &Session) {
        let listed = self.durable.sessions.list.borrow_mut().remove(&session.id);
        if listed.is_none() {
            return;
        }
        let kept = session.kept.take();
        for (_, snapshot) in kept.snaps {
            self.release(snapshot).await;
        }
        self.log_end(session).await;
        self.end_claims(session).await;
        self.close_idle_log().await;
    }

    /// The session has claimed what it wanted. When none may claim any more,
    /// what was kept for that is given up.
    async fn end_claims(&self, session: &Session) {
        if session.claims.take() {
            session.until.set(None);
            if !self.durable.sessions.may_claim() {
                self.end_grace().await;
            }
        }
    }

    /// The time is `now`, in seconds from any beginning, and never goes back:
    /// leases that ran out end. A server without leases needs no ticks.
    pub async fn tick(&self, now: u64) {
        self.durable
            .sessions
            .now
            .set(now.max(self.durable.sessions.now.get()));
        for session in self.durable.sessions.overdue() {
            if !self.durable.sessions.is_over(&session) {
                // Its client came while another one's end took its time.
            } else if session.conn.get().is_some() {
                self.end_claims(&session).await;
            } else {
                self.end_session(&session).await;
            }
        }
    }
}

impl Session {
    /// Is its client away, and not about to claim what an earlier instance had?
    fn is_away(&self) -> bool {
        self.conn.get().is_none() && !self.claims.get()
    }

    /// A copy of the session without the objects kept for its client.
    #[cfg(feature = "duplicate")]
    pub fn state(&self) -> Session {
        Session {
            id: self.id,
            conn: self.conn.clone(),
            until: self.until.clone(),
            claims: self.claims.clone(),
            joined: self.joined.clone(),
            since: self.since.clone(),
            served: self.served.clone(),
            number: self.number,
            kept: RefCell::default(),
        }
    }

    /// The connection is the session's now, with all that waited for it.
    fn give_to(self: &Rc<Session>, conn: &Conn, now: u64) {
        let kept = self.kept.take();
        for (fid, snapshot) in kept.snaps {
            conn.replace(fid, Entry::Snap(snapshot));
        }
        conn.writes.borrow_mut().extend(kept.writes);
        self.conn.set(Some(conn.id.get()));
        self.joined.set(true);
        self.since.set(now);
        conn.set_session(Some(self.clone()));
    }

    /// Its client is connected no longer.
    fn end_service(&self, now: u64) {
        self.conn.set(None);
        let served = now.saturating_sub(self.since.get());
        self.served.set(self.served.get().saturating_add(served));
    }
}
