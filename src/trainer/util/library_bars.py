"""Draw the progress bars of transformers and datasets as bars of this project."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

from trainer.util.progress import progress_bar


@contextmanager
def weight_bars(description: str) -> Iterator[None]:
    """Inside the block, weights that transformers loads have a bar with this description, and written files have one.

    It begins when the files are here, so it never meets the bar of a download.
    """
    from transformers.utils import logging as transformers_logging

    def make(factory: Any, args: Any, kwargs: Any) -> "_LibraryBar":
        if kwargs.get("desc") == "Loading weights":
            return _LibraryBar(*args, **{**kwargs, "desc": description, "unit": "weights"})
        return _LibraryBar(*args, **{"unit": "files", **kwargs})

    before: Any = transformers_logging.set_tqdm_hook(make)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(before)


@contextmanager
def dataset_bars(description: str, *, unit: str) -> Iterator[None]:
    """Inside the block, what `datasets` maps or reads has a bar with this description.

    `datasets` has no setting for it, only names in its modules.
    """
    from datasets import arrow_dataset, builder

    def make(*args: Any, **kwargs: Any) -> "_LibraryBar":
        return _LibraryBar(*args, **{**kwargs, "desc": description, "unit": unit})

    with ExitStack() as later:
        modules: tuple[Any, ...] = (arrow_dataset, builder)
        for module in modules:
            later.callback(setattr, module, "hf_tqdm", module.hf_tqdm)
            module.hf_tqdm = make
        yield


class _LibraryBar:
    """The part of tqdm's interface that those libraries use."""

    def __init__(
        self,
        iterable: Any = None,
        desc: str = "",
        total: float | None = None,
        *,
        unit: str,
        initial: int = 0,
        **others: Any,  # about the look
    ) -> None:
        self._iterable = iterable
        if total is None and hasattr(iterable, "__len__"):
            total = len(iterable)
        self._opened = ExitStack()
        whole = None if total is None else int(total)
        self._advance = self._opened.enter_context(progress_bar(desc, total=whole, unit=unit, done=initial))

    def __iter__(self) -> Iterator[Any]:
        with self:
            for item in self._iterable:
                yield item
                self.update(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def update(self, n: int = 1) -> None:
        """Move the bar."""
        self._advance(n)

    def close(self) -> None:
        """Take the bar off the screen."""
        self._opened.close()
