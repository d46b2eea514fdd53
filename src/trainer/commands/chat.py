"""Talk to a finished run in the terminal: its answers, its tool calls, and what the tools return.

The conversation begins with the system prompt and the tools of training, at the time of now. If the domain has a
simulator, it runs the calls; otherwise you type what a tool returns. In a pipe, each line is a message.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.util.cli import add_base, add_overrides, add_server, api_key, command_parser, positive

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.endpoint import Generation
    from trainer.live_chat.answers import Answerer
    from trainer.training.finished_run import FinishedRun

_EXAMPLES = """
examples:
  %(prog)s --run runs/quickstart
  %(prog)s --run runs/quickstart --adapter-off
  %(prog)s --run runs/qwen3-4b --endpoint http://127.0.0.1:8000/v1 --model carsales
  %(prog)s --config my.yaml --endpoint http://127.0.0.1:8000/v1 --model Qwen/Qwen3-4B-Instruct-2507
  echo "Do you have a hatchback?" | %(prog)s --run runs/quickstart

In the chat, /help shows the commands.
"""


def parse(argv: Sequence[str], *, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__, _EXAMPLES)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="DIR", help="run folder of a finished training")
    source.add_argument("--config", metavar="PATH", help="run configuration (YAML); needs --endpoint")
    add_overrides(parser)
    add_base(parser)
    add_server(parser, required=False)
    add = parser.add_argument
    add("--model", metavar="NAME", help="model name on the server (default: the run folder's name)")
    add("--adapter-off", action="store_true", help="talk to the base model without its adapter, for comparison")
    add("--system", type=Path, metavar="PATH", help="system prompt file in place of data.sysprompt_path")
    add("--tools", type=Path, metavar="PATH", help="tool file in place of data.tools_path")
    add(
        "--max-new-tokens",
        type=positive,
        metavar="N",
        help="most tokens of an answer (default: eval.max_new_tokens_eval)",
    )
    args = parser.parse_args(argv)
    if args.config and not args.endpoint:
        parser.error("--config needs --endpoint; without a server, name a finished run with --run")
    if args.config and not args.model:
        parser.error("--config needs --model, the model's name on the server")
    if args.config and args.base:
        parser.error("--base needs --run")
    if args.run and args.overrides:
        parser.error("--set needs --config; a run answers as it was trained")
    if args.endpoint and args.adapter_off:
        parser.error("--adapter-off is for a run in process; on a server, name the base model with --model")
    if not args.endpoint and (args.model or args.api_key_env):
        parser.error("--model and --api-key-env need --endpoint")
    return args


def run(args: argparse.Namespace) -> int:
    """Load the model or connect to the server, and talk."""
    from trainer.config import load_config
    from trainer.data.domains import live_prompt
    from trainer.live_chat.executing import tool_runner
    from trainer.training.finished_run import read_run

    finished = read_run(args.run, base=args.base) if args.run else None
    cfg = _with_files(finished.cfg if finished else load_config(args.config, args.overrides), args)
    tools = tool_runner(cfg)
    live_prompt(cfg)  # what is wrong with it is said before a model is loaded

    from datetime import datetime

    from trainer.live_chat.exchange import Exchanger, LiveConversation
    from trainer.live_chat.loop import ChatLoop
    from trainer.live_chat.screen import Screen
    from trainer.util.clock import time_zone

    def begin() -> LiveConversation:
        now = datetime.now(time_zone(cfg.data.timezone))
        return LiveConversation(now, live_prompt(cfg, now=now))

    with _answering(args, cfg, finished) as (answerer, generation):
        screen = Screen(max_context_tokens=answerer.max_context_tokens)
        return ChatLoop(Exchanger(answerer, generation, tools, screen), screen, begin).run()


def _with_files(cfg: "Config", args: argparse.Namespace) -> "Config":
    """Return the configuration with the files of the command line."""
    given = {"sysprompt_path": args.system, "tools_path": args.tools}
    changed = {key: path for key, path in given.items() if path is not None}
    return cfg.model_copy(update={"data": cfg.data.model_copy(update=changed)}) if changed else cfg


@contextmanager
def _answering(
    args: argparse.Namespace, cfg: "Config", finished: "FinishedRun | None"
) -> Iterator[tuple["Answerer", "Generation"]]:
    """Yield what answers, and the settings of its requests."""
    from trainer.calibration.record import request_bias
    from trainer.endpoint import EndpointSettings, Generation

    folder = finished.path if finished else cfg.output_dir
    base = finished.base_name if finished else cfg.model.base_model_name
    limit = args.max_new_tokens or cfg.eval.max_new_tokens_eval
    if args.endpoint:
        from trainer.data.chat_setup import make_request_setup
        from trainer.live_chat.served import served_answerer

        settings = EndpointSettings(args.endpoint, api_key(args.api_key_env))
        setup = make_request_setup(cfg)
        model = args.model or args.run.resolve().name
        generation = Generation(
            model,
            limit,
            temperature=cfg.eval.temperature,
            chat_template_kwargs=setup.template_kwargs,
            keep_special_tokens=setup.keep_special_tokens,
            date_argument=setup.date_argument,
            logit_bias=request_bias(folder, model=model, base=base),
        )
        context = cfg.data.max_context_length
        with served_answerer(settings, model=model, fmt=setup.fmt, max_context_tokens=context) as answerer:
            yield answerer, generation
    else:
        from trainer.live_chat.in_process import ModelAnswerer
        from trainer.serving.local.service import load_service
        from trainer.serving.plan import plan_serving

        assert finished is not None
        service = load_service(finished, plan_serving(finished))
        date_argument = service.plan.chat.encoder.date_argument
        in_process = ModelAnswerer(
            service, temperature=cfg.eval.temperature, seed=cfg.seed, adapted=not args.adapter_off
        )
        bias = None if args.adapter_off else request_bias(folder, model=in_process.name, base=base)
        yield in_process, Generation(in_process.name, limit, date_argument=date_argument, logit_bias=bias)
