"""The process table, and the scheduler's half of each process."""

import gdb

from . import kernel
from .kernel import Source, Static, arc, cell, locked, some, text, variant

TABLE = Static("dormouse_kernel::proc::table::TABLE")
ENTRIES = Static("dormouse_kernel::sched::ENTRIES")
FILLING = Static("dormouse_kernel::seg::host::FILLING")
SCHEDULER = Source("kernel/src/sched/mod.rs", "FREE", "READY", "RUNNING", "PARKED", "ENDED")
STATES = {"FREE": "free", "READY": "ready", "RUNNING": "running", "PARKED": "waiting", "ENDED": "ended"}
# The lines of `reasons!`: a name, and the text for users.
REASONS = r'^    (\w+) "([^"]+)",$'


class Process:
    """A process; `value` is the kernel's `Process`."""

    def __init__(self, slot, value):
        self.slot = slot
        self.value = value
        self.pid = int(value["pid"])
        self.parent = cell(value["parent"])
        self.program = text(locked(value["program"]))

    @property
    def name(self):
        return self.program.rsplit("/", 1)[-1]

    def __str__(self):
        return f"{self.name} ({self.pid})"

    def entry(self):
        return ENTRIES.value()[self.slot]

    def is_current(self):
        return self.slot == kernel.current_slot()

    def state(self):
        """In a word."""
        now = cell(self.entry()["state"])
        for constant, name in STATES.items():
            if SCHEDULER.constant(constant) == now:
                return name
        return f"state {now}"

    def reason(self):
        """The name of the reason of its wait, and the text for users; empty unless it
        waits."""
        if self.state() != "waiting":
            return "", ""
        reasons = SCHEDULER.pairs(REASONS)
        at = cell(self.entry()["reason"])
        return reasons[at] if at < len(reasons) else (f"reason {at}", f"reason {at}")

    def space(self):
        """Its memory, which others may have too: a `Space`."""
        return locked(arc(locked(self.value["space"])))

    def root(self):
        """The frame of its page tables' root: what `cr3` has while it runs."""
        return cell(self.space()["view"]["pages"]["root"])


def at(slot):
    """The process in a slot, or None."""
    name, content = variant(locked(TABLE.value())["entries"][slot])
    return Process(slot, arc(content)) if name == "Taken" else None


def everyone():
    """All processes, by slot."""
    table = locked(TABLE.value())
    used = table["used"]["__0"]
    for index in range(used.type.range()[1] + 1):
        bits = int(used[index])
        for bit in range(64):
            if bits >> bit & 1:
                process = at(index * 64 + bit)
                if process:
                    yield process


def current():
    """The process that runs."""
    process = at(kernel.current_slot())
    if process is None:
        raise gdb.GdbError("no process runs")
    return process


def find(word=None):
    """The process with that pid, the newest one with that name, or the one that runs."""
    if not word:
        return current()
    found = [p for p in everyone() if word in (str(p.pid), p.name, p.program)]
    if not found:
        raise gdb.GdbError(f"no process {word}: `dm ps` lists them")
    return max(found, key=lambda process: process.pid)


def queue(waiters):
    """The slots in a `WaitQueue`, first to last."""
    entries = ENTRIES.value()
    slot = cell(waiters["head"])
    seen = set()
    while slot != kernel.NO_SLOT and slot not in seen and slot <= entries.type.range()[1]:
        yield slot
        seen.add(slot)
        slot = cell(entries[slot]["next_waiter"])


def waiting_for_fills():
    """The processes that wait for a page that another process fills."""
    found = (at(slot) for slot in queue(locked(FILLING.value())))
    return [process for process in found if process]


def of_space(number):
    """The processes that have the space of that number."""
    return [p for p in everyone() if int(p.space()["number"]) == number]
