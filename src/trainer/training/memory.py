"""Measure the most memory that the process has used. Knows no model."""

import re
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


def peak_memory_gb() -> float:
    """Return the peak memory in GB (10^9 bytes) of the GPU if there is one, otherwise of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return peak_resident_bytes() / 1e9


def peak_resident_bytes() -> int:
    """Return the peak memory of the process, or its current memory if the platform keeps no peak."""
    # On Linux, a program inherits getrusage's peak from the process that started it. VmHWM starts at zero.
    found = re.search(r"^VmHWM:\s*(\d+) kB", _STATUS.read_text(encoding="utf-8"), re.M) if _STATUS.exists() else None
    if found:
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
