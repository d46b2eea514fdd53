"""Ask a server for evaluation turns, and compare its prompts and answers with those of training."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from trainer.chat import ChatEncoder
from trainer.config import Config
from trainer.data.chat_setup import ChatSetup, make_chat_setup
from trainer.data.domains import domain_datasets, load_domain
from trainer.endpoint import EndpointSettings, Generation
from trainer.generation.settings import decode_settings
from trainer.kernels.precision import evaluation_precision
from trainer.server_eval.offered import require_models
from trainer.server_eval.tokens import ServedTurn, ask_with_tokens
from trainer.serving.answer_fit import rounding_share
from trainer.serving.answers import AnswerChecker, Compared
from trainer.serving.parity import Parity, compare_prompts
from trainer.training.finished_run import FinishedRun
from trainer.training.load_run import load_adapted
from trainer.types import ToolEvalExample
from trainer.util.progress import progress_bar


def check_parity(source: Config | FinishedRun, settings: EndpointSettings, *, model: str, n_turns: int) -> Parity:
    """Compare up to `n_turns` evaluation turns of the server's `model` with a configuration or a finished run.

    With a configuration, only prompts are compared. With a run, turns are also answered in process, by the adapter and
    by the base model, and those on which the two differ are preferred. The server is expected to answer as the adapter,
    or as the base model if `model` is its configured name. Requests name the day of their session if the template
    takes it; otherwise a template that writes the date is compared on today's.
    Turns that might exceed the run's context are skipped.
    Raises a `ToolSftError` if the data, the model or the server cannot be used.
    """
    asyncio.run(require_models(settings, [model]))
    cfg = source.cfg if isinstance(source, FinishedRun) else source
    if isinstance(source, FinishedRun):
        source.base_place()  # before data is prepared
    bundle = domain_datasets(load_domain(cfg), cfg)
    chat = bundle.chat or make_chat_setup(cfg)
    longest = cfg.data.max_context_length - cfg.eval.max_new_tokens_eval
    fitting = [example for example in bundle.tool_eval_examples if len(example.prompt_ids) <= longest]
    candidates = _as_served(fitting, chat.encoder)
    generation = _generation(cfg, chat, model)
    if isinstance(source, FinishedRun):
        adapted = model != source.base_name
        with _checker(source, adapted=adapted) as checker:
            turns = checker.choose(candidates, n_turns)
            examples = [turn.example for turn in turns]
            served = _ask(settings, examples, generation)
            answers = checker.compare(turns, served)
    else:
        adapted, examples = None, candidates[:n_turns]
        served, answers = _ask(settings, examples, generation), Compared(0, 0, [])
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
        model=None if adapted is None else "adapter" if adapted else "base",
        n_telling=answers.n_telling,
    )


def _generation(cfg: Config, chat: ChatSetup, model: str) -> Generation:
    return Generation(
        model,
        cfg.eval.max_new_tokens_eval,
        chat_template_kwargs=chat.encoder.template_kwargs or None,
        keep_special_tokens=chat.marks_are_special,
        date_argument=chat.encoder.date_argument,
    )


def _ask(settings: EndpointSettings, examples: Sequence[ToolEvalExample], generation: Generation) -> list[ServedTurn]:
    with progress_bar("Asking the server", total=len(examples), unit="turns") as advance:
        return asyncio.run(ask_with_tokens(settings, examples, generation, on_done=advance))


def _as_served(examples: Sequence[ToolEvalExample], encoder: ChatEncoder) -> list[ToolEvalExample]:
    """Return the turns with the prompts of today, if the template reads the date from a clock of the server."""
    if encoder.date_argument is not None or not encoder.profile.dates.reads_clock:
        return list(examples)
    return [replace(one, prompt_ids=tuple(encoder.prompt_ids(one.messages, one.tools))) for one in examples]


@contextmanager
def _checker(run: FinishedRun, *, adapted: bool) -> Iterator[AnswerChecker]:
    """Load the run's model to decode as the run's evaluation did, but always greedily."""
    model, chat = load_adapted(run), make_chat_setup(run.cfg, folder=run.path)
    settings = decode_settings(run.cfg, chat.encoder, model, greedy=True)
    share = rounding_share(run.cfg)
    with evaluation_precision(model):
        yield AnswerChecker(model, settings, encoder=chat.encoder, fmt=chat.fmt, adapted=adapted, share=share)
