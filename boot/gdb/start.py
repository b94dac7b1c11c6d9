"""The commands `dm`, for gdb: `source` this file after the kernel's symbols.

The runner does (`cargo run -- gdb`). It reaches this file through a link in the folder
that it has made for the session, where the programs of the bundle and the shared
directory lie too.
"""

import os
import sys

# No folders of compiled files in the source tree.
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from dm import commands, printers  # noqa: E402

# Where the link lies through which this file was reached.
commands.register(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
printers.register()
