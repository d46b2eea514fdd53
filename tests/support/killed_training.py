"""Train as the script does, and kill the process at the n-th call of a function: `FUNCTION N ARGUMENTS…`.

`FUNCTION` is `module:name` or `module:Class.name`. With a trailing `+` the kill comes after the call.
"""

import os
import signal
import sys
from importlib import import_module
from typing import Any


def kill_at(place: str, number: int) -> None:
    """Arrange that the process dies at a call of a function."""
    module, _, path = place.rstrip("+").partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    function = getattr(owner, name)
    count = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        last = count == number
        if last and not place.endswith("+"):
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
    from trainer.commands.main import run_command

    sys.exit(run_command("train", sys.argv[3:], prog="train"))
