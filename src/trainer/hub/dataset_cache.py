"""Load a split of a hub dataset at exactly one commit, from the cache if it has a copy.

Without a hub, the library takes the newest copy in the cache, of whatever commit.
"""

from pathlib import Path

import datasets
from datasets.naming import camelcase_to_snakecase
from datasets.packaged_modules.cache.cache import Cache

from trainer.errors import DataError
from trainer.hub.sources import Source

_DEFAULT = "default"


def load_hub_split(source: Source, split: str) -> datasets.Dataset:
    """Return a split of a hub dataset at the source's commit. Raises `DataError`, and the errors of `datasets`."""
    copies = _copies(source)
    if _DEFAULT not in copies and not datasets.config.HF_HUB_OFFLINE:
        loaded = datasets.load_dataset(source.name, revision=source.commit, split=split)
        commits = {Path(file["filename"]).parent.name for file in loaded.cache_files}
        if not commits or source.commit in commits:
            return loaded
    if not copies:
        raise DataError(
            f"data.dataset_name: {source.name} cannot be loaded from the hub now, and the cache has no copy of its "
            f"commit {source.commit}; check the connection and HF_HUB_OFFLINE"
        )
    return _load(source, copies.get(_DEFAULT) or min(copies.values()), split)


def _copies(source: Source) -> dict[str, Path]:
    """The folders of prepared copies of the source's commit, by the name of the dataset's own configuration."""
    owner, _, name = source.name.rpartition("/")
    folder = "___".join(filter(None, (owner, camelcase_to_snakecase(name))))
    root = Path(datasets.config.HF_DATASETS_CACHE).expanduser() / folder
    return {path.parts[-3]: path for path in root.glob(f"*/*/{source.commit}")}


def _load(source: Source, copy: Path, split: str) -> datasets.Dataset:
    config, version, commit = copy.parts[-3:]
    name = source.name.rpartition("/")[2]
    builder = Cache(repo_id=source.name, dataset_name=name, config_name=config, version=version, hash=commit)
    loaded = builder.as_dataset(split=split)
    assert isinstance(loaded, datasets.Dataset)
    return loaded
