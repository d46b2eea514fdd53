"""How much memory the process has used at most. Knows no model."""

import resource
import sys

import torch


def peak_memory_gb() -> float:
    """Peak memory in GB (10^9 bytes): of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
