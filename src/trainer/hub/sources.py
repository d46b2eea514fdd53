"""Resolve a dataset or a model of the hub to one commit, once per process. Loads nothing."""

from dataclasses import dataclass, replace
from typing import Any

from trainer.config import Config
from trainer.hub.failures import hub_failure
from trainer.hub.names import BASE_MODEL, DATASET, Use, is_local

_commits: dict[tuple[str, str, str | None], str] = {}  # a branch that moves during a run changes nothing


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset or a model: its configured name and revision, and its commit on the hub, or None if it is local."""

    name: str
    revision: str | None
    commit: str | None


def resolve_dataset(name: str, revision: str | None = None) -> Source:
    """The dataset with this name, at the commit of a branch or tag. Raises `DataError`."""
    return _resolve(DATASET, name, revision)


def resolve_base_model(cfg: Config) -> Source:
    """The configured base model, at the commit of a branch or tag. Raises `ModelError`."""
    return _resolve(BASE_MODEL, cfg.model.base_model_name, cfg.model.revision)


def resolve_tokenizer(cfg: Config) -> Source:
    """The configured tokenizer, at the commit of a branch or tag. Raises `ModelError`."""
    return _resolve(tokenizer_use(cfg), cfg.tokenizer_name, cfg.tokenizer_revision)


def tokenizer_use(cfg: Config) -> Use:
    """The keys that name the tokenizer and its revision: its own, or those of the base model."""
    own, same = cfg.data.tokenizer is not None, cfg.tokenizer_name == cfg.model.base_model_name
    own_revision = cfg.data.tokenizer_revision is not None or not same
    return replace(
        BASE_MODEL,
        key="data.tokenizer" if own else BASE_MODEL.key,
        revision_key="data.tokenizer_revision" if own_revision else BASE_MODEL.revision_key,
    )


@dataclass(frozen=True, slots=True)
class KnownSources:
    """Everything that a configuration takes from a hub or from a local path."""

    datasets: tuple[Source, ...]
    base_model: Source
    tokenizer: Source


def known_sources(cfg: Config) -> KnownSources:
    """The datasets, base model and tokenizer of a configuration, with the commits resolved so far. Asks no hub."""

    def known(use: Use, name: str, revision: str | None) -> Source:
        return Source(name, revision, _commits.get((use.repo_type, name, revision)))

    return KnownSources(
        datasets=tuple(known(DATASET, one.dataset_name, one.revision) for one in cfg.data.all_sources()),
        base_model=known(BASE_MODEL, cfg.model.base_model_name, cfg.model.revision),
        tokenizer=known(BASE_MODEL, cfg.tokenizer_name, cfg.tokenizer_revision),
    )


def pinned(cfg: Config) -> Config:
    """The configuration with the commits resolved so far as revisions, so that it names the same files later."""
    found = known_sources(cfg)
    commits = [source.commit for source in found.datasets]
    data: dict[str, Any] = {}
    if cfg.data.sources:
        pairs = zip(cfg.data.sources, commits, strict=True)
        data["sources"] = [one.model_copy(update={"revision": commit or one.revision}) for one, commit in pairs]
    else:
        data["revision"] = commits[0] or cfg.data.revision
    if cfg.data.tokenizer is not None or cfg.data.tokenizer_revision is not None:
        data["tokenizer_revision"] = found.tokenizer.commit or cfg.data.tokenizer_revision
    model = {"revision": found.base_model.commit or cfg.model.revision}
    return cfg.model_copy(
        update={"data": cfg.data.model_copy(update=data), "model": cfg.model.model_copy(update=model)}
    )


def _resolve(use: Use, name: str, revision: str | None) -> Source:
    if is_local(name, use, revision=revision):
        return Source(name, None, None)
    place = (use.repo_type, name, revision)
    if place not in _commits:
        _commits[place] = _commit(use, name, revision)
    return Source(name, revision, _commits[place])


def _commit(use: Use, name: str, revision: str | None) -> str:
    """The commit of a repository: the hub's, else that of the copy in the cache."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionResolutionError

    try:
        return str(HfApi().resolve_revision(name, repo_type=use.repo_type, revision=revision).resolved)
    except (OSError, RevisionResolutionError, httpx2.HTTPError) as error:
        failure = hub_failure(error, use, name, revision=revision)
        raise failure or use.error(f"{use.key}: {name} cannot be found: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
