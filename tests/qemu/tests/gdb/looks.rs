//! What the commands show of a page before and after its fill.

use crate::session::{Log, PAGE, PAGES, has_gdb, running, session, share};

/// The commands at the first instruction, at the fill of a page, after it, and in the
/// write.
const LOOKS: &str = r#"
echo == early\n
python
from dm import kernel
for command in "ps", "segs", "page 0x400000", "extents 1", "snaps", "chan", "walk 0x400000":
    try:
        gdb.execute("dm " + command)
    except gdb.error as error:
        print(error)
end
echo == names\n
dm check
echo == docs\n
python
import re
with open(kernel.ROOT + "/docs/debugging.md") as page:
    for name in sorted(set(re.findall(r"\bdm ([a-z]+)", page.read()))):
        gdb.execute(f"help dm {name}", to_string=True)
        print(name)
end
echo == renamed\n
python
gone = kernel.Function("dormouse_kernel::trap::gone"), kernel.Static("dormouse_kernel::trap::GONE")
source = kernel.Source("kernel/vm/src/page_state.rs", "GONE")
gdb.execute("dm check")
kernel.Function.all.remove(gone[0])
kernel.Static.all.remove(gone[1])
kernel.Source.all.remove(source)
end
hbreak dormouse_kernel::client::snapshots::read_at_server
continue
delete
set $va = $cr2
frame function dormouse_kernel::trap::page_fault
set $resume = (*frame).rip
echo == ps\n
dm ps
echo == segs\n
dm segs
echo == asleep\n
dm page $va+0
echo == walk asleep\n
dm walk $va
echo == extents\n
dm extents $va
echo == snaps\n
dm snaps
echo == chan\n
dm chan
echo == stacks\n
dm stack
dm stack hostfs
echo == types\n
print dormouse_kernel::client::snapshots::TABLE
dm word 0x1000000001
dm word 0xabc2
echo == errors\n
python
for command in "page 5", "segs nobody", "page", "extents 0", "page 0x400000 99":
    try:
        gdb.execute("dm " + command)
    except gdb.error as error:
        print(error)
end
thbreak *$resume if $cr3 == $cr3
continue
echo == resident\n
dm page $va lazy
echo == walk resident\n
dm walk $va
echo == bytes\n
x/2xb $va
hbreak dormouse_kernel::client::put::Write::put
continue
echo == write\n
dm segs
echo == sending\n
dm ps
delete
detach
"#;

#[test]
fn the_commands_show_a_page_before_and_after_its_fill() {
    if !has_gdb(true) {
        return;
    }
    let log = session(&share(), "lazy /n/host/file", LOOKS);
    names(&log);
    processes(&log);
    others(&log);
    let (page, content) = asleep(&log);
    resident(&log, page, content);
    // In the write: 3 pages were changed, and are write-protected while they are sent.
    let write = snapshot_segment(&log, "write");
    assert!(write.ends_with(" resident, 3 sending"), "{write}");
}

/// Too early to look, and the names that the commands use.
fn names(log: &Log) {
    let early = log.part("early");
    assert_eq!(early.matches("not yet: ").count(), 7, "{early}");
    assert_eq!(log.part("names"), "0 names are missing");
    log.has("renamed", "3 names are missing");
    // Each command that the page names has help, or the script had stopped.
    let docs = log.part("docs");
    assert!(docs.lines().count() > 10, "{docs}");
}

