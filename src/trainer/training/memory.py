"""How much memory the process has used at most. Knows no model."""

import re
import resource
import sys
from pathlib import Path

import torch


def peak_memory_gb() -> float:
    """Peak memory in GB (10^9 bytes): of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return _peak_resident_bytes() / 1e9


def _peak_resident_bytes() -> int:
    # Linux hands getrusage's peak of a parent down to the program that it starts; this one begins anew.
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"), re.M) if status.exists() else None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
