"""Check that a server does what was trained: the same prompt tokens, and the same greedy answers as in process.

The first line is the verdict, and it names the cause of a failure: another prompt, an adapter that is off, other
weights, no answer. The exit code is then 1. Answers may differ by rounding, if two tokens are about equally likely.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.util.cli import add_base, add_overrides, add_server, api_key, command_parser, positive

if TYPE_CHECKING:
    from trainer.serving.parity import Parity

_EXAMPLES = """
examples:
  %(prog)s --run runs/quickstart --endpoint http://127.0.0.1:8000/v1 --model quickstart
  %(prog)s --config configs/car_sales/qwen3-4b.yaml --endpoint http://127.0.0.1:8000/v1 \\
    --model Qwen/Qwen3-4B-Instruct-2507

With --config, only prompts are compared. With --run, turns are also answered in process, with and without the adapter.
The server must answer as the adapter, or as the base model if --model is its configured name.
"""
_N_SHOWN = 10
_KINDS = {"rounding": "rounding", "neither": "other weights", "unknown": "unknown, the server returns no tokens"}


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="DIR", help="run folder of a finished training")
    source.add_argument("--config", metavar="PATH", help="run configuration (YAML); compares prompts only")
    add_overrides(parser)
    add_base(parser)
    add_server(parser)
    add = parser.add_argument
    add("--model", required=True, metavar="NAME", help="model name on the server")
    add("--turns", type=positive, default=32, metavar="N", help="evaluation turns to compare (default: 32)")
    add("--concurrency", type=positive, default=8, metavar="N", help="open requests (default: 8)")
    add("--json", type=Path, metavar="PATH", help="also write everything as JSON")
    args = parser.parse_args(argv)
    if args.run and args.overrides:
        parser.error("--set needs --config; a run is compared as it was trained")
    if args.config and args.base:
        parser.error("--base needs --run; with --config, use --set model.base_model_name=PATH_OR_ID")
    return args


def run(args: argparse.Namespace) -> int:
    """Ask and compare, then print what differs."""
    from trainer.config import load_config
    from trainer.endpoint import EndpointSettings
    from trainer.training.finished_run import read_run
    from trainer.util.files import claim_file, write_file

    claim_file(args.json, option="--json")
    source = read_run(args.run, base=args.base) if args.run else load_config(args.config, args.overrides)
    settings = EndpointSettings(args.endpoint, api_key(args.api_key_env), n_connections=args.concurrency)

    from trainer.serving.parity_run import check_parity

    found = check_parity(source, settings, model=args.model, n_turns=args.turns)
    print(found.verdict.line)
    _print_prompts(found)
    _print_answers(found)
    if args.json:
        text = json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n"
        write_file(args.json, text, option="--json")
    return 1 if found.verdict.cause else 0


def _print_prompts(found: "Parity") -> None:
    told = ", ".join(f"{n} by {source}" for source, n in found.sources.items())
    n_equal = found.n_turns - found.n_errors - found.n_unknown_prompts - len(found.prompts)
    print(f"prompts: {n_equal} of {found.n_turns} equal to those of training ({told or 'none reported'})")
    for prompt in found.prompts[:_N_SHOWN]:
        print(f"  {prompt.session_id} turn {prompt.turn}: {prompt.n_trained} tokens trained, {prompt.n_served} served")
        if prompt.first is not None:
            print(f"    token {prompt.first}: trained {prompt.trained!r}")
            print(f"    {' ' * len(str(prompt.first))}        served  {prompt.served!r}")
    if found.n_unknown_prompts:
        n = found.n_unknown_prompts
        print(f"  {n} cannot be compared: the server reports neither their tokens nor their number")
    if found.n_skipped:
        print(f"  {found.n_skipped} evaluation turns are too long for the run's context and were not asked")
    for error in found.errors[:_N_SHOWN]:
        print(f"  error: {error}")


def _print_answers(found: "Parity") -> None:
    if found.answer_agreement is not None:
        n_same = found.n_compared - len(found.answers)
        print(f"greedy answers: {n_same} of {found.n_compared} identical ({found.answer_agreement:.1%})")
    for answer in found.answers[:_N_SHOWN]:
        where = "" if answer.first is None else f", first at token {answer.first}"
        margin = "" if answer.margin is None else f" (preferred in process by {answer.margin} logits)"
        kind = _KINDS.get(
            answer.kind, f"the answer of {'the base model' if found.model == 'adapter' else 'the adapter'}"
        )
        print(f"  {answer.session_id} turn {answer.turn}{where}{margin}: {kind}")
        print(f"    in process {answer.in_process!r}\n    served     {answer.served!r}")
