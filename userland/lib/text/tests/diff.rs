//! Differences of texts: the changes lead from one to the other, and are few.

use dormouse_text::diff::{Change, changes, hunks};
use proptest::collection::vec;
use proptest::prelude::*;

/// The second text, from the first and the changes.
fn applied(old: &[u32], new: &[u32], changes: &[Change]) -> Vec<u32> {
    let (mut out, mut at) = (Vec::new(), 0);
    for change in changes {
        out.extend(&old[at..change.old.start]);
        assert_eq!(out.len(), change.new.start);
        out.extend(&new[change.new.clone()]);
        at = change.old.end;
    }
    out.extend(&old[at..]);
    out
}

fn lines(changes: &[Change]) -> usize {
    let lines = changes.iter().map(|c| c.old.len() + c.new.len());
    lines.sum()
}

/// The least number of lines that go or come, by the plain table.
fn least(old: &[u32], new: &[u32]) -> usize {
    let mut row: Vec<usize> = (0..=new.len()).collect();
    for (i, a) in old.iter().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in new.iter().enumerate() {
            let next = match a == b {
                true => corner,
                false => 1 + row[j].min(row[j + 1]),
            };
            corner = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[new.len()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn changes_lead_to_the_second_text_and_are_as_few_as_can_be(
        old in vec(0u32..4, 0..24),
        new in vec(0u32..4, 0..24),
    ) {
        let found = changes(&old, &new);
        prop_assert_eq!(applied(&old, &new, &found), new.clone());
        prop_assert_eq!(lines(&found), least(&old, &new));
        // Equal lines are between any two.
        let between = found.windows(2).all(|pair| pair[0].old.end < pair[1].old.start);
        prop_assert!(between, "{:?}", found);
    }

    #[test]
    fn hunks_have_all_changes_and_do_not_touch(
        old in vec(0u32..9, 0..60),
        new in vec(0u32..9, 0..60),
        around in 0usize..4,
    ) {
        let found = changes(&old, &new);
        let hunks = hunks(&found, around, (old.len(), new.len()));
        let all: Vec<_> = hunks.iter().flat_map(|hunk| hunk.changes.clone()).collect();
        prop_assert_eq!(all, found);
        for hunk in &hunks {
            let (first, last) = (&hunk.changes[0], &hunk.changes[hunk.changes.len() - 1]);
            prop_assert_eq!(first.old.start - hunk.old.start, first.new.start - hunk.new.start);
            prop_assert_eq!(hunk.old.end - last.old.end, hunk.new.end - last.new.end);
        }
        prop_assert!(hunks.windows(2).all(|pair| pair[0].old.end < pair[1].old.start));
    }
}

#[test]
fn long_texts_with_nothing_in_common_are_soon_done() {
    let old: Vec<u32> = (0..200_000).collect();
    let new: Vec<u32> = (300_000..500_000).collect();
    let found = changes(&old, &new);
    assert_eq!(
        found,
        [Change {
            old: 0..200_000,
            new: 0..200_000
        }]
    );
    // And with a few changes in a long text.
    let mut new = old.clone();
    new.remove(100_000);
    new[7] = 1_000_000;
    assert_eq!(lines(&changes(&old, &new)), 3);
}
