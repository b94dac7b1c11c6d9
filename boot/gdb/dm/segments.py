"""Spaces, segments, and what each page of a segment holds.

The content of a page is the frame, or the place in swap, that the *overlay* names; if it
names none, the bytes of a snapshot that the *extents* name; zeros under no extent.
"""

import bisect
import struct

import gdb

from . import kernel
from .kernel import PAGE, Source, cell, number, place, some, variant, vector, vector_bytes

PAGE_STATE = Source(
    "kernel/vm/src/page_state.rs", "TAG_BITS", "FRAME_SHIFT", "TICKET_SHIFT", "FILE_SHIFT"
)
SWAP = Source("kernel/vm/src/swap.rs", "FILE_BITS")
NODE = Source("kernel/vm/src/overlay/node.rs", "FAN_BITS")
LEVELS = Source("kernel/vm/src/overlay/mod.rs", "LEVELS_MAX")
# The arms of `PageState::decode`: tags and states.
STATES = r"^\s+(\d+) => PageState::(\w+)"
# The words of docs/words.md for them.
WORDS = {"Absent": "asleep"}
CHUNKS = Source("kernel/ranges/src/chunks.rs", "CHUNK")
# What one command reads at most.
NODES_MOST = 2048
EXTENTS_MOST = 65536


class State:
    """The state of a page, from its word in the overlay (`PageState`)."""

    def __init__(self, word):
        self.word = word
        tag = word & (1 << PAGE_STATE.constant("TAG_BITS")) - 1
        names = {int(number): name for number, name in PAGE_STATE.pairs(STATES)}
        self.kind = names.get(tag, "Absent")
        bits = lambda shift, count: word >> shift & (1 << count) - 1  # noqa: E731
        self.frame = self.ticket = self.file = self.sum = None
        if self.kind in ("Resident", "Dirty", "Sending", "Backed"):
            self.frame = bits(PAGE_STATE.constant("FRAME_SHIFT"), 32)
        if self.kind in ("Filling", "Sending"):
            self.ticket = word >> PAGE_STATE.constant("TICKET_SHIFT")
        if self.kind in ("Swapped", "Loading", "Backed"):
            self.file = bits(PAGE_STATE.constant("FILE_SHIFT"), SWAP.constant("FILE_BITS"))
        if self.kind in ("Swapped", "Loading"):
            self.sum = bits(PAGE_STATE.constant("FRAME_SHIFT"), 32)
        if self.kind == "Loading":
            self.ticket = word >> PAGE_STATE.constant("FILE_SHIFT") + SWAP.constant("FILE_BITS")

    def __str__(self):
        """One line, such as `filling, ticket 3`."""
        shown = WORDS.get(self.kind, self.kind.lower())
        if self.frame is not None:
            shown += f", frame {self.frame:#x}"
        if self.ticket is not None:
            shown += f", ticket {self.ticket}"
        if self.file is not None:
            shown += f", swap file {self.file}"
        if self.sum is not None:
            shown += f", checksum {self.sum:#010x}"
        return shown


class Overlay:
    """The sparse tree of the pages that have a state of their own.

    A node is a frame of 512 words. A word of a leaf is the state of a page; a word of any
    other node has the frame of the node below in its low half, and marks in the other.
    """

    def __init__(self, value):
        root = some(value["root"])
        self.root = None if root is None else cell(root["node"])
        self.bits = NODE.constant("FAN_BITS")
        self.levels = min(cell(value["levels"]), LEVELS.constant("LEVELS_MAX"))
        # Whether `pages` has left some out.
        self.cut = False

    def state(self, page):
        """The state of a page."""
        node = self.root
        for level in reversed(range(self.levels)):
            if node is None:
                return State(0)
            word = kernel.word(node, page >> level * self.bits & (1 << self.bits) - 1)
            node = (word & 0xFFFFFFFF) if word else None
        return State(word)

    def pages(self):
        """The pages that are not asleep, with their words: `NODES_MOST` nodes of them."""
        todo = [] if self.root is None else [(self.root, self.levels - 1, 0)]
        for _ in range(NODES_MOST):
            if not todo:
                return
            node, level, first = todo.pop()
            below = []
            for at, word in enumerate(struct.unpack("<512Q", kernel.frame(node))):
                if not word:
                    continue
                page = first + (at << level * self.bits)
                if level == 0:
                    yield page, word
                else:
                    below.append((word & 0xFFFFFFFF, level - 1, page))
            todo.extend(reversed(below))
        self.cut = bool(todo)


