//! Programs that watch their children.

use super::Case;
use crate::check::{Verdict, Why, at_rest, fails, other, same};
use alloc::vec::Vec;
use rt::abi::trace::{DIRTY, Event};
use rt::abi::{Call, mode};
use rt::process::{self, Fork};
use rt::trace::{Record, Watch};
use rt::{Errno, File, sys};

pub const CASES: &[Case] = &[
    Case::new("trace.children", children),
    Case::new("trace.fault", fault),
    Case::new("trace.one", one),
    Case::new("trace.full", full),
    Case::new("trace.killed", killed),
    Case::new("trace.watcher.killed", watcher_killed),
    Case::new("trace.arguments", arguments),
];

/// All records until the watched have ended.
fn rest(watch: &mut Watch) -> Result<Vec<Record>, Why> {
    let mut records = Vec::new();
    while let Some(record) = watch.next_record()? {
        records.push(record);
    }
    Ok(records)
}

/// Starts a process that does that, and ends.
fn child(body: impl FnOnce()) -> Result<u64, Why> {
    Ok(process::spawn(|| {
        body();
        0
    })?)
}

fn is_call(record: &Record, event: Event, call: Call) -> bool {
    record.event == event && u64::from(record.detail) == call as u64
}

fn children() -> Verdict {
    // One that was there before is not watched.
    let before = child(|| {
        for _ in 0..50 {
            let _ = sys::sleep(1_000_000);
        }
    })?;
    let mut watch = Watch::begin()?;
    let pid = child(|| {
        drop(File::open("/dev/null", mode::OREAD));
        let grandchild = child(|| drop(File::open("/dev/zero", mode::OREAD)));
        let _ = grandchild.map(process::wait_for);
    })?;
    let records = rest(&mut watch)?;
    let paths = |of: u32| {
        let records = records.iter().filter(move |r| r.pid == of);
        records
            .filter(|r| r.event == Event::Path)
            .map(|r| r.text.0.as_slice())
    };
    same(
        "the child's paths",
        paths(pid as u32).collect::<Vec<_>>(),
        Vec::from([&b"/dev/null"[..]]),
    )?;
    let begun = records.iter().filter(|r| r.event == Event::Begin);
    let begun: Vec<_> = begun.map(|r| r.words[0]).collect();
    ensure!(
        begun.len() == 1 && begun[0] > pid,
        "began: {begun:?}, child {pid}"
    );
    same("the grandchild's paths", paths(begun[0] as u32).count(), 1)?;
    let watched = |record: &Record| [pid, begun[0]].contains(&record.pid.into());
    ensure!(records.iter().all(watched), "records of others");
    for of in [pid, begun[0]] {
        let ends = records
            .iter()
            .filter(|r| u64::from(r.pid) == of && r.event == Event::End);
        same("ends", ends.count(), 1)?;
    }
    let opened = records
        .iter()
        .find(|r| is_call(r, Event::Return, Call::Open));
    ensure!(
        opened.is_some_and(|r| r.words[0] < 64),
        "no descriptor: {opened:?}"
    );
    ensure!(
        records.is_sorted_by_key(|r| r.time),
        "not in the order of time"
    );
    process::wait_for(pid)?;
    process::wait_for(before)?;
    Ok(())
}

fn fault() -> Verdict {
    let mut segment = crate::check::snapshot(4)?;
    let base = segment.bytes_mut().as_ptr() as u64;
    let mut watch = Watch::begin()?;
    let pid = child(|| segment.bytes_mut()[2 * crate::check::PG] = 1)?;
    let records = rest(&mut watch)?;
    process::wait_for(pid)?;
    let page = base + 2 * rt::abi::PAGE;
    let of = |event| {
        records
            .iter()
            .filter(move |r| r.event == event && r.words[0] == page)
    };
    let stores: Vec<_> = of(Event::Fault).map(|r| r.detail).collect();
    ensure!(stores.contains(&1), "faults there: {stores:?}");
    let states: Vec<_> = of(Event::Page).map(|r| r.detail).collect();
    ensure!(states.contains(&DIRTY), "states of the page: {states:?}");
    // Those of other processes, which it may have evicted, are not its affair.
    let mut spaces: Vec<_> = records.iter().filter(|r| r.event == Event::Page).collect();
    spaces.dedup_by_key(|record| record.words[1]);
    same("spaces", spaces.len(), 1)?;
    Ok(())
}

fn one() -> Verdict {
    let watch = Watch::begin()?;
    other(|| fails("a second one", Watch::begin().map(drop), Errno::EBUSY))?;
    fails("the same again", Watch::begin().map(drop), Errno::EBUSY)?;
    drop(watch);
    Ok(())
}

fn full() -> Verdict {
    const CALLS: u64 = 20_000;
    let mut watch = Watch::begin()?;
    let pid = child(|| {
        for _ in 0..CALLS {
            let _ = sys::getwd();
        }
    })?;
    // Nobody takes them meanwhile, and the child goes on.
    same("status", process::wait_for(pid)?.status(), 0)?;
    let records = rest(&mut watch)?;
    let lost = records.iter().filter(|r| r.event == Event::Lost);
    let lost: u64 = lost.map(|r| r.words[0]).sum();
    let calls = records
        .iter()
        .filter(|r| is_call(r, Event::Call, Call::GetWd))
        .count() as u64;
    ensure!(calls > 500, "{calls} calls kept");
    ensure!(
        calls + lost >= 2 * CALLS - calls,
        "{calls} calls and {lost} lost records"
    );
    Ok(())
}

fn killed() -> Verdict {
    let mut watch = Watch::begin()?;
    let pid = child(|| {
        let _ = sys::sleep(u64::MAX);
    })?;
    at_rest()?;
    process::kill(pid, "enough")?;
    let records = rest(&mut watch)?;
    let last = records.last().map(|r| r.event);
    same("last record", last, Some(Event::End))?;
    process::wait_for(pid)?;
    Ok(())
}

fn watcher_killed() -> Verdict {
    for _ in 0..3 {
        let (ours, theirs) = File::pipe()?;
        let watcher = match process::fork()? {
            Fork::Parent(pid) => pid,
            Fork::Child => {
                let watch = Watch::begin();
                let made = watch.is_ok() && child(|| assert_eq!(theirs.write(b"x"), Ok(1))).is_ok();
                let _ = sys::sleep(u64::MAX);
                process::exit(u8::from(!made), "")
            }
        };
        let mut byte = [0];
        same("bytes", ours.read(&mut byte)?, 1)?;
        process::kill(watcher, "enough")?;
        process::wait_for(watcher)?;
    }
    one()
}

fn arguments() -> Verdict {
    let mut words = [0_u64; 8];
    let to = words.as_mut_ptr() as u64;
    let call = |op, n| {
        // SAFETY: the kernel writes at most `n` bytes of numbers, of which there are more.
        unsafe { sys::call3(Call::Trace, op, to, n) }
    };
    fails("without a watch", call(1, 64), Errno::EPERM)?;
    fails("another operation", call(2, 64), Errno::EINVAL)?;
    fails("no room", call(1, 39), Errno::EINVAL)?;
    same("begin", call(0, 0), Ok(0))?;
    same("nobody is watched", call(1, 64), Ok(0))?;
    // SAFETY: nothing is there.
    let nowhere = unsafe { sys::call3(Call::Trace, 1, 0x1000, 64) };
    same("nothing to write there", nowhere, Ok(0))
}
