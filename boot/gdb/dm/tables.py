"""Page tables, and the words that the kernel keeps for each frame."""

import gdb

from . import kernel
from .kernel import Source, Static, cell

TABLE = Source(
    "kernel/hw/src/mem/table.rs",
    *"PRESENT WRITE USER WRITE_THROUGH CACHE_OFF ACCESSED HUGE COUNTED AHEAD NO_EXEC ADDRESS".split(),
)
LEVELS = ("root", "third", "second", "leaf")
DIRTY = 1 << 6
WORDS = Static("dormouse_hw::mem::words::WORDS")
LIMIT = Static("dormouse_hw::mem::words::LIMIT")
USES = {
    "DATA": "data",
    "CACHED": "data in the frame cache",
    "SHARED": "shared data",
    "NODE": "node of an overlay",
    "OBJECT": "memory of the kernel",
    "FREE": "free",
    "KEPT": "never handed out",
    "IDLE": "idle in the frame cache",
    "FRESH": "never used",
}
FRAME_WORDS = Source("kernel/hw/src/mem/words.rs", "TAG", "HOLDERS", "TRANSLATIONS", "ONE_TRANSLATION", *USES)


class Entry:
    """One entry of a page table."""

    def __init__(self, level, index, table, word):
        self.level = level
        self.index = index
        self.table = table
        self.word = word

    def is_set(self, bit):
        return bool(self.word & TABLE.constant(bit))

    @property
    def frame(self):
        return (self.word & TABLE.constant("ADDRESS")) // kernel.PAGE

    def ends(self):
        return not self.is_set("PRESENT") or self.is_set("HUGE")

    def flags(self):
        """In words."""
        if not self.is_set("PRESENT"):
            return "not present"
        words = [
            "write" if self.is_set("WRITE") else "read-only",
            "user" if self.is_set("USER") else "kernel",
            "no fetch" if self.is_set("NO_EXEC") else "fetch",
        ]
        for bit in ("WRITE_THROUGH", "CACHE_OFF", "HUGE", "ACCESSED"):
            if self.is_set(bit):
                words.append(bit.lower().replace("_", " "))
        if self.level == 3 or self.is_set("HUGE"):
            if self.word & DIRTY:
                words.append("stored to")
            # The kernel's own bits, which the processor ignores.
            if self.is_set("COUNTED"):
                words.append("counted")
            if self.is_set("AHEAD"):
                words.append("read ahead")
        return ", ".join(words)


def walk(root, va):
    """The entries from the root to the page of an address."""
    table = root
    for level in range(len(LEVELS)):
        index = va >> 39 - 9 * level & 511
        entry = Entry(level, index, table, kernel.word(table, index))
        yield entry
        if entry.ends():
            return
        table = entry.frame


def translation(root, va):
    """The last entry on the way to an address if it translates it, and the frame."""
    entries = list(walk(root, va))
    last = entries[-1]
    if not last.is_set("PRESENT"):
        return None, None
    inside = (va // kernel.PAGE) % (1 << 9 * (len(LEVELS) - 1 - last.level))
    return last, last.frame + inside


def use_of(frame):
    """The word of a frame in words: its use, holders and translations."""
    if frame >= cell(LIMIT.value()):
        return "no memory"
    pointer = WORDS.value()["p"]["value"]
    word = int.from_bytes(kernel.memory(int(pointer) + frame * 8, 8), "little")
    tag = FRAME_WORDS.constant("TAG")
    if word == (1 << 64) - 1:
        return "no memory"
    names = [name for name in USES if FRAME_WORDS.constant(name) >> tag == word >> tag]
    name = names[0] if names else "?"
    shown = USES.get(name, f"tag {word >> tag}")
    if name not in ("DATA", "CACHED", "SHARED", "NODE", "OBJECT"):
        return shown
    holders = word & FRAME_WORDS.constant("HOLDERS")
    shown += f", {holders} holder{'s' * (holders != 1)}"
    if name in ("DATA", "CACHED", "SHARED"):
        maps = (word & FRAME_WORDS.constant("TRANSLATIONS")) // FRAME_WORDS.constant("ONE_TRANSLATION")
        shown += f", {maps} translation{'s' * (maps != 1)}"
    return shown


def root_in_use():
    """The frame that `cr3` names."""
    return (int(gdb.parse_and_eval("$cr3")) & TABLE.constant("ADDRESS")) // kernel.PAGE
