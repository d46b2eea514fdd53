"""Read saved predictions together with the tool schemas that they are judged by. Scores nothing."""

from pathlib import Path
from typing import NamedTuple

from trainer.errors import DataError
from trainer.run_layout import BASE, FINAL, TOOLS_FILE, RunLayout
from trainer.scoring.compare import Comparison, compare
from trainer.scoring.predictions import read_predictions
from trainer.tools import read_tools
from trainer.types import Prediction, Tool


class SavedPredictions(NamedTuple):
    """The predictions of a file, and the tool schemas beside it."""

    predictions: list[Prediction]
    tools: tuple[Tool, ...]


def read_saved(path: Path, *, tools: Path | None = None) -> SavedPredictions:
    """Return the predictions of a file with the schemas of `tools` (default: `tools.json` beside the file).

    Raises `DataError` if a file is missing, malformed or empty.
    """
    predictions = read_predictions(path)
    if not predictions:
        raise DataError(f"{path}: holds no predictions")
    beside = path.with_name(TOOLS_FILE)
    if tools is None and not beside.is_file():
        raise DataError(f"{beside}: no tool schemas beside the predictions; name them with --tools")
    return SavedPredictions(predictions, tuple(read_tools(tools or beside, unique_names=False)))


def compare_states(run: Path) -> Comparison | None:
    """Compare the base and the final state of the run in a folder; None if it has not judged both."""
    files = RunLayout(run)
    if not (files.predictions(BASE).is_file() and files.predictions(FINAL).is_file()):
        return None
    try:
        final = read_saved(files.predictions(FINAL))
        return compare(read_predictions(files.predictions(BASE)), final.predictions, final.tools)
    except DataError:  # no turn was judged
        return None
