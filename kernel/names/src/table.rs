//! The table of binds and mounts.
use crate::{Member, Order, Path, Place, Trail, joined, owned, room};
use abi::Errno;
use alloc::vec::Vec;

/// Capacity of a table, counting all members of unions.
const MEMBERS: usize = 256;

/// A name at which something is bound.
struct Bound<S> {
    /// Absolute and clean; no two have the same.
    at: Vec<u8>,
    /// At least one; more are a union.
    members: Vec<Member<S>>,
}

/// Where names lead; `S` names a server.
pub struct Table<S>(Vec<Bound<S>>);

impl<S: Clone> Table<S> {
    /// Only the kernel's own tree.
    pub const fn new() -> Table<S> {
        Table(Vec::new())
    }

    /// Another one that leads to the same places, until either is changed.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn copy(&self) -> Result<Table<S>, Errno> {
        let mut copied = room(self.0.len())?;
        for bound in &self.0 {
            copied.push(Bound {
                at: owned(&bound.at)?,
                members: copy_all(&bound.members)?,
            });
        }
        Ok(Table(copied))
    }

    /// What is bound there with that number, in no order but that of unions: the name,
    /// the member, and whether it is the first one.
    pub fn member(&self, index: usize) -> Option<(&[u8], &Member<S>, bool)> {
        let each = |bound: &'_ Bound<S>| 0..bound.members.len();
        let mut all = self
            .0
            .iter()
            .flat_map(|bound| each(bound).map(move |at| (bound, at)));
        let (bound, at) = all.nth(index)?;
        Some((&bound.at, bound.members.get(at)?, at == 0))
    }

    /// The servers that names lead to, each as often as it is bound.
    pub fn servers(&self) -> impl Iterator<Item = &S> {
        let members = self.0.iter().flat_map(|bound| &bound.members);
        members.filter_map(|member| member.place.server())
    }

    /// The bound names at or above `path`, each with the rest of the path from there.
    fn above<'t, 'p>(&'t self, path: &'p [u8]) -> impl Iterator<Item = (&'t Bound<S>, &'p [u8])> {
        let bounds = self.0.iter();
        bounds.filter_map(move |bound| Some((bound, below(path, &bound.at)?)))
    }

    /// Where `path` leads.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn resolve<'p>(&self, path: &'p Path) -> Result<Trail<'p, S>, Errno> {
        let nearest = self.above(path).max_by_key(|(bound, _)| bound.at.len());
        if let Some((bound, rest)) = nearest {
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
        let rest = path.strip_prefix(b"/").unwrap_or(path);
        Ok(Trail {
            members,
            rest,
            raw: rest,
            point: false,
        })
    }

    /// Returns true if something is bound to a name in the directory `path` (clean).
    pub fn has_below(&self, path: &[u8]) -> bool {
        let inside = |bound: &Bound<S>| {
            let rest = below(&bound.at, path);
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(&b'/'))
        };
        self.0.iter().any(inside)
    }

    /// The path at the server that is `wanted` for an absolute `path` that begins with
    /// a name at which a file of that server is bound; absolute too.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn path_at(
        &self,
        wanted: impl Fn(&S) -> bool,
        path: &[u8],
    ) -> Result<Option<Vec<u8>>, Errno> {
        let of_server = |bound: &'_ Bound<S>| {
            bound.members.iter().position(|member| match &member.place {
                Place::Remote(server, _) => wanted(server),
                Place::Root(_) => false,
            })
        };
        let named = self
            .above(path)
            .filter_map(|(bound, rest)| Some((bound, of_server(bound)?, rest)));
        let Some((bound, index, rest)) = named.max_by_key(|(bound, ..)| bound.at.len()) else {
            return Ok(None);
        };
        let start = bound.members[index].place.path();
        joined([start, rest].into_iter(), start.len() + rest.len() + 2).map(Some)
    }

    /// Binds `members` at `at` (clean). `under` is the file there without the
    /// bind; a union keeps it. Returns the members that were replaced.
    ///
    /// # Errors
    /// `ENFILE`: the table is full; `ENOMEM`.
    pub fn bind(
        &mut self,
        at: &[u8],
        under: Place<S>,
        mut members: Vec<Member<S>>,
        order: Order,
    ) -> Result<Vec<Member<S>>, Errno> {
        let used: usize = self.0.iter().map(|bound| bound.members.len()).sum();
        // One more for the member that a new union keeps.
        if used + members.len() + 1 > MEMBERS {
            return Err(Errno::ENFILE);
        }
        let Some(bound) = self.0.iter_mut().find(|bound| bound.at == at) else {
            let at = owned(at)?;
            self.0.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
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
            self.0.push(Bound { at, members });
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

    /// Removes all binds at `path`, which uncovers the file below. Returns the members
    /// that were bound.
    ///
    /// # Errors
    /// `EINVAL`: nothing is bound there.
    pub fn unbind(&mut self, path: &[u8]) -> Result<Vec<Member<S>>, Errno> {
        let index = self.0.iter().position(|bound| bound.at == path);
        Ok(self.0.remove(index.ok_or(Errno::EINVAL)?).members)
    }
}

impl<S: Clone> Default for Table<S> {
    fn default() -> Self {
        Self::new()
    }
}

fn copy_all<S: Clone>(members: &[Member<S>]) -> Result<Vec<Member<S>>, Errno> {
    let mut copied = room(members.len())?;
    for member in members {
        copied.push(member.copy()?);
    }
    Ok(copied)
}

/// The part of a path below a bound name, as it was written, where no other
/// member is possible and no `..` in it leads above the name.
fn raw_below<'p, S>(path: &'p Path, bound: &Bound<S>) -> Option<&'p [u8]> {
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
