"""How gdb prints the kernel's types: the value that a reader looks for, on one line.

`print/r VALUE` shows the structure.
"""

import gdb

from . import kernel

# Types with one number in them, as the source writes such a value.
NUMBERS = ("Frame", "SnapId", "SwapId", "Ticket", "SegmentNumber", "AccountId")


class Printer:
    """Prints a value as the result of a function."""

    def __init__(self, show, value):
        self.show = show
        self.value = value

    def to_string(self):
        try:
            return self.show(self.value)
        except (gdb.error, gdb.GdbError, KeyError):
            return "(not sound)"


def number(value):
    return f"{value.type.name.rsplit('::', 1)[-1]}({kernel.cell(value)})"


def lock(value):
    rank = kernel.variant(value["rank"])[0]
    taken = bool(kernel.cell(value["inner"]["taken"]))
    inner = kernel.locked(value)
    return f"Lock({rank}, {'taken' if taken else 'free'}, {inner.type.name} at {int(inner.address):#x})"


def arc(value):
    if "Arc<str" in value.type.name:
        return f'"{kernel.text(value)}"'
    inner = value["ptr"]["pointer"].dereference()
    weak = "Weak" if "::Weak<" in value.type.name else "Arc"
    strong, data = kernel.cell(inner["strong"]), inner["data"]
    return f"{weak}({strong} strong, {data.type.name} at {int(data.address):#x})"


def child(value):
    return f"Child(node in frame {kernel.cell(value['node']):#x}, marks {int(value['marks']):#x})"


def bits(value):
    words = value["__0"]
    members = []
    for index in range(words.type.range()[1] + 1):
        word = int(words[index])
        members += [index * 64 + bit for bit in range(64) if word >> bit & 1]
    return f"Bits{members}"


def find(value):
    """The printer of a value, if its type has one."""
    name = (value.type.strip_typedefs().name or "") if value.type.code == gdb.TYPE_CODE_STRUCT else ""
    last = name.split("<", 1)[0].rsplit("::", 1)[-1]
    if name.startswith("dormouse_vm::") and last in NUMBERS:
        return Printer(number, value)
    if name.startswith("dormouse_hw::lock::Lock<"):
        return Printer(lock, value)
    if name.startswith(("alloc::sync::Arc<", "alloc::sync::Weak<")):
        return Printer(arc, value)
    if name == "dormouse_vm::overlay::node::Child":
        return Printer(child, value)
    if name.startswith("dormouse_ranges::bits::Bits<"):
        return Printer(bits, value)
    return None


def register():
    """Makes the printers known to gdb."""
    find.__name__ = "dormouse"
    gdb.pretty_printers.insert(0, find)
