"""Everything that replaces parts of a model while a training step runs. Replaces nothing itself."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from torch import nn

from trainer.kernels.frozen_layers import FrozenLayers, find_frozen_layers
from trainer.kernels.fused_lora import fused_lora
from trainer.kernels.lean_layers import LeanLayer, find_lean_layers, lean_layers
from trainer.kernels.packed_attention import attend_by_row


class FastStep(NamedTuple):
    """The replacements that a model takes. `fuses_lora` is whether adapters of plain linear layers add in place."""

    model: nn.Module
    fuses_lora: bool
    lean: tuple[LeanLayer, ...]
    frozen: FrozenLayers | None

    @classmethod
    def find(cls, model: nn.Module, *, is_whole: bool, on_cpu: bool, n_bytes_of_states: int) -> "FastStep":
        """Try what the model takes. Weights in shards (`is_whole` is false) are left to their own library.

        `n_bytes_of_states` is the memory for the hidden states of frozen layers, 0 if no batch comes again.
        """
        replaces = is_whole and on_cpu
        return cls(
            model,
            fuses_lora=is_whole,
            lean=tuple(find_lean_layers(model)) if replaces else (),
            frozen=find_frozen_layers(model, n_bytes=n_bytes_of_states) if replaces and n_bytes_of_states else None,
        )

    @contextmanager
    def over(self, batch: Mapping[str, Any], *, comes_again: bool) -> Iterator[None]:
        """Inside the block, the forward and the backward pass over `batch` use the replacements.

        Both, because gradient checkpointing runs the forward pass again in the backward one.
        """
        reused = self.frozen.reused(batch, keep=comes_again) if self.frozen is not None else nullcontext()
        lora = fused_lora(self.model, active=self.fuses_lora)
        with attend_by_row(self.model, batch.get("segments", ())), lora, lean_layers(self.lean), reused:
            yield
