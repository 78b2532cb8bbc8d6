"""A bridge over a store in memory, whose index `embed-456` holds every id until it is deleted.

`bridge_in_memory.py PORT` starts it.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples/bridges"))
from bridge import IndexMissing, Presence, serve  # noqa: E402

NO_SPACES = "This store's ids have no spaces"


class Memory:
    def __init__(self):
        self.deleted = set()

    def present(self, index, ids):
        self.find(index)
        refused = {at: NO_SPACES for at, one in enumerate(ids) if " " in one}
        return Presence([one not in self.deleted for one in ids], refused)

    def delete(self, index, ids):
        self.find(index)
        self.deleted.update(ids)
        return ["gone"] * len(ids)

    @staticmethod
    def find(index):
        if index != "embed-456":
            raise IndexMissing


serve(Memory(), int(sys.argv[1]))
