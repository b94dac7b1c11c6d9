use super::entries::NONE;
use super::*;
use alloc::collections::BTreeMap;

/// A snapshot of all of a file at its epoch.
fn snapshot(cache: &mut Cache, conn: u32, path: u64, epoch: u64) -> Epochs {
    let mut epochs = cache.open(conn, path);
    let known = cache.known(epochs.file);
    cache.note(epochs.file, known, epoch, Some(&Changes::NONE));
    cache.set(&mut epochs, 0..1 << 40, epoch);
    epochs
}

/// Somebody has each frame.
const fn none_idle(_: Frame) -> bool {
    false
}

/// The file changed at that page.
fn change(cache: &mut Cache, conn: u32, path: u64, epoch: u64, page: u64) {
    let file = cache.file(conn, path);
    let mut changes = Changes::NONE;
    changes.add(page * PAGE..(page + 1) * PAGE).unwrap();
    cache.note(file, cache.known(file), epoch, Some(&changes));
}

#[test]
fn equal_epochs_of_one_file_share_and_nothing_else_does() {
    let mut c = Cache::new();
    let a = snapshot(&mut c, 1, 7, 5);
    let b = snapshot(&mut c, 1, 7, 5);
    assert_eq!(c.insert(&a, 3 * PAGE, Frame(70), none_idle), Kept::Yes);
    assert_eq!(c.find(&b, 3 * PAGE), Some(Frame(70)));
    assert_eq!(
        c.insert(&b, 3 * PAGE, Frame(71), none_idle),
        Kept::Other(Frame(70))
    );
    assert_eq!(c.find(&b, 4 * PAGE), None, "another page");
    assert_eq!(c.find(&b, 3 * PAGE + 1), None, "two halves of pages");
    for (conn, path) in [(2, 7), (1, 8)] {
        let other = snapshot(&mut c, conn, path, 5);
        assert_eq!(c.find(&other, 3 * PAGE), None, "{conn} {path}");
        c.close(other);
    }
    c.remove(Frame(70));
    assert_eq!(c.find(&a, 3 * PAGE), None);
    c.close(a);
    c.close(b);
    assert!(c.is_empty() && c.by_key.is_empty());
}

#[test]
fn a_list_of_changes_closes_the_pages_in_it_and_no_others() {
    let mut c = Cache::new();
    let a = snapshot(&mut c, 1, 7, 5);
    for page in 0..4 {
        c.insert(&a, page * PAGE, Frame(page as u32), none_idle);
    }
    change(&mut c, 1, 7, 6, 2);
    let b = snapshot(&mut c, 1, 7, 6);
    let found: Vec<_> = (0..4).map(|page| c.find(&b, page * PAGE)).collect();
    assert_eq!(
        found,
        [Some(Frame(0)), Some(Frame(1)), None, Some(Frame(3))]
    );
    assert_eq!(c.insert(&b, 2 * PAGE, Frame(9), none_idle), Kept::Yes);
    // Each of the two epochs has its own.
    assert_eq!(c.find(&a, 2 * PAGE), Some(Frame(2)));
    assert_eq!(c.find(&b, 2 * PAGE), Some(Frame(9)));
    // A frame filled for the newer snapshot is valid for the older one too.
    assert_eq!(c.insert(&b, 50 * PAGE, Frame(10), none_idle), Kept::Yes);
    assert_eq!(c.find(&a, 50 * PAGE), Some(Frame(10)));
}

#[test]
fn a_frame_is_one_page_of_one_file() {
    let mut c = Cache::new();
    let a = snapshot(&mut c, 1, 7, 5);
    let b = snapshot(&mut c, 1, 8, 6);
    assert_eq!(c.insert(&a, 0, Frame(1), none_idle), Kept::Yes);
    assert_eq!(c.insert(&a, 0, Frame(1), none_idle), Kept::Yes);
    assert_eq!(c.insert(&b, 0, Frame(1), none_idle), Kept::No);
    assert_eq!(c.insert(&a, PAGE, Frame(1), none_idle), Kept::No);
    assert_eq!((c.find(&b, 0), c.len()), (None, 1));
}

#[test]
fn a_file_stays_while_a_snapshot_or_a_frame_does() {
    let mut c = Cache::new();
    let a = snapshot(&mut c, 1, 7, 5);
    c.insert(&a, 0, Frame(1), none_idle);
    c.close(a);
    let b = snapshot(&mut c, 1, 7, 5);
    assert_eq!(c.find(&b, 0), Some(Frame(1)));
    c.remove(Frame(1));
    c.close(b);
    assert!(c.file(1, 7).is_none());
    let b = snapshot(&mut c, 1, 7, 4);
    assert_eq!(c.known(b.file), 4, "nothing is left of the past");
}

