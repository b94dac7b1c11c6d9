//! The table of binds and mounts.
use super::{Member, Order, Path, Place, Trail, owned};
use crate::chan::room;
use crate::client::Mount;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hw::lock::{Lock, Rank};

/// Capacity of a name space, counting all members of unions.
const MEMBERS: usize = 64;

/// A name at which something is bound.
struct Bound {
    /// Absolute and clean; no two have the same.
    at: Vec<u8>,
    /// At least one; more are a union.
    members: Vec<Member>,
}

/// Where names lead; shared by processes.
pub struct NameSpace {
    table: Lock<Vec<Bound>>,
}

impl NameSpace {
    /// Only the kernel's own tree.
    pub fn new() -> NameSpace {
        NameSpace {
            table: Lock::new(Rank::Names, Vec::new()),
        }
    }

    /// Another one that leads to the same places, until either is changed.
    pub fn copy(&self) -> Result<NameSpace, Errno> {
        let table = self.table.lock();
        let mut copied = room(table.len())?;
        for bound in table.iter() {
            copied.push(Bound {
                at: owned(&bound.at)?,
                members: copy_all(&bound.members)?,
            });
        }
        Ok(NameSpace {
            table: Lock::new(Rank::Names, copied),
        })
    }

    /// Where `path` (clean) leads.
    pub fn resolve<'p>(&self, path: &'p Path) -> Result<Trail<'p>, Errno> {
        let table = self.table.lock();
        let mut best: Option<(&Bound, &'p [u8])> = None;
        for bound in table.iter() {
            let Some(rest) = below(&path.clean, &bound.at) else {
                continue;
            };
            if best.is_none_or(|(b, _)| bound.at.len() > b.at.len()) {
                best = Some((bound, rest));
            }
        }
        if let Some((bound, rest)) = best {
            return Ok(Trail {
                members: copy_all(&bound.members)?,
                rest,
                raw: raw_below(path, bound).unwrap_or(rest),
                point: bound.at == path.clean,
            });
        }
        let mut members = room(1)?;
        members.push(Member {
            place: Place::Root(Vec::new()),
            create: false,
        });
        Ok(Trail {
            members,
            rest: path.strip_prefix(b"/").unwrap_or(path),
            raw: path.strip_prefix(b"/").unwrap_or(path),
            point: false,
        })
    }

    /// The path at `mount` for an absolute `path` that begins with a name at
    /// which a file of that server is bound; absolute too.
    pub fn path_at(&self, mount: &Arc<Mount>, path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let table = self.table.lock();
        let mut best: Option<(&Bound, &[u8], &[u8])> = None;
        for bound in table.iter() {
            let Some(rest) = below(path, &bound.at) else {
                continue;
            };
            let of_mount = bound.members.iter().find_map(|member| match &member.place {
                Place::Remote(of, path) if Arc::ptr_eq(of, mount) => Some(path),
                Place::Remote(..) | Place::Root(_) => None,
            });
            if let Some(start) = of_mount
                && best.is_none_or(|(b, ..)| bound.at.len() > b.at.len())
            {
                best = Some((bound, start, rest));
            }
        }
        let Some((_, start, rest)) = best else {
            return Ok(None);
        };
        let mut found = room(start.len() + rest.len() + 2)?;
        for part in [start, rest] {
            found.push(b'/');
            found.extend_from_slice(part);
        }
        Ok(Some(found))
    }

    /// Binds `members` at `at` (clean). `under` is the file there without the
    /// bind; a union keeps it.
    pub fn bind(
        &self,
        at: &[u8],
        under: Place,
        members: Vec<Member>,
        order: Order,
    ) -> Result<(), Errno> {
        let at = owned(at)?;
        // Dropped after the table is unlocked, because it may be the last
        // reference to a server.
        let replaced = bind(&mut self.table.lock(), at, under, members, order)?;
        drop(replaced);
        Ok(())
    }

    /// Removes all binds at `path`, which uncovers the file below.
    pub fn unbind(&self, path: &[u8]) -> Result<(), Errno> {
        let removed = {
            let mut table = self.table.lock();
            let index = table.iter().position(|bound| bound.at == path);
            table.remove(index.ok_or(Errno::EINVAL)?)
        };
        drop(removed);
        Ok(())
    }
}

/// Binds in the table; the members that were replaced.
fn bind(
    table: &mut Vec<Bound>,
    at: Vec<u8>,
    under: Place,
    mut members: Vec<Member>,
    order: Order,
) -> Result<Vec<Member>, Errno> {
    let used: usize = table.iter().map(|bound| bound.members.len()).sum();
    // One more for the member that a new union keeps.
    if used + members.len() + 1 > MEMBERS {
        return Err(Errno::ENFILE);
    }
    let Some(bound) = table.iter_mut().find(|bound| bound.at == at) else {
        table.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        members.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let kept = Member {
            place: under,
            create: false,
        };
        match order {
            Order::Replace => {}
            Order::Before => members.push(kept),
            Order::After => members.insert(0, kept),
        }
        table.push(Bound { at, members });
        return Ok(Vec::new());
    };
    let old = &mut bound.members;
    match order {
        Order::Replace => return Ok(core::mem::replace(old, members)),
        Order::Before => {
            members.try_reserve(old.len()).map_err(|_| Errno::ENOMEM)?;
            members.append(old);
            *old = members;
        }
        Order::After => {
            old.try_reserve(members.len()).map_err(|_| Errno::ENOMEM)?;
            old.append(&mut members);
        }
    }
    Ok(Vec::new())
}

fn copy_all(members: &[Member]) -> Result<Vec<Member>, Errno> {
    let mut copied = room(members.len())?;
    for member in members {
        copied.push(member.copy()?);
    }
    Ok(copied)
}

/// The part of a path below a bound name, as it was written, where no other
/// member is possible and no `..` in it leads above the name.
fn raw_below<'p>(path: &'p Path, bound: &Bound) -> Option<&'p [u8]> {
    let raw = below(path.raw.as_deref()?, &bound.at)?;
    let mut parts = raw.split(|byte| *byte == b'/');
    let above = parts.try_fold(0usize, |depth, part| match part {
        b".." => depth.checked_sub(1),
        _ => Some(depth + 1),
    });
    (above.is_some() && bound.members.len() == 1).then_some(raw)
}

/// The part of `path` below `prefix`; `None` outside.
fn below<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    // Clean ones end in no slash, but for the root.
    let rest = path.strip_prefix(prefix.strip_suffix(b"/").unwrap_or(prefix))?;
    match rest.strip_prefix(b"/") {
        Some(rest) => Some(rest),
        None if rest.is_empty() => Some(rest),
        None => None,
    }
}
