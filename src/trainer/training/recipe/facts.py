"""What the choices of the recipe depend on: counts of the training rows, and measures of the model and the hardware."""

import re
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from trainer.config.schema import ModelConfig
from trainer.data.report import SplitReport
from trainer.generation.memory_budget import device_bytes
from trainer.lora_model import pick_dtype
from trainer.training.recipe.activation_memory import saved_bytes_per_token

_TURNS_PER_SESSION = 6  # where a domain does not count them
_BITS_OF_QUANTIZED = {"8bit": 8, "4bit": 4}
_IN_LAYER = re.compile(r".*\.layers\.(\d+)\.(?:.*\.)?(\w+)")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choices depend on. `n_layers` counts decoder layers with a number in their name; 0 if none have one.

    `linear` are the names of the linear modules in them, such as `q_proj`.

    A session has `n_tokens` on average, of which the first `n_shared` are the same in all sessions; the longest has
    `n_longest`. A GPU has `n_bytes` of memory, of which the weights take `n_weight_bytes`, and a step saves
    `bytes_per_token` for its backward pass; 0 if unknown.
    """

    n_sessions: int
    n_turns: int
    n_held_out: int
    n_parameters: int
    n_layers: int
    n_processes: int
    on_gpu: bool
    n_tokens: int = 0
    n_shared: int = 0
    n_longest: int = 0
    n_bytes: int = 0
    n_weight_bytes: int = 0
    bytes_per_token: int = 0
    linear: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, rows: SplitReport, n_held_out: int, model: nn.Module | None, arguments: Any, *, n_shared: int = 0
    ) -> "Facts":
        """The facts of training rows, of a model, which may be empty (None if it was not built), and of the hardware.

        `arguments` are TrainingArguments, and `n_shared` is the number of tokens that all rows begin with.
        """
        linear = {name for name, part in model.named_modules() if isinstance(part, nn.Linear)} if model else set()
        places = [found for name in linear if (found := _IN_LAYER.fullmatch(name)) is not None]
        n_parameters = sum(weight.numel() for weight in model.parameters()) if model else 0
        n_layers, on_gpu = max((int(place[1]) for place in places), default=-1) + 1, arguments.device.type != "cpu"
        return cls(
            n_sessions=rows.n_sessions,
            n_turns=rows.n_trained_turns or _TURNS_PER_SESSION * rows.n_sessions,
            n_held_out=n_held_out,
            n_parameters=n_parameters,
            n_layers=n_layers,
            n_processes=arguments.world_size,
            on_gpu=on_gpu,
            n_tokens=rows.n_tokens // max(1, rows.n_rows),
            n_shared=n_shared,
            linear=tuple(sorted({place[2] for place in places})),
        )

    def with_memory(self, model: nn.Module, arguments: Any, settings: ModelConfig, *, n_longest: int) -> "Facts":
        """The same with the memory of a GPU and what an empty model takes of it, in the precision of `settings`.

        `n_longest` is the number of tokens of the longest row.
        """
        dtype = pick_dtype(settings.torch_dtype)
        bits = _BITS_OF_QUANTIZED.get(settings.quantization or "", 8 * dtype.itemsize)
        return replace(
            self,
            n_longest=n_longest,
            n_bytes=device_bytes(arguments.device),
            n_weight_bytes=self.n_parameters * bits // 8,
            bytes_per_token=saved_bytes_per_token(model.to(dtype)),
        )
