"""Say what is left when a run ends early, and the command that goes on."""

from collections.abc import Iterator
from contextlib import contextmanager

from trainer.config import Config
from trainer.errors import OutputError, RunInterrupted, TrainingError
from trainer.run_layout import RunLayout
from trainer.training.recovery.checkpoints import checkpoints, disk_failure
from trainer.training.recovery.stopping import Stopped, StopRequest


@contextmanager
def left_explained(cfg: Config, stop: StopRequest) -> Iterator[None]:
    """Turn the early end of a run in the block into an error that says what is left.

    Raises `RunInterrupted`, `TrainingError` and `OutputError`; errors of other kinds pass.
    """
    try:
        yield
    except Stopped as error:
        raise RunInterrupted(f"stopped; {_what_is_left(cfg)}", stop.exit_code) from error
    except TrainingError as error:
        raise TrainingError(f"{error}. The run ended; {_what_is_left(cfg)}") from error
    except Exception as error:  # libraries raise errors of every kind for a full disk
        reason = str(error) if isinstance(error, OutputError) else disk_failure(error)
        if reason is None:
            raise
        raise OutputError(f"the run ended, because {reason}; {_what_is_left(cfg)}") from error


def _what_is_left(cfg: Config) -> str:
    work = RunLayout(cfg.output_dir).unfinished
    found = checkpoints(work)
    left = f"{found[0]} is complete" if found else f"{work} has no checkpoint yet, so it begins again"
    return f"{left}. Go on with: tool-sft train --config {RunLayout(work).config} --resume"