class Extent:
    """Bytes `start..end` of a segment are bytes of a snapshot's file from `soff` on."""

    def __init__(self, start, end, snap, soff):
        self.start = start
        self.end = end
        self.snap = snap
        self.soff = soff


def extents(content):
    """The extents of a `dormouse_vm` segment, ascending."""
    found = []
    for chunk in vector(content["extents"]["map"]["spans"]["chunks"], EXTENTS_MOST):
        data, item = vector_bytes(chunk, CHUNKS.constant("CHUNK"))
        where = [place(item, *path) for path in
                 (("start",), ("end",), ("value", "snap"), ("value", "soff"))]
        for start in range(0, len(data), item.sizeof):
            found.append(Extent(*(number(data, start, at) for at in where)))
        if len(found) >= EXTENTS_MOST:
            break
    return found


class Segment:
    """An entry of a space's table: the kernel's `Segment`."""

    def __init__(self, value):
        self.value = value
        self.id = int(value["id"])
        self.base = int(value["base"])
        self.count = int(value["pages"])
        self.kind = variant(value["kind"])[0].lower()
        name, content = variant(value["content"])
        # The VM core's half; None for devices, DMA and shared memory.
        self.content = content.dereference() if name == "Virtual" else None

    @property
    def end(self):
        return self.base + self.count * PAGE

    def permissions(self):
        execute = "x" if self.value["execute"] else "-"
        return "r" + ("w" if self.value["write"] else "-") + execute

    def overlay(self):
        return Overlay(self.content["overlay"])

    def extents(self):
        return extents(self.content)

    def snaps(self):
        """The numbers of the snapshots that it refers to."""
        return [cell(use["snap"]) for use in vector(self.content["extents"]["uses"]["list"], 4096)]

    def counts(self):
        """Pages by state: those with one of their own, those asleep, and zeros."""
        tags, present = {}, []
        overlay = self.overlay()
        mask = (1 << PAGE_STATE.constant("TAG_BITS")) - 1
        for page, word in overlay.pages():
            tags[word & mask] = tags.get(word & mask, 0) + 1
            present.append(page)
        counts = {State(tag).kind.lower(): count for tag, count in tags.items()}
        asleep, covered, seen = 0, 0, 0
        for extent in self.extents():
            first, end = max(extent.start // PAGE, seen), -(-extent.end // PAGE)
            if first < end:
                covered += bisect.bisect_left(present, end) - bisect.bisect_left(present, first)
                asleep += end - first
                seen = end
        counts["asleep"] = asleep - covered
        counts["zero"] = self.count - len(present) - counts["asleep"]
        if overlay.cut:
            counts = {kind: counts[kind] for kind in counts if kind not in ("asleep", "zero")}
            counts["and more, not counted"] = self.count - len(present)
        return {kind: count for kind, count in counts.items() if count}


def of(space):
    """The segments of a space, by address."""
    found = (some(entry) for entry in vector(space["table"], 64))
    return sorted((Segment(s) for s in found if s is not None), key=lambda s: s.base)


def kinds():
    """The kinds of segments."""
    fields = gdb.lookup_type("dormouse_kernel::seg::SegmentKind").fields()
    return [field.name.rsplit("::", 1)[-1].lower() for field in fields]


def states():
    """The words for the states of pages."""
    names = [name for _, name in PAGE_STATE.pairs(STATES)]
    return ["zero", *(WORDS.get(name, name.lower()) for name in ["Absent", *names])]


def find(process, va):
    """The segment of a process that an address is in, or None."""
    return next((s for s in of(process.space()) if s.base <= va < s.end), None)


def kind_at(process, va):
    """The kind of the segment that an address is in, or None."""
    segment = find(process, va)
    return segment and segment.kind


def state_at(process, va):
    """The word for the state of the page at an address, or None. A page of zeros that was
    never touched is not asleep."""
    segment = find(process, va)
    if segment is None or segment.content is None:
        return None
    page = (va - segment.base) // PAGE
    state = segment.overlay().state(page)
    if state.kind != "Absent":
        return state.kind.lower()
    start, end = page * PAGE, (page + 1) * PAGE
    tied = any(extent.start < end and start < extent.end for extent in segment.extents())
    return WORDS["Absent"] if tied else "zero"


def at(process, va):
    """The segment of a process that an address is in."""
    segment = find(process, va)
    if segment is None:
        raise gdb.GdbError(f"{process} has no segment at {va:#x}: `dm segs` lists them")
    return segment
