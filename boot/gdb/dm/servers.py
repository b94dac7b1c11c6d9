"""Snapshots held at file servers, mounts, channels and ports."""

from . import processes
from .kernel import Static, arc, cell, locked, some, text, variant, vector

SNAPSHOTS = Static("dormouse_kernel::client::snapshots::TABLE")
SNAPSHOTS_MOST = 65536
DESCRIPTORS_MOST = 4096


class Snapshot:
    """An entry of the table of snapshots: the kernel's `Held`."""

    def __init__(self, number, value):
        self.number = number
        self.path = text(value["path"])
        self.holders = cell(value["holders"])
        self.trims = cell(value["trims"])
        name, home = variant(value["home"])
        self.mount = self.fid = None
        if name == "Server":
            self.mount = cell(arc(home["mount"])["id"])
            self.fid = cell(home["snapfid"])
        self.down = bool(self.mount is not None and is_down(arc(home["mount"])))

    def where(self):
        if self.mount is None:
            return "bundle"
        return f"mount {self.mount}, fid {self.fid}" + (", server gone" if self.down else "")


def is_down(mount):
    """Whether the connection of a `Mount` is closed."""
    return some(locked(mount["state"])["machine"]["down"]) is not None


def snapshots():
    """All snapshots."""
    entries = locked(SNAPSHOTS.value())["entries"]["entries"]
    for number, entry in enumerate(vector(entries, SNAPSHOTS_MOST)):
        held = some(entry)
        if held is not None:
            yield Snapshot(number, held.dereference())


def snapshot(number):
    """The snapshot of that number, or None."""
    return next((snap for snap in snapshots() if snap.number == number), None)


class Channel:
    """A channel, found through somebody who has it."""

    def __init__(self, value):
        self.address = int(value.address)
        self.value = value
        # Who has each side.
        self.users = ([], [])

    def side(self, index):
        """A line about one side."""
        side = locked(self.value["sides"])[index]
        words = ["open" if side["open"] else "closed"]
        queued = int(side["queue"]["len"])
        words.append(f"{queued} message{'s' * (queued != 1)} queued")
        for name, verb in (("readers", "receive"), ("writers", "send")):
            waiting = [str(processes.at(slot)) for slot in processes.queue(side[name])]
            if waiting:
                words.append(f"{', '.join(waiting)} waiting to {verb}")
        if some(side["port"]) is not None:
            words.append("received by a port")
        users = ", ".join(self.users[index]) or "nobody found"
        return f"{users}: {', '.join(words)}"


def channels():
    """The channels that descriptors, mounts and ports lead to, by address."""
    found = {}

    def note(tap, user):
        channel = Channel(arc(tap["channel"]))
        channel = found.setdefault(channel.address, channel)
        users = channel.users[1 if int(tap["side"]) else 0]
        if user not in users:
            users.append(user)

    def mount(value):
        note(arc(value["end"])["__0"], f"the kernel as client of mount {cell(value['id'])}")

    for process in processes.everyone():
        table = locked(arc(locked(process.value["descriptors"])))["table"]
        for number, entry in enumerate(vector(table, DESCRIPTORS_MOST)):
            file = some(entry)
            if file is None:
                continue
            kind, node = variant(arc(file)["node"])
            user = f"{process} descriptor {number}"
            if kind == "Channel":
                note(arc(node)["__0"], user)
            elif kind == "Remote":
                mount(arc(node["mount"]))
            elif kind == "Port":
                for source in vector(locked(arc(node)["state"])["sources"], 64):
                    name, tap = variant(source["kind"])
                    if name == "Channel":
                        note(tap, f"port of {user}")
    for entry in vector(locked(SNAPSHOTS.value())["entries"]["entries"], SNAPSHOTS_MOST):
        held = some(entry)
        if held is not None:
            name, home = variant(held.dereference()["home"])
            if name == "Server":
                mount(arc(home["mount"]))
    return list(found.values())