/// Processes, and where they are.
fn processes(log: &Log) {
    let ps = log.part("ps");
    let [pid, _, program] = running(ps);
    assert_eq!(program, "/bin/lazy", "{ps}");
    log.has("ps", "/bin/hostfs  waiting  message at a port");
    log.has("ps", "/bin/sh      waiting  child to end");
    log.has("segs", &format!("segments of lazy ({pid})"));
    let stacks = log.part("stacks");
    let (lazy, hostfs) = stacks.split_once("hostfs (").unwrap();
    for function in [
        "dormouse_kernel::client::snapshots::read_at_server at ",
        "dormouse_vm::fault::satisfy at kernel/vm/src/fault.rs:",
        "dormouse_kernel::trap::page_fault at ",
        "in the program:\n    0x4",
    ] {
        assert!(lazy.contains(function), "no {function}: {stacks}");
    }
    for line in [
        "is waiting: message at a port",
        "dormouse_kernel::chan::port::Port::receive at ",
    ] {
        assert!(hostfs.contains(line), "no {line}: {stacks}");
    }
    for error in [
        &format!("lazy ({pid}) has no segment at 0x5"),
        "no process nobody",
        "usage: dm page VA [PID]",
        &format!("lazy ({pid}) has no segment 0"),
        "no process 99",
    ] {
        log.has("errors", error);
    }
}

/// Channels and types.
fn others(log: &Log) {
    log.has("chan", "side 0: the kernel as client of mount");
    log.has("chan", " (/n/host): open");
    log.has("chan", "side 1: hostfs (");
    log.has("types", "Lock(Snapshots, free, ");
    log.has("types", "filling, ticket 1");
    log.has("types", "resident, frame 0xabc");
}

/// The line of the snapshot segment in a part.
fn snapshot_segment<'l>(log: &'l Log, name: &str) -> &'l str {
    let mut lines = log.part(name).lines();
    lines.find(|line| line.contains(" snapshot ")).unwrap()
}

/// A page on its way, where page N of the buffer is page N of the file; its number and
/// its content.
fn asleep(log: &Log) -> (u64, &str) {
    let segment = snapshot_segment(log, "segs");
    assert!(segment.ends_with("39 asleep, 1 filling"), "{segment}");
    let base = segment.split("0x").nth(1).unwrap();
    let base = u64::from_str_radix(base.split('-').next().unwrap(), 16).unwrap();
    let mut words = log.part("asleep").split_whitespace();
    let page: u64 = words.nth(1).unwrap().parse().unwrap();
    assert!(page < u64::from(PAGES), "{page}");
    log.has("asleep", &format!(", at {:#x}\n", base + page * PAGE));
    let state = log.line("asleep", "state");
    assert!(state.starts_with("filling, ticket "), "{state}");
    assert_eq!(log.line("asleep", "translation"), "none");
    let leaf = log.line("walk asleep", "leaf");
    assert!(leaf.ends_with("not present"), "{leaf}");

    let content = log.line("asleep", "content");
    let range = format!("bytes {:#x}-{:#x}", page * PAGE, (page + 1) * PAGE);
    let right = content.ends_with(&format!(", /n/host/file, {range}"));
    assert!(right, "{content}");
    let snap = content.strip_prefix("snapshot ").unwrap();
    let snap = snap.split(',').next().unwrap();
    let end = base + u64::from(PAGES) * PAGE;
    let extent = format!("  {base:#x}-{end:#x}  snapshot {snap}, /n/host/file, from byte 0x0");
    log.has("extents", &extent);
    let held = log.line("snaps", &format!("{snap}  /n/host/file"));
    assert!(held.starts_with("mount "), "{held}");
    (page, content)
}

/// After the fill: one frame, for the overlay, the page tables and the processor.
fn resident(log: &Log, page: u64, content: &str) {
    let state = log.line("resident", "state");
    let frame = state.strip_prefix("resident, frame ").unwrap();
    let uses = format!("  {frame}: data in the frame cache, 1 holder, ");
    log.has("resident", &uses);
    assert_eq!(log.line("resident", "content"), content);
    let translation = format!("  frame {frame}, read-only, user, no fetch, ");
    log.has("resident", &translation);
    let leaf = format!("-> frame {frame}  read-only, user");
    log.has("walk resident", &leaf);
    let byte = format!("{:#04x}", page + 1);
    log.has("bytes", &format!(":\t{byte}\t{byte}\n"));
}
