"""Serve a trained run behind an OpenAI-compatible address: vLLM, or a small server for machines without a GPU.

Everything that follows from the run is filled in: base model, adapter and its rank, tokenizer, chat template and its
switches, tool-call parser, context length, precision. Arguments after `--` go to vLLM as they are.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from trainer.util.cli import exit_code

_EXAMPLES = """
examples:
  python scripts/serve.py --run runs/quickstart --print
  python scripts/serve.py --run runs/qwen3-4b --name carsales --port 8000 -- --tensor-parallel-size 2
  python scripts/serve.py --run runs/qwen3-4b --merged runs/qwen3-4b-merged
  python scripts/serve.py --run runs/quickstart --engine transformers

Clients choose by model name: the adapter's (--name, default: the name of the run folder), or the base model's, which is
that of model.base_model_name.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, fill in the flags, and become the server."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, extra = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder of scripts/train.py")
    parser.add_argument("--engine", choices=("vllm", "transformers"), default="vllm", help="default: vllm")
    parser.add_argument("--merged", type=Path, metavar="DIR", help="serve the model that scripts/merge.py wrote")
    parser.add_argument("--name", help="model name of the adapter or merged model (default: the run folder's name)")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000")
    parser.add_argument("--vllm", metavar="PATH", help="the program vllm (default: beside this Python, or on PATH)")
    parser.add_argument("--print", action="store_true", help="print vLLM's command line and do not run it")
    args = parser.parse_args(own)
    if not 1 <= args.port <= 65535:
        parser.error(f"--port {args.port}: must lie between 1 and 65535")
    if args.engine == "transformers" and (extra or args.print):
        parser.error("--print and arguments after -- belong to --engine vllm")
    with exit_code() as code:
        from trainer.serving.plan import plan_serving
        from trainer.serving.vllm import (
            find_vllm,
            refuse_unservable,
            shell_line,
            vllm_arguments,
            write_generation_config,
        )
        from trainer.training.finished_run import read_run

        run = read_run(args.run)
        if args.engine == "vllm":  # what cannot work is refused before anything that takes time
            program = (args.vllm or "vllm") if args.print else find_vllm(args.vllm)
            if args.merged is None:
                refuse_unservable(run)
        plan = plan_serving(run, name=args.name, merged=args.merged)
        if args.engine == "transformers":
            from trainer.serving.local.server import serve_run

            serve_run(run, plan, host=args.host, port=args.port)
            return 0
        for note in plan.notes():
            print(f"note: {note}", file=sys.stderr)
        stops = write_generation_config(plan)
        command = [program, *vllm_arguments(plan, generation_config=stops, host=args.host, port=args.port), *extra]
        print(shell_line(command), file=sys.stdout if args.print else sys.stderr, flush=True)
        if not args.print:
            os.execv(program, command)  # signals reach the server itself
    return code.value


if __name__ == "__main__":
    sys.exit(main())
