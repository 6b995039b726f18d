"""The peak of memory of a script that a test runs in a process of its own."""

#: Defines ``peak()``: the most KiB that the process has had. ``ru_maxrss`` would begin with those of the process that
#: started it.
PEAK = r"""
import re

def peak():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])
"""
