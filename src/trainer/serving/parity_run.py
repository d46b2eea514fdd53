"""Ask a server for evaluation turns, and compare its prompts and answers with those of training."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from trainer.chat import ChatEncoder
from trainer.config import Config
from trainer.data.chat_setup import make_chat_setup
from trainer.data.domains import domain_datasets, load_domain
from trainer.endpoint import EndpointSettings, Generation
from trainer.generation.settings import decode_settings
from trainer.kernels.precision import evaluation_precision
from trainer.lora_model import adapter_off
from trainer.server_eval.tokens import ServedTurn, ask_with_tokens
from trainer.serving.parity import AnswerChecker, AnswerDifference, Parity, compare_prompts
from trainer.training.finished_run import FinishedRun
from trainer.training.load_run import load_adapted
from trainer.types import ToolEvalExample
from trainer.util.progress import progress_bar


class _Answers(NamedTuple):
    n_compared: int
    differences: Sequence[AnswerDifference]


def check_parity(source: Config | FinishedRun, settings: EndpointSettings, *, model: str, n_turns: int) -> Parity:
    """Compare up to `n_turns` evaluation turns of the server's `model` with a configuration or a finished run.

    With a configuration, only prompts are compared. With a run, answers are also decoded in process: with its adapter,
    or without it if `model` is the base model's configured name. Requests name the day of their session if the template
    takes it; otherwise a template that writes the date is compared on today's.
    Turns that might exceed the run's context are skipped.
    Raises a `ToolSftError` if the data, the model or the server cannot be used.
    """
    cfg = source.cfg if isinstance(source, FinishedRun) else source
    bundle = domain_datasets(load_domain(cfg), cfg)
    chat = bundle.chat or make_chat_setup(cfg)
    longest = cfg.data.max_context_length - cfg.eval.max_new_tokens_eval
    fitting = [example for example in bundle.tool_eval_examples if len(example.prompt_ids) <= longest]
    examples = _as_served(fitting[:n_turns], chat.encoder)
    generation = Generation(
        model,
        cfg.eval.max_new_tokens_eval,
        chat_template_kwargs=chat.encoder.template_kwargs or None,
        keep_special_tokens=chat.marks_are_special,
        date_argument=chat.encoder.date_argument,
    )
    with progress_bar("Asking the server", total=len(examples), unit="turns") as advance:
        served = asyncio.run(ask_with_tokens(settings, examples, generation, on_done=advance))
    answers = _Answers(0, ())
    if isinstance(source, FinishedRun):
        answers = _compare_answers(source, examples, served, adapted=model != cfg.model.base_model_name)
    errors = [turn.error for turn in served if turn.error is not None]
    return Parity(
        n_turns=len(examples),
        n_skipped=len(bundle.tool_eval_examples) - len(fitting),
        n_errors=len(errors),
        sources=dict(Counter(turn.source for turn in served if turn.error is None)),
        n_unknown_prompts=sum(turn.error is None and turn.n_prompt is None for turn in served),
        prompts=tuple(compare_prompts(examples, served, decode=chat.encoder.decode)),
        n_compared=answers.n_compared,
        answers=tuple(answers.differences),
        errors=tuple(dict.fromkeys(errors)),
    )


def _as_served(examples: Sequence[ToolEvalExample], encoder: ChatEncoder) -> list[ToolEvalExample]:
    """Return the turns with the prompts of today, if the template reads the date from a clock of the server."""
    if encoder.date_argument is not None or not encoder.profile.dates.reads_clock:
        return list(examples)
    return [replace(one, prompt_ids=tuple(encoder.prompt_ids(one.messages, one.tools))) for one in examples]


def _compare_answers(
    run: FinishedRun, examples: Sequence[ToolEvalExample], served: Sequence[ServedTurn], *, adapted: bool
) -> _Answers:
    with (
        _checker(run, adapted=adapted) as checker,
        progress_bar("Answering in process", total=len(examples), unit="turns") as advance,
    ):
        return _Answers(*checker.compare(examples, served, on_done=advance))


@contextmanager
def _checker(run: FinishedRun, *, adapted: bool) -> Iterator[AnswerChecker]:
    """Load the run's model to decode as the run's evaluation did, but always greedily."""
    model, chat = load_adapted(run), make_chat_setup(run.cfg, folder=run.path)
    settings = decode_settings(run.cfg, chat.encoder, model, greedy=True)
    with adapter_off(model, off=not adapted), evaluation_precision(model):
        yield AnswerChecker(model, settings, encoder=chat.encoder, fmt=chat.fmt)
