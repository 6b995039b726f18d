"""Forks of this process: catalogs are closed before, and opened again after.

SQLite's locks do not come along into a child (<https://www.sqlite.org/howtocorrupt.html>, section 2.6): writes of a
child through a connection that was open at the fork are lost or damage the file.
"""

from __future__ import annotations

import os
import threading

from . import _core

#: The number of this process, different in each child.
process = 0

#: Held while an engine is opened again.
lock = threading.Lock()


def _child() -> None:
    global process, lock
    process += 1
    # A thread of the parent may have held it.
    lock = threading.Lock()
    _core.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_core.before_fork, after_in_parent=_core.after_fork_in_parent, after_in_child=_child)
