//! Broken structures.

use crate::session::{has_gdb, session, share};

/// Breaks structures at a fill in progress, looks at them, and mends them.
const DAMAGE: &str = r#"
hbreak dormouse_kernel::client::snapshots::read_at_server
continue
delete
python
from dm import processes, segments, kernel

def poke(address, value, length):
    memory = gdb.selected_inferior()
    before = memory.read_memory(address, length).tobytes()
    memory.write_memory(address, value.to_bytes(length, "little"))
    return lambda: memory.write_memory(address, before)

def look(name, *changes):
    print(f"\n== {name}")
    undo = [poke(*change) for change in changes]
    for command in "ps", "segs", "page $cr2", "extents $cr2", "snaps", "chan", "walk $cr2":
        try:
            gdb.execute("dm " + command)
        except gdb.error as error:
            print("error:", error)
    for mend in reversed(undo):
        mend()

address = lambda value: int(value.address)
process = processes.current()
segment = segments.at(process, int(gdb.parse_and_eval("$cr2")))
queue = kernel.locked(processes.FILLING.value())
waits = process.entry()["next_waiter"]
look("queue", (address(queue["head"]), process.slot, 2), (address(waits), process.slot, 2))
chunks = segment.content["extents"]["map"]["spans"]["chunks"]
look("extents", (address(chunks["len"]), 1 << 60, 8))
root = segment.overlay().root
map = kernel.MEMORY.constant("PHYSICAL_MAP")
levels = segment.content["overlay"]["levels"]
words = [(map + root * 4096 + at * 8, root, 8) for at in range(512)]
look("overlay", (address(levels), 4, 4), *words)
look("table", (address(process.space()["table"]["len"]), 1 << 60, 8))
name = kernel.locked(process.value["program"])["ptr"]["pointer"]["length"]
look("name", (address(name), 1 << 60, 8))
start = int(kernel.locked(process.value["program"])["ptr"]["pointer"]["data_ptr"].dereference()["data"].address)
look("escape", (start + 5, 0x1b, 1))
state = process.entry()["state"]
look("state", (address(state), 99, 1))
content = segment.value["content"]
look("pointer", (address(content), 8, 8), (address(content) + 8, 8, 8))
end
echo \n== mended\n
dm segs
detach
"#;

#[test]
fn damaged_structures_are_looked_at_in_bounded_time() {
    if !has_gdb(true) {
        return;
    }
    let log = session(&share(), "lazy /n/host/file", DAMAGE);
    // The process is in the queue once, however often the queue comes back to it.
    let queue = log.part("queue");
    assert_eq!(queue.matches("for a fill by another").count(), 1, "{queue}");
    let overlay = log.part("overlay");
    assert!(overlay.contains("and more, not counted"), "{overlay}");
    // Names are bytes of programs: a terminal must not obey them.
    assert!(log.part("escape").contains("/bin/\u{fffd}azy"));
    assert!(!log.0.contains('\x1b'));
    let state = log.part("state");
    assert!(state.contains("state 99"), "{state}");
    let mended = log.part("mended");
    assert!(mended.contains("39 asleep, 1 filling"), "{mended}");
}
