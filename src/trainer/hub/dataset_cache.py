"""Load a split of a hub dataset at exactly one commit. The library alone would take any cached one without a hub."""

from pathlib import Path

import datasets
from datasets.naming import camelcase_to_snakecase
from datasets.packaged_modules.cache.cache import Cache

from trainer.errors import DataError
from trainer.hub.sources import Source


def load_hub_split(source: Source, split: str) -> datasets.Dataset:
    """Return a split of a hub dataset at the source's commit. Raises `DataError`, and the errors of `datasets`."""
    loaded = datasets.load_dataset(source.name, revision=source.commit, split=split)
    commits = {Path(file["filename"]).parent.name for file in loaded.cache_files}
    return loaded if not commits or source.commit in commits else _cached_split(source, split)


def _cached_split(source: Source, split: str) -> datasets.Dataset:
    owner, _, name = source.name.rpartition("/")
    folder = "___".join(filter(None, (owner, camelcase_to_snakecase(name))))
    root = Path(datasets.config.HF_DATASETS_CACHE).expanduser() / folder
    found = sorted(root.glob(f"*/*/{source.commit}"), key=lambda path: path.parts[-3] != "default")
    if not found:
        raise DataError(
            f"data.dataset_name: the hub does not provide {source.name} now, and the cache has no copy of commit "
            f"{source.commit}; check the connection, or set data.revision to a commit that you have"
        )
    config, version, commit = found[0].parts[-3:]
    builder = Cache(repo_id=source.name, dataset_name=name, config_name=config, version=version, hash=commit)
    cached = builder.as_dataset(split=split)
    assert isinstance(cached, datasets.Dataset)
    return cached
