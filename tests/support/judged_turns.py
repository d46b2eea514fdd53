"""Sessions of made-up tokens to judge, and what `generate` answers."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel

from tests.support.decoding_models import VOCABULARY
from trainer.generation.settings import DecodeSettings
from trainer.types import ToolEvalExample

STOP, N_NEW = 2, 10


def example(session: str, turn: int, prompt: Sequence[int], target: Sequence[int]) -> ToolEvalExample:
    return ToolEvalExample(session, turn, (), (), "", (), tuple(prompt), tuple(target))


def generated(model: PreTrainedModel | PeftModel, prompt: Sequence[int], *, n_new: int = N_NEW) -> list[int]:
    """The greedy answer of `generate`, without the stop token."""
    config = GenerationConfig(max_new_tokens=n_new, do_sample=False, eos_token_id=STOP, pad_token_id=0)
    ids = torch.tensor([list(prompt)])
    generate: Any = model.generate
    output = generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    answer: list[int] = output[0, ids.shape[1] :].tolist()
    return answer[:-1] if answer[-1] == STOP else answer


def make_examples(
    model: PreTrainedModel | PeftModel, *, n_sessions: int, n_turns: int, seed: int
) -> list[ToolEvalExample]:
    """Sessions whose gold agrees with the model for some, none or all of its tokens."""
    draw = random.Random(seed)
    examples = []
    for session in range(n_sessions):
        history: list[int] = []
        for turn in range(n_turns):
            history += [draw.randrange(3, VOCABULARY) for _ in range(draw.randrange(1, 25))]
            greedy = generated(model, history)
            n_agree = draw.choice([0, len(greedy) // 2, len(greedy)])
            wrong = [draw.randrange(3, VOCABULARY) for _ in range(draw.randrange(0, 4))]
            target = [*greedy[:n_agree], *(wrong if n_agree < len(greedy) else []), STOP]
            examples.append(example(f"s{session}", turn, history, target))
            history += target
    return examples


def make_settings(**changes: Any) -> DecodeSettings:
    values: dict[str, Any] = {
        "stop_token_ids": frozenset({STOP}),
        "max_new_tokens": N_NEW,
        "max_context_tokens": 2048,
    }
    return DecodeSettings(**{**values, **changes})