#[test]
fn any_number_of_frames_is_found_and_removed() {
    // A map is the model.
    let mut c = Cache::new();
    let files: Vec<_> = (0..5)
        .map(|f| snapshot(&mut c, f % 2, u64::from(f), 9))
        .collect();
    let mut model = BTreeMap::new();
    let mut seed = 1u64;
    let mut next = |n: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        (seed >> 33) % n
    };
    for round in 0..60_000u64 {
        let (file, page) = (next(5), next(300) << (8 * next(3)));
        let frame = Frame(next(1000) as u32 * 17);
        let grows = round / 10_000 % 2 == 0;
        if next(10) < if grows { 8 } else { 3 } {
            let free = !model.values().any(|f| *f == frame);
            if free && !model.contains_key(&(file, page)) {
                let kept = c.insert(&files[file as usize], page * PAGE, frame, none_idle);
                assert_eq!(kept, Kept::Yes);
                model.insert((file, page), frame);
            }
        } else {
            c.remove(frame);
            model.retain(|_, f| *f != frame);
        }
        let (file, page) = (next(5), next(300) << (8 * next(3)));
        let found = c.find(&files[file as usize], page * PAGE);
        assert_eq!(found, model.get(&(file, page)).copied());
        assert_eq!(c.len(), model.len());
    }
    for ((file, page), frame) in &model {
        assert_eq!(c.find(&files[*file as usize], page * PAGE), Some(*frame));
        c.remove(*frame);
    }
    files.into_iter().for_each(|epochs| c.close(epochs));
    assert!(c.is_empty() && c.by_key.is_empty());
    assert!(c.entries.is_given_back() && c.blocks.len() == 0);
}

#[test]
fn pages_at_any_stride_spread_over_the_buckets() {
    const FRAMES: u32 = 4096;
    for secret in [
        [0x8f3c_91d2_77ab_4e05, 0x1b67_e0f4_c853_9a2d],
        [0x0123_4567_89ab_cdef, u64::MAX / 7],
    ] {
        for shift in 0..40 {
            let mut c = Cache::new();
            c.set_secret(secret);
            let mut a = c.open(1, 7);
            c.note(a.file, 0, 5, Some(&Changes::NONE));
            c.set(&mut a, 0..u64::MAX, 5);
            for frame in 0..FRAMES {
                let page = u64::from(frame) << shift;
                assert_eq!(
                    c.insert(&a, page * PAGE, Frame(frame), none_idle),
                    Kept::Yes
                );
            }
            let longest = c.blocks.longest();
            assert!(longest < 24, "{secret:?}, stride 2^{shift}: {longest}");
        }
    }
}

#[test]
fn frames_of_one_page_at_many_epochs_are_kept_up_to_a_number() {
    let mut c = Cache::new();
    let mut all = Vec::new();
    for epoch in 1..=100 {
        let mut epochs = c.open(1, 7);
        // Any byte may have changed each time.
        c.note(epochs.file, 0, epoch, None);
        c.set(&mut epochs, 0..PAGE, epoch);
        let kept = c.insert(&epochs, 0, Frame(epoch as u32), none_idle);
        let room = epoch <= 16;
        assert_eq!(kept, if room { Kept::Yes } else { Kept::No }, "{epoch}");
        assert_eq!(
            c.find(&epochs, 0),
            room.then_some(Frame(epoch as u32)),
            "{epoch}"
        );
        all.push(epochs);
    }
    // In any order.
    for frame in [7, 1, 16, 2, 15] {
        c.remove(Frame(frame));
        assert_eq!(c.find(&all[frame as usize - 1], 0), None);
        assert_eq!(c.find(&all[9], 0), Some(Frame(10)));
    }
    (1..=100).for_each(|frame| c.remove(Frame(frame)));
    all.into_iter().for_each(|epochs| c.close(epochs));
    assert!(c.is_empty() && c.by_key.is_empty() && c.blocks.len() == 0);
}

