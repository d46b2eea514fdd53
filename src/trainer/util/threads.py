"""How many threads compute, and how they wait for each other: settings that OpenMP reads when torch is imported."""

import math
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

WAIT_POLICY, N_THREADS = "OMP_WAIT_POLICY", "OMP_NUM_THREADS"
_SHORT_WAITS = {
    "GOMP_SPINCOUNT": "1000",  # some microseconds, in torch's builds for Linux
    "KMP_BLOCKTIME": "0",  # in builds with Intel's or LLVM's OpenMP
}
_CGROUPS = Path("/sys/fs/cgroup")


def set_up_threads(environment: MutableMapping[str, str] = os.environ, *, cgroups: Path = _CGROUPS) -> None:
    """Let threads soon sleep while they wait, and start as many as there are cores. What the user has set stays.

    By default, a thread that waits for the others of its product keeps its core busy for long. If anything else needs
    the core, the others do not get on meanwhile (`benchmarks/train.py --busy 2` measures it). Threads that sleep at
    once take too long to wake: a step has thousands of short operations. Has no effect after torch is imported.
    """
    if "torch" in sys.modules:
        return
    if WAIT_POLICY not in environment:
        for name, value in _SHORT_WAITS.items():
            environment.setdefault(name, value)
    limit = core_limit(cgroups)
    if limit is not None and limit < n_visible_cores():
        environment.setdefault(N_THREADS, str(limit))


def n_visible_cores() -> int:
    """The number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_limit(cgroups: Path) -> int | None:
    """The number of whole cores whose time a container may use, at least 1; None without a limit.

    A container with a limit sees all cores of its machine, and starts too many threads for its share of time.
    """
    try:
        quota, period = (cgroups / "cpu.max").read_text(encoding="ascii").split()  # version 2
    except (OSError, ValueError):
        try:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")  # version 1
            quota, period = ((cgroups / "cpu" / name).read_text(encoding="ascii") for name in names)
        except OSError:
            return None
    try:
        cores = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return max(1, math.floor(cores)) if cores > 0 else None
