"""Packages that options need and that are not installed with this project. Imports none of them."""

import importlib.util
from collections.abc import Iterator
from typing import NamedTuple

from trainer.config.problems import Problem
from trainer.config.schema import Config

_PIP = "uv pip install"


class Package(NamedTuple):
    """A package by the names of modules of which one must be there, and the command that installs it."""

    modules: tuple[str, ...]
    command: str

    def is_installed(self) -> bool:
        """Whether one of the modules can be found."""
        return any(_is_there(module) for module in self.modules)


BITSANDBYTES = Package(("bitsandbytes",), "uv sync --extra quantization")
_KERNELS = Package(("kernels",), f"{_PIP} kernels")
_OPTIMIZERS: tuple[tuple[tuple[str, ...], Package], ...] = (
    (("adamw_torch_4bit", "adamw_torch_8bit"), Package(("torchao",), f"{_PIP} torchao")),
    (("adamw_torch_xla",), Package(("torch_xla",), f"{_PIP} torch_xla")),
    (("adamw_torch_npu_fused",), Package(("torch_npu",), f"{_PIP} torch_npu")),
    (("adamw_anyprecision",), Package(("torchdistx",), f"{_PIP} torchdistx")),
    (("galore_",), Package(("galore_torch",), f"{_PIP} galore-torch")),
    (("apollo_",), Package(("apollo_torch",), f"{_PIP} apollo-torch")),
    (("lomo", "adalomo"), Package(("lomo_optim",), f"{_PIP} lomo-optim")),
    (("grokadamw",), Package(("grokadamw",), f"{_PIP} grokadamw")),
    (("schedule_free_",), Package(("schedulefree",), f"{_PIP} schedulefree")),
    (("stable_adamw",), Package(("optimi",), f"{_PIP} torch-optimi")),
    (("adamw_bnb", "adamw_8bit", "ademamix", "lion_", "paged_", "rmsprop_bnb"), BITSANDBYTES),
)
_ATTENTION = {
    "flash_attention_2": Package(("flash_attn", "kernels"), f"{_PIP} flash-attn --no-build-isolation"),
    "flash_attention_3": Package(("flash_attn_interface", "kernels"), f"{_PIP} kernels"),
    "flash_attention_4": Package(("flash_attn",), f"{_PIP} flash-attn-4"),
}
_SWITCHES = {
    "use_liger_kernel": Package(("liger_kernel",), f"{_PIP} liger-kernel"),
    "deepspeed": Package(("deepspeed",), f"{_PIP} deepspeed"),
}


def package_problems(cfg: Config) -> Iterator[Problem]:
    """Yield one problem for each option whose package is missing, with the command that installs it."""
    name = str(cfg.train.get("optim") or "")
    needed = [("train.optim", name, package) for starts, package in _OPTIMIZERS if name.startswith(starts)]
    if name.startswith("galore_adamw_8bit"):
        needed.append(("train.optim", name, BITSANDBYTES))
    for key, package in _SWITCHES.items():
        if cfg.train.get(key):
            needed.append((f"train.{key}", key, package))
    attention = (cfg.model.attn_implementation or "").removeprefix("paged|")
    if attention in _ATTENTION or "/" in attention:
        needed.append(("model.attn_implementation", attention, _ATTENTION.get(attention, _KERNELS)))
    if cfg.model.quantization is not None:
        needed.append(("model.quantization", cfg.model.quantization, BITSANDBYTES))
    for key, option, package in needed:
        if not package.is_installed():
            missing = " or ".join(package.modules)
            yield Problem(key, f"{option} needs {missing}, which is not installed; run `{package.command}`")


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
