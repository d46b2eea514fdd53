"""Check that a server does what was trained: the same prompt tokens, and the same greedy answers as in process.

The exit code is 1 where a prompt differs or cannot be compared, as that of a turn without answer. Answers may differ
where two tokens are nearly equally likely, since servers round otherwise; each such turn is listed with its margin.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.util.cli import api_key, exit_code

if TYPE_CHECKING:
    from trainer.serving.parity import Parity

_EXAMPLES = """
examples:
  python scripts/parity.py --run runs/quickstart --endpoint http://127.0.0.1:8000/v1 --model quickstart
  python scripts/parity.py --config configs/car_sales/qwen3-4b.yaml --endpoint http://127.0.0.1:8000/v1 \\
    --model Qwen/Qwen3-4B-Instruct-2507

With --config alone, only prompts are compared. With --run, answers are decoded in process, too: by the adapter, or by
the base model where --model is its configured name.
"""
_N_SHOWN = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, ask, compare, and print what differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="DIR", help="run folder of scripts/train.py")
    source.add_argument("--config", metavar="PATH", help="run configuration (YAML); compares prompts only")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="SECTION.KEY=VALUE")
    parser.add_argument("--endpoint", required=True, metavar="URL", help="address of the API, e.g. …:8000/v1")
    parser.add_argument("--model", required=True, metavar="NAME", help="model name on the server")
    parser.add_argument("--turns", type=int, default=32, metavar="N", help="evaluation turns to compare (default: 32)")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N", help="open requests (default: 8)")
    parser.add_argument("--api-key-env", metavar="VAR", help="environment variable that holds the API key")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything as JSON, too")
    args = parser.parse_args(argv)
    if args.turns < 1 or args.concurrency < 1:
        parser.error("--turns and --concurrency: must be at least 1")
    with exit_code() as code:
        from trainer.util.files import claim_file, write_file

        claim_file(args.json, option="--json")
        found = _compare(args)
        _print(found)
        if args.json:
            text = json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n"
            write_file(args.json, text, option="--json")
        code.value = 0 if found.prompts_agree else 1
    return code.value


def _compare(args: argparse.Namespace) -> "Parity":
    from trainer.config import load_config
    from trainer.endpoint import EndpointSettings, Generation
    from trainer.training.finished_run import read_run

    run = read_run(args.run) if args.run else None
    cfg = run.cfg if run else load_config(args.config, args.overrides)
    settings = EndpointSettings(args.endpoint, api_key(args.api_key_env), n_connections=args.concurrency)

    from trainer.data.chat_setup import make_chat_setup
    from trainer.data.domains import domain_datasets, load_domain
    from trainer.server_eval.tokens import ask_with_tokens
    from trainer.serving.parity import Parity, compare_prompts
    from trainer.util.progress import progress_bar

    bundle = domain_datasets(load_domain(cfg), cfg)
    chat = bundle.chat or make_chat_setup(cfg)
    longest = cfg.data.max_context_length - cfg.eval.max_new_tokens_eval
    fitting = [example for example in bundle.tool_eval_examples if len(example.prompt_ids) <= longest]
    examples = fitting[: args.turns]
    generation = Generation(
        args.model,
        cfg.eval.max_new_tokens_eval,
        chat_template_kwargs=chat.encoder.template_kwargs or None,
        keep_special_tokens=chat.marks_are_special,
    )
    with progress_bar("Asking the server", total=len(examples), unit="turns") as advance:
        served = asyncio.run(ask_with_tokens(settings, examples, generation, on_done=advance, notify=_say))
    n_compared, answers = 0, []
    if run is not None:
        checker, context = _checker(run, adapted=args.model != cfg.model.base_model_name)
        with context, progress_bar("Answering in process", total=len(examples), unit="turns") as advance:
            n_compared, answers = checker.compare(examples, served, on_done=advance)
    errors = [turn.error for turn in served if turn.error is not None]
    return Parity(
        n_turns=len(examples),
        n_skipped=len(bundle.tool_eval_examples) - len(fitting),
        n_errors=len(errors),
        sources=dict(Counter(turn.source for turn in served if turn.error is None)),
        n_unknown_prompts=sum(turn.error is None and turn.n_prompt is None for turn in served),
        prompts=tuple(compare_prompts(examples, served, decode=chat.encoder.decode)),
        n_compared=n_compared,
        answers=tuple(answers),
        errors=tuple(dict.fromkeys(errors)),
    )


def _checker(run: Any, *, adapted: bool) -> Any:
    """The run's model, decoding as its evaluation did, and the contexts to do it in."""
    import contextlib

    from trainer.data.chat_setup import make_chat_setup
    from trainer.generation.settings import decode_settings
    from trainer.kernels.precision import evaluation_precision
    from trainer.lora_model import adapter_off
    from trainer.serving.parity import AnswerChecker
    from trainer.training.load_run import load_adapted

    model, chat = load_adapted(run), make_chat_setup(run.cfg, folder=run.path)
    stack = contextlib.ExitStack()
    stack.enter_context(adapter_off(model, off=not adapted))
    stack.enter_context(evaluation_precision(model))
    settings = decode_settings(run.cfg, chat.encoder, model, greedy=True)
    return AnswerChecker(model, settings, encoder=chat.encoder, fmt=chat.fmt), stack


def _print(found: "Parity") -> None:
    told = ", ".join(f"{n} by {source}" for source, n in found.sources.items())
    n_equal = found.n_turns - found.n_errors - found.n_unknown_prompts - len(found.prompts)
    print(f"prompts: {n_equal} of {found.n_turns} equal to those of the training ({told or 'none told'})")
    for prompt in found.prompts[:_N_SHOWN]:
        print(f"  {prompt.session_id} turn {prompt.turn}: {prompt.n_trained} tokens trained, {prompt.n_served} served")
        if prompt.first is not None:
            print(f"    token {prompt.first}: trained {prompt.trained!r}")
            print(f"    {' ' * len(str(prompt.first))}        served  {prompt.served!r}")
    if found.n_unknown_prompts:
        print(f"  {found.n_unknown_prompts} cannot be compared: the server tells neither their tokens nor their number")
    if found.n_skipped:
        print(f"  {found.n_skipped} turns of the evaluation are too long for the run's context and were not asked")
    for error in found.errors[:_N_SHOWN]:
        print(f"  error: {error}")
    if found.answer_agreement is not None:
        n_same = found.n_compared - len(found.answers)
        print(f"greedy answers: {n_same} of {found.n_compared} identical ({found.answer_agreement:.1%})")
    for answer in found.answers[:_N_SHOWN]:
        where = "" if answer.first is None else f", first at token {answer.first}"
        margin = "" if answer.margin is None else f" (preferred in process by {answer.margin} logits)"
        print(f"  {answer.session_id} turn {answer.turn}{where}{margin}")
        print(f"    in process {answer.in_process!r}\n    served     {answer.served!r}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
