"""Made-up sessions for a tiny random model with recurrent layers, for the benchmark of evaluation. Measures nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from finished_run import LoadedRun
from recurrent_models import recurrent_model
from transformers.utils import logging as transformers_logging

from trainer.collate import PaddingCollator
from trainer.generation.settings import DecodeSettings
from trainer.generation.teacher_forcing import decode_turns
from trainer.types import IGNORE_INDEX, ToolEvalExample

_VOCABULARY, _MAX_CONTEXT = 512, 8192
_STOP_TOKENS = range(2, 10)  # so many that answers of a random model end after tens of tokens
_N_TURNS, _FIRST_PROMPT, _LATER_PROMPT, _GOLD = 12, range(300, 600), range(20, 140), range(10, 60)
_SHARE_OF_AGREEMENT = 0.85


@dataclass(frozen=True, slots=True)
class TinyRun(LoadedRun):
    """A random model without an adapter, and sessions of random tokens."""

    @contextmanager
    def state(self, name: str) -> Iterator[None]:
        """Change nothing, since there is no adapter."""
        yield


def tiny_runs(family: str, *, n_sessions: int) -> dict[str, LoadedRun]:
    """Runs of one model by the name of their state.

    In `all_differ`, gold is random, like for a model before training. In `most_agree`, gold is the model's own answer
    in 85% of the turns.
    """
    transformers_logging.disable_progress_bar()
    model = recurrent_model(family, vocab_size=_VOCABULARY)
    settings = DecodeSettings(frozenset(_STOP_TOKENS), max_new_tokens=112, max_context_tokens=_MAX_CONTEXT)
    empty = TinyRun(model, (), (), settings, pad_token_id=0, dtype=torch.float32)
    shares = {"all_differ": 0.0, "most_agree": _SHARE_OF_AGREEMENT}
    return {
        name: _with_sessions(empty, n_sessions=n_sessions, share_of_agreement=share) for name, share in shares.items()
    }


def _with_sessions(run: TinyRun, *, n_sessions: int, share_of_agreement: float) -> LoadedRun:
    draw = torch.Generator().manual_seed(1)

    def drawn(lengths: range) -> tuple[int, ...]:
        length = int(torch.randint(lengths.start, lengths.stop, (1,), generator=draw))
        return tuple(torch.randint(_STOP_TOKENS.stop, _VOCABULARY, (length,), generator=draw).tolist())

    histories: list[tuple[int, ...]] = [()] * n_sessions
    labels: list[tuple[int, ...]] = [()] * n_sessions
    examples: dict[tuple[int, int], ToolEvalExample] = {}
    for turn in range(_N_TURNS):
        prompts = [history + drawn(_LATER_PROMPT if turn else _FIRST_PROMPT) for history in histories]
        gold = [(*drawn(_GOLD), _STOP_TOKENS.start) for _ in prompts]
        asked = [_example(*item) for item in zip(range(n_sessions), [turn] * n_sessions, prompts, gold, strict=True)]
        if share_of_agreement:
            agrees = (torch.rand(n_sessions, generator=draw) < share_of_agreement).tolist()
            gold = _own_answers(run, asked, agrees)
        for session, target in enumerate(gold):
            examples[session, turn] = replace(asked[session], target_ids=target)
            n_prompt = len(prompts[session]) - len(histories[session])
            labels[session] += (IGNORE_INDEX,) * n_prompt + target
            histories[session] = prompts[session] + target
    collate = PaddingCollator(run.pad_token_id)
    rows = [collate([{"input_ids": ids, "labels": own}]) for ids, own in zip(histories, labels, strict=True)]
    return replace(run, examples=tuple(examples[key] for key in sorted(examples)), rows=tuple(rows))


def _example(session: int, turn: int, prompt: tuple[int, ...], target: tuple[int, ...]) -> ToolEvalExample:
    return ToolEvalExample(f"session-{session}", turn, (), (), "", (), prompt, target)


def _own_answers(run: TinyRun, asked: list[ToolEvalExample], agrees: list[bool]) -> list[tuple[int, ...]]:
    """The model's own answer where gold is to agree, else the given target."""
    decoded = decode_turns(run.model, asked, run.settings)
    found = []
    for example, turn, own in zip(asked, decoded, agrees, strict=True):
        ending = (_STOP_TOKENS.start,) if turn.finish_reason == "stop" else ()
        found.append((*turn.token_ids, *ending) if own else example.target_ids)
    return found
