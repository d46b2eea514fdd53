"""Find the folder with the base model's files, if it is on this machine, and report what is wrong with it.

Converts and downloads nothing. Imports no torch.
"""

from collections.abc import Iterator
from pathlib import Path

from trainer.config import Config
from trainer.config.problems import Problem, problem_of
from trainer.errors import ModelError, ToolSftError
from trainer.hub import BASE_MODEL, PACKAGE_PREFIX, resolve_base_model, resolve_tokenizer
from trainer.model_source import converted_folder
from trainer.run_layout import MODEL_CONFIG
from trainer.training.checks.model_files import ModelFiles, read_model_files


def base_model_files(cfg: Config) -> ModelFiles:
    """Read the files of the base model. Empty for one that is not on this machine yet. Raises `ModelError`."""
    source = resolve_base_model(cfg)
    if source.name.startswith(PACKAGE_PREFIX):
        folder = converted_folder(source.name.removeprefix(PACKAGE_PREFIX))
        return read_model_files(folder) if folder.is_dir() else ModelFiles()
    if source.commit is None:
        return read_model_files(Path(source.name).expanduser())
    cached = _cached_folder(source.name, source.commit)
    return read_model_files(cached, complete=False) if cached is not None else ModelFiles()


def base_model_problems(files: ModelFiles) -> Iterator[Problem]:
    """Yield what is wrong with the base model's files."""
    return (Problem(BASE_MODEL.key, text, ModelError) for text in files.problems)


def tokenizer_problems(cfg: Config) -> Iterator[Problem]:
    """Yield why there can be no tokenizer of the configured name, if it has a name of its own."""
    if cfg.tokenizer_name == cfg.model.base_model_name and cfg.data.tokenizer_revision is None:
        return
    try:
        resolve_tokenizer(cfg)
    except ToolSftError as error:
        yield problem_of(error, "data.tokenizer")


def _cached_folder(name: str, commit: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, MODEL_CONFIG, revision=commit)
    return Path(found).parent if isinstance(found, str) else None