#[test]
fn runs_are_what_their_pages_are_one_by_one() {
    let mut seed = 5u64;
    let mut next = |n: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        (seed >> 33) % n
    };
    for _ in 0..300 {
        let (mut one, mut run) = (Cache::new(), Cache::new());
        // Pages of two epochs, some of none, beside each other.
        let make = |c: &mut Cache, cut: u64| {
            let mut epochs = snapshot(c, 1, 7, 5);
            change(c, 1, 7, 6, cut);
            c.set(&mut epochs, cut * PAGE..(cut + 20) * PAGE, 6);
            c.set(&mut epochs, (cut + 30) * PAGE..(cut + 31) * PAGE + 5, 0);
            epochs
        };
        let cut = next(50);
        let (a, b) = (make(&mut one, cut), make(&mut run, cut));
        for turn in 0..8 {
            let (start, count) = (next(70), next(60) + 1);
            let frames: Vec<_> = (0..count as u32).map(|n| Frame(turn * 64 + n)).collect();
            let mut left = frames.clone();
            let mut kept = Vec::new();
            let may = |frame: Frame| !frame.0.is_multiple_of(7);
            run.insert_run(
                &b,
                start * PAGE,
                &mut left,
                (may, none_idle),
                |frame, result| {
                    kept.push((*frame, result));
                },
            );
            let expected: Vec<_> = (start..)
                .zip(&frames)
                .filter(|(page, frame)| may(**frame) && b.at(*page).is_some())
                .map(|(page, frame)| (*frame, one.insert(&a, page * PAGE, *frame, none_idle)))
                .collect();
            assert_eq!(kept, expected);
            assert_eq!(one.len(), run.len());
            let (start, count) = (next(70), next(63) + 1);
            let wanted =
                (next(u64::MAX >> 31) << 31 | next(u64::MAX >> 33)) & u64::MAX >> (64 - count);
            let mut found = [Frame(NONE); 64];
            let bits = run.find_run(&b, start * PAGE, wanted, &mut found);
            for at in (0..64).filter(|at| wanted >> at & 1 != 0) {
                let frame = (bits >> at & 1 != 0).then_some(found[at as usize]);
                assert_eq!(frame, one.find(&a, (start + at) * PAGE), "{at}");
            }
            assert_eq!(bits & !wanted, 0);
            let first = (0..count).find(|at| one.find(&a, (start + at) * PAGE).is_some());
            let missing = run.missing(&b, start * PAGE, count);
            assert_eq!(missing, first.unwrap_or(count));
        }
    }
}

#[test]
fn where_a_page_has_many_frames_an_idle_one_makes_room() {
    let mut c = Cache::new();
    let mut at = |epoch: u64, is_idle: fn(Frame) -> bool| {
        let mut epochs = c.open(1, 7);
        c.note(epochs.file, 0, epoch, None);
        c.set(&mut epochs, 0..PAGE, epoch);
        let kept = c.insert(&epochs, 0, Frame(epoch as u32), is_idle);
        let found = c.find(&epochs, 0);
        assert!(c.len() <= 16);
        c.close(epochs);
        (kept, found)
    };
    for epoch in 1..=16 {
        assert_eq!(at(epoch, none_idle).0, Kept::Yes);
    }
    assert_eq!(at(17, none_idle), (Kept::No, None));
    let odd = |frame: Frame| frame.0 % 2 == 1;
    for (epoch, gone) in [(18, 1), (19, 3)] {
        let now = (Kept::Instead(Frame(gone)), Some(Frame(epoch as u32)));
        assert_eq!(at(epoch, odd), now, "the oldest of those that are idle");
    }
    (1..=19).for_each(|frame| c.remove(Frame(frame)));
    assert!(c.is_empty() && c.by_key.is_empty() && c.blocks.len() == 0 && c.left == 0);
}

#[test]
fn files_of_which_only_idle_frames_are_left_are_counted() {
    let mut c = Cache::new();
    let many = FILES_LEFT as u64 + 1;
    for path in 0..many {
        let epochs = snapshot(&mut c, 1, path, 5);
        assert_eq!(
            c.insert(&epochs, 0, Frame(path as u32), none_idle),
            Kept::Yes
        );
        assert!(!c.has_many_left());
        c.close(epochs);
    }
    assert!(c.has_many_left());
    let again = snapshot(&mut c, 1, 3, 5);
    assert!(!c.has_many_left() && c.find(&again, 0) == Some(Frame(3)));
    c.close(again);
    c.remove(Frame(9));
    assert!(!c.has_many_left());
    (0..many).for_each(|path| c.remove(Frame(path as u32)));
    assert!(c.by_key.is_empty() && c.left == 0);
}
