"""Train as the script does, with FSDP on CPUs: accelerate uses it on other devices only, so it is told that these are.

Everything else is real: `torch.distributed.fsdp` shards the weights, and gloo gathers them.
"""

import sys
from typing import Any

from accelerate.state import PartialState
from accelerate.utils import DistributedType

from trainer.commands.main import run_command

_initialize = PartialState.__init__


def _as_another_device(state: PartialState, *args: Any, **kwargs: Any) -> None:
    _initialize(state, *args, **kwargs)
    if state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_XPU


if __name__ == "__main__":
    PartialState.__init__ = _as_another_device
    sys.exit(run_command("train", sys.argv[1:], prog="train"))
