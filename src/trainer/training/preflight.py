"""Find everything that is wrong with a run before it loads, writes or deletes anything. Imports no torch.

What needs torch or the hub is checked directly afterwards: hardware, rights on the hub, the adapter on an empty model.
"""

from collections.abc import Callable, Iterator

from trainer.config import Config
from trainer.config.problems import Problem, problem_of, refuse
from trainer.config.rules.names import attention_problems
from trainer.config.rules.packages import package_problems
from trainer.config.rules.precision import precision_problems
from trainer.config.training_rules import training_problems
from trainer.data.domains import load_domain
from trainer.errors import ToolSftError
from trainer.hub import BASE_MODEL
from trainer.training.arguments import check_trackers
from trainer.training.best_model import best_model_arguments
from trainer.training.checks.adapter import adapter_problems
from trainer.training.checks.base_model import base_model_files, base_model_problems, tokenizer_problems
from trainer.training.checks.disk_space import disk_problems
from trainer.training.checks.input_files import input_file_problems
from trainer.training.checks.model_files import ModelFiles
from trainer.training.recovery.resume import find_start
from trainer.training.run_place import check_inputs, claim
from trainer.util.messages import is_first_process


def preflight(cfg: Config) -> None:
    """Refuse a run that cannot succeed, with one list of all its problems.

    Raises:
        ToolSftError: the class that all problems have in common, else a `ConfigError`.
    """
    refuse(str(cfg.path or "configuration"), unique(find_problems(cfg)))


def find_problems(cfg: Config) -> Iterator[Problem]:
    """Yield every problem that is known without torch: of keys, packages, files, the model's files, and disk space."""
    wrong_keys = training_problems(cfg.train)
    yield from wrong_keys
    yield from precision_problems(cfg.train, cfg.model.torch_dtype)
    yield from attention_problems(cfg.model.attn_implementation)
    yield from caught("train.metric_for_best_model", lambda: best_model_arguments(cfg.train))
    yield from caught("train.report_to", lambda: check_trackers(cfg))
    yield from package_problems(cfg)
    yield from caught("data.load_module", lambda: load_domain(cfg))
    yield from input_file_problems(cfg)
    yield from caught("train.output_dir", lambda: _claim(cfg))
    yield from tokenizer_problems(cfg)
    files = ModelFiles()
    try:
        files = base_model_files(cfg)
    except ToolSftError as error:
        yield problem_of(error, BASE_MODEL.key)
    yield from base_model_problems(files)
    wrong_adapter = list(adapter_problems(cfg.lora, files))
    yield from wrong_adapter
    if not wrong_keys and not wrong_adapter:
        yield from disk_problems(cfg, files)


def caught(key: str, check: Callable[[], object]) -> Iterator[Problem]:
    """Yield the problem that a check raises."""
    try:
        check()
    except ToolSftError as error:
        yield problem_of(error, key)


def unique(problems: Iterator[Problem]) -> list[Problem]:
    """Return the problems, each once."""
    return list(dict.fromkeys(problems))


def _claim(cfg: Config) -> None:
    start = find_start(cfg)
    if start.is_finished or not is_first_process():
        return
    goes_on = start.goes_on_in(cfg.output_dir)
    claim(cfg.output_dir, overwrite=bool(cfg.train.get("overwrite_output_dir")), resume=goes_on)
    check_inputs(cfg, resume=goes_on)
