"""What a checkpoint holds besides transformers' state, for the figures of a whole run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.errors import ConfigError
from trainer.util.files import replace_json

_FILE = "progress.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run after a step. Losses are sums over steps, in nats per token.

    `n_history` is the number of lines of the history, `is_evaluated` whether the step was evaluated, and `is_over`
    whether no step is left.
    """

    n_history: int
    n_processes: int
    is_evaluated: bool
    is_over: bool
    seconds: float
    n_tokens: int
    n_supervised: int
    logged_loss: float
    unlogged_loss: float
    last_logged_step: int


def write_progress(checkpoint: Path, progress: Progress) -> None:
    """Write the progress into the folder of a checkpoint."""
    replace_json(checkpoint / _FILE, asdict(progress))


def read_progress(checkpoint: Path, *, n_processes: int) -> Progress:
    """Return the progress at a complete checkpoint. Raises `ConfigError` for one of another number of processes."""
    progress = Progress(**json.loads((checkpoint / _FILE).read_text(encoding="utf-8")))
    if progress.n_processes != n_processes:
        raise ConfigError(
            f"train.resume_from_checkpoint: {checkpoint} is of {progress.n_processes} processes, and these are "
            f"{n_processes}; the rows of a step would be others. Start as many"
        )
    return progress
