//! Rooms against a plain list of those that are taken.

use dormouse_blocks::{LEN, Room, Rooms, TABLE};
use proptest::prelude::*;

const KIB: u64 = 1 << 10;
const TIB: u64 = 1 << 40;

/// A step of a program.
#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    /// Gives the n-th of the taken rooms back.
    Give(usize),
    /// It could not be made zeros.
    SetAside(usize),
    /// The next that was set aside is made zeros now.
    TakeAside,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Lengths of all magnitudes, and the sizes of rooms with their neighbours.
    let length =
        (18u32..45, any::<u64>()).prop_map(|(bits, low)| (1 << bits) | (low % (1 << bits)));
    let edge = (22u32..44, 0u64..3).prop_map(|(bits, by)| (1u64 << bits) + by - 1);
    let step = prop_oneof![
        3 => length.prop_map(Step::Take),
        2 => edge.prop_map(Step::Take),
        3 => any::<usize>().prop_map(Step::Give),
        1 => any::<usize>().prop_map(Step::SetAside),
        1 => Just(Step::TakeAside),
    ];
    prop::collection::vec(step, 0..200)
}

fn check(rooms: &Rooms, taken: &[Room]) {
    let mut sorted = taken.to_vec();
    sorted.sort_by_key(|room| room.start);
    for pair in sorted.windows(2) {
        assert!(
            pair[0].start + pair[0].len <= pair[1].start,
            "{pair:?} overlap"
        );
    }
    for room in taken {
        assert!(room.start + room.len <= LEN);
        assert_eq!(rooms.room(room.start), Some(*room));
        assert_eq!(rooms.room(room.start + 4096), None);
    }
}

proptest! {
    #[test]
    fn rooms_never_overlap_and_are_large_enough(steps in steps()) {
        let mut table = vec![u32::MAX; TABLE];
        let mut rooms = Rooms::new(&mut table);
        let (mut taken, mut aside): (Vec<Room>, Vec<Room>) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Take(len) => if let Some(room) = rooms.take(len) {
                    prop_assert!(room.len >= len);
                    prop_assert!(!aside.contains(&room), "{room:?} is not zeros");
                    taken.push(room);
                },
                Step::Give(n) if !taken.is_empty() => {
                    rooms.give(taken.swap_remove(n % taken.len()).start);
                }
                Step::SetAside(n) if !taken.is_empty() => {
                    let room = taken.swap_remove(n % taken.len());
                    rooms.set_aside(room.start);
                    aside.push(room);
                }
                Step::TakeAside => match rooms.take_aside() {
                    Some(room) => {
                        let at = aside.iter().position(|other| *other == room);
                        aside.swap_remove(at.expect("nobody set it aside"));
                        rooms.give(room.start);
                    }
                    None => prop_assert!(aside.is_empty()),
                },
                _ => {}
            }
            check(&rooms, &taken);
        }
    }
}

/// Takes rooms for blocks of `len` bytes until there are no more.
fn all(rooms: &mut Rooms, len: u64) -> Vec<Room> {
    std::iter::from_fn(|| rooms.take(len)).collect()
}

#[test]
fn few_blocks_may_grow_to_a_tib_each() {
    let mut table = vec![0; TABLE];
    let mut rooms = Rooms::new(&mut table);
    for _ in 0..8 {
        assert_eq!(rooms.take(256 * KIB).unwrap().len, TIB);
    }
    assert!(rooms.take(256 * KIB).unwrap().len < TIB);
    // Blocks that need such rooms still get them.
    assert_eq!(all(&mut rooms, TIB / 2).len(), 8 + 2);
}

#[test]
fn more_than_two_million_small_blocks_have_room() {
    let mut table = vec![0; TABLE];
    let mut rooms = Rooms::new(&mut table);
    let taken = all(&mut rooms, 256 * KIB);
    assert_eq!(taken.len(), TABLE);
    assert!(rooms.take(1).is_none());
    for room in taken {
        rooms.give(room.start);
    }
    // Nothing has become smaller by that.
    assert_eq!(rooms.take(8 * TIB).unwrap().len, 8 * TIB);
    assert_eq!(rooms.take(256 * KIB).unwrap().len, TIB);
    assert!(rooms.take(8 * TIB + 1).is_none());
}

#[test]
fn a_room_that_was_given_back_is_the_next_to_be_taken() {
    let mut table = vec![0; TABLE];
    let mut rooms = Rooms::new(&mut table);
    let (one, two) = (rooms.take(KIB).unwrap(), rooms.take(KIB).unwrap());
    rooms.give(one.start);
    assert_eq!(rooms.take(KIB), Some(one));
    rooms.give(two.start);
    assert_eq!(rooms.take(KIB), Some(two));
}

#[test]
fn what_is_no_room_is_not_given_back() {
    let mut table = vec![0; TABLE];
    let mut rooms = Rooms::new(&mut table);
    let room = rooms.take(KIB).unwrap();
    rooms.give(room.start + 4096);
    rooms.give(LEN);
    rooms.give(room.start + room.len);
    assert_ne!(rooms.take(KIB), Some(room));
}
