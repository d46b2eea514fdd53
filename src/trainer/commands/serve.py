"""Serve a finished run at an OpenAI-compatible address: with vLLM, or with a small server on machines without a GPU.

The run folder fills in the flags: base model, adapter and its rank, tokenizer, chat template and its arguments,
tool-call parser, context length, precision. Arguments after `--` go to vLLM unchanged.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.util.cli import add_base, command_parser

if TYPE_CHECKING:
    from trainer.serving.plan import ServePlan

_EXAMPLES = """
examples:
  %(prog)s --run runs/quickstart --print
  %(prog)s --run runs/qwen3-4b --name carsales --port 8000 -- --tensor-parallel-size 2
  %(prog)s --run runs/qwen3-4b --merged runs/qwen3-4b-merged
  %(prog)s --run runs/quickstart --engine transformers

Clients choose by model name: the adapter's (--name, default: the name of the run folder), or the base model's, which is
model.base_model_name of the configuration.
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line; what follows `--` is in `args.extra`."""
    words = list(argv)
    own, extra = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = command_parser(prog, __doc__, _EXAMPLES)
    add = parser.add_argument
    add("--run", required=True, type=Path, metavar="DIR", help="run folder of a finished training")
    add_base(parser)
    add("--engine", choices=("vllm", "transformers"), default="vllm", help="default: vllm")
    add("--merged", type=Path, metavar="DIR", help="serve the model that `tool-sft merge` wrote")
    add("--name", help="model name of the adapter or merged model (default: the run folder's name)")
    add("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    add("--port", type=int, default=8000, help="default: 8000")
    add("--vllm", metavar="PATH", help="the program vllm (default: the one beside this Python, or on PATH)")
    add(
        "--vllm-parser",
        action="store_true",
        help="read tool calls with vLLM's own parser, not with this project's reader",
    )
    add("--print", action="store_true", help="print vLLM's command line and do not run it")
    args = parser.parse_args(own)
    if not 1 <= args.port <= 65535:
        parser.error(f"--port {args.port}: must be between 1 and 65535")
    if args.engine == "transformers" and (extra or args.print or args.vllm_parser):
        parser.error("--print, --vllm-parser and arguments after -- need --engine vllm")
    args.extra = extra
    return args


def run(args: argparse.Namespace) -> int:
    """Fill in the flags, and become the server."""
    from trainer.serving.plan import plan_serving
    from trainer.serving.served_class import refuse_other_class
    from trainer.serving.vllm import find_vllm, refuse_unservable
    from trainer.training.finished_run import read_run

    finished = read_run(args.run, base=args.base)
    program = ""
    if args.engine == "vllm":  # what cannot work is refused before anything that takes time
        program = (args.vllm or "vllm") if args.print else find_vllm(args.vllm)
        if args.merged is None:
            refuse_unservable(finished)
            refuse_other_class(finished)
    plan = plan_serving(finished, name=args.name, merged=args.merged, with_vllm_parser=args.vllm_parser)
    if args.engine == "transformers":
        from trainer.serving.local.server import serve_run

        serve_run(finished, plan, host=args.host, port=args.port)
    else:
        _become_vllm(program, plan, args)
    return 0


def _become_vllm(program: str, plan: "ServePlan", args: argparse.Namespace) -> None:
    from trainer.serving.gold_check import parser_note, vllm_python
    from trainer.serving.vllm import shell_line, vllm_arguments, write_serving_files

    files = write_serving_files(plan)
    python = None if args.print else vllm_python(program)  # --print starts nothing
    checked = parser_note(plan, args.run, files=files, python=python)
    for note in [*plan.notes(), *([checked] if checked else [])]:
        print(f"note: {note}", file=sys.stderr)
    flags = vllm_arguments(plan, files=files, host=args.host, port=args.port)
    command = [program, *flags, *args.extra]
    print(shell_line(command), file=sys.stdout if args.print else sys.stderr, flush=True)
    if not args.print:
        os.execv(program, command)  # signals reach the server itself
