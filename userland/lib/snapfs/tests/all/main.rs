//! What a client of snapfs sees, in real messages over a server in memory. One
//! program: each of these parts would take as long to build as all of them.

mod common;

mod buffers;
mod changes;
mod cheap;
mod combined;
mod concurrent;
mod crash;
mod edges;
mod failed_changes;
mod failures;
mod fills;
mod fuzz;
mod hiding;
mod identity;
mod in_flight;
mod in_use;
mod leases;
mod limits;
mod lives;
mod names;
mod pipelined;
mod policies;
mod puts;
mod random;
mod restart;
mod scale;
mod sessions;
mod snapshots;
mod storm;
mod unused;
mod waits;
