"""Write a report or a card at the end of long work that must not be lost by it. Builds no page."""

import logging
from collections.abc import Callable
from pathlib import Path

from trainer.util.files import replace_file

logger = logging.getLogger(__name__)


def write_report(path: Path, build: Callable[[], str]) -> bool:
    """Write the page or text that `build` returns; return whether it was written.

    It is made from files that are all there already, so no failure of building it may end the work: it is a warning,
    and an older one, which would show other numbers, is removed. A file that cannot be written is an error,
    as for all other files of the folder.
    """
    try:
        page = build()
    except Exception as error:  # a page about data and models of any kind; the run's numbers are in its other files
        logger.warning(f"{path}: this file could not be built ({type(error).__name__}: {error}); all else is there")
        path.unlink(missing_ok=True)
        return False
    replace_file(path, page)
    return True
