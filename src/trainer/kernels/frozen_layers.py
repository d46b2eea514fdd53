"""Keep what the layers below the adapter compute for a batch, so that later epochs begin above them.

An adapter on the upper layers only leaves the lower ones as they are, and an epoch has the batches of the one before:
their hidden states at the lowest adapted layer are always the same numbers. Chooses no layers to adapt.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from trainer.kernels.trial import kept_mode, pretrained_model, replaced_forward

logger = logging.getLogger(__name__)

_PROBE_TOKENS = 16


class FrozenLayers:
    """The frozen lower layers of a model, and their hidden states for the batches seen so far, up to `n_bytes`.

    `layers` are all decoder layers, of which the first `n_frozen` have no trained weights. States that are not needed
    again are freed.
    """

    def __init__(self, layers: nn.ModuleList, n_frozen: int, *, n_bytes: int) -> None:
        self.n_frozen = n_frozen
        self._layers, self._n_bytes_left = layers, n_bytes
        self._states: dict[bytes, torch.Tensor] = {}  # [batch, tokens, size] by digest of the batch

    @contextmanager
    def reused(self, batch: Mapping[str, Any], *, keep: bool = True) -> Iterator[None]:
        """Inside the block, passes over `batch` leave out the frozen layers, if it was seen before.

        `keep` is whether the batch comes again: its states are then kept, as far as there is memory.
        """
        digest = _digest(batch)
        state = self._states.get(digest) if keep else self._states.pop(digest, None)
        if state is not None:
            with replayed(self._layers, self.n_frozen, state):
                yield
            return
        with captured(self._layers[self.n_frozen]) as found:
            yield
        n_bytes = sum(state.nbytes for state in found)
        if keep and len(found) == 1 and n_bytes <= self._n_bytes_left:  # one pass, not one for each of several parts
            self._states[digest] = found[0].detach()
            self._n_bytes_left -= n_bytes


def find_frozen_layers(model: nn.Module, *, n_bytes: int) -> FrozenLayers | None:
    """Return the layers below the lowest trained weight, if leaving them out is tried and changes nothing; else None.

    Not for weights in shards, nor for models that compute with more of a lower layer than its output.
    """
    layers = _decoder_layers(model)
    n_frozen = next((n for n, layer in enumerate(layers) if any(w.requires_grad for w in layer.parameters())), 0)
    if not n_frozen or not _can_be_left_out(model, layers, n_frozen):
        return None
    return FrozenLayers(layers, n_frozen, n_bytes=n_bytes)


@contextmanager
def captured(layer: nn.Module) -> Iterator[list[Any]]:
    """Inside the block, the hidden states that go into a layer are added to the list, or None if they are not found."""
    found: list[Any] = []

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(args[0] if args else kwargs.get("hidden_states"))

    hook = layer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield found
    finally:
        hook.remove()


@contextmanager
def replayed(layers: nn.ModuleList, n_frozen: int, state: torch.Tensor) -> Iterator[None]:
    """Inside the block, the first `n_frozen` layers compute nothing, and the next one gets `state`."""
    with ExitStack() as stack:
        for layer in layers[:n_frozen]:
            stack.enter_context(replaced_forward(layer, lambda *_, **__: state))
        yield


def _digest(batch: Mapping[str, Any]) -> bytes:
    """A name of all that the layers compute with: tokens, positions and which tokens see each other."""
    digest = hashlib.blake2b(repr(batch.get("segments", ())).encode(), digest_size=16)
    for key in ("input_ids", "attention_mask", "position_ids"):
        if key in batch:
            digest.update(f"{key} {tuple(batch[key].shape)}".encode())
            digest.update(batch[key].numpy(force=True).tobytes())
    return digest.digest()


def _decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The list that holds as many layers as the configuration says; empty if there is not exactly one."""
    base = pretrained_model(model)
    n_layers = getattr(base.config.get_text_config(), "num_hidden_layers", 0) if base is not None else 0
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == n_layers > 0]
    return lists[0] if len(lists) == 1 else nn.ModuleList()


def _can_be_left_out(model: nn.Module, layers: nn.ModuleList, n_frozen: int) -> bool:
    base: Any = pretrained_model(model)
    embedding = base.get_input_embeddings()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(len(embedding.weight), (1, _PROBE_TOKENS), generator=generator).to(embedding.weight.device)
    with kept_mode(model), torch.random.fork_rng(devices=[]), captured(layers[n_frozen]) as found:
        for training in (True, False):
            model.train(training)
            logits = model(input_ids=ids, use_cache=False).logits  # with gradients: the state must have none
        states = tuple(found)
        if len(states) != 2 or any(state is None or state.requires_grad for state in states):  # trained weights below
            return False
        if not torch.equal(*states):  # dropout
            return False
        try:
            with replayed(layers, n_frozen, states[-1]):
                again = model(input_ids=ids, use_cache=False).logits
        except Exception as error:  # a layer that gives more than its hidden states to the next one
            logger.debug("frozen layers are computed in every epoch: %s", error)
            return False
    return torch.equal(again, logits)
