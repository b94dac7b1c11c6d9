//! Rules and invariants one by one, each by a small program over VM core and
//! snapfs. (One program: what they share takes the time to build.)

mod elision;
mod lost;
mod ragged;
mod sharing;
mod trims;
