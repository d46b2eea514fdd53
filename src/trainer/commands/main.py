"""The entry point of `tool-sft`.

Imports only the sub-command that was named, and that one imports nothing heavy before it has read its arguments.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from trainer.util.cli import command_parser, exit_code
from trainer.util.secrets import remember_words
from trainer.util.threads import set_up_threads

COMMANDS = {
    "train": "train a LoRA adapter from one YAML file, and measure tool calls before and after",
    "check": "check every row of the data before training",
    "show": "show the data to people: a session, or the whole dataset as a page",
    "preview": "show every token of one session, which of them carry loss, and the proof",
    "convert": "write rows of any known layout as rows of this project's layout",
    "eval": "score a served model on the turns that training evaluates",
    "score": "score saved predictions again, and compare two sets of them",
    "compare": "compare runs and evaluations turn by turn, with intervals and a test",
    "runs": "list all runs under a folder with their main results",
    "curve": "train on parts of the sessions, and say whether more data or more steps would help",
    "serve": "serve a finished run at an OpenAI-compatible address",
    "chat": "talk to a finished run in the terminal, with its tools",
    "merge": "merge an adapter into its base model, and verify the result",
    "parity": "check that a server computes the prompts and answers of training",
    "push": "upload a finished run to the hub, private unless told otherwise",
    "bench": "measure throughput and latency of a server on real turns",
    "new-domain": "write a domain with code of its own, which trains at once",
}
"""The sub-commands, each a module of this package (with `_` for `-`), with one line of help."""

_PROG = "tool-sft"
_EXAMPLES = """
commands:
{commands}

examples:
  %(prog)s train --config configs/car_sales/quickstart.yaml
  %(prog)s serve --run runs/quickstart --engine transformers
  %(prog)s eval --config configs/car_sales/quickstart.yaml --endpoint http://127.0.0.1:8000/v1 --model quickstart

`%(prog)s COMMAND --help` shows the arguments of a command and more examples.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sub-command that the first word names, and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        return run_command(words[0], words[1:], prog=f"{_PROG} {words[0]}")
    return _answer_without_command(words)


def run_command(name: str, argv: Sequence[str] | None, *, prog: str) -> int:
    """Run one sub-command on its own words (None: those of the process), and return its exit code.

    `prog` is how the user started it; usage, help and examples show that. Exits with 2 if the words are wrong.
    """
    command: Any = import_module(f"trainer.commands.{name.replace('-', '_')}")
    words = list(sys.argv[1:] if argv is None else argv)
    remember_words(words)
    args = command.parse(words, prog=prog)
    if getattr(args, "engine", None) != "vllm":  # which inherits the environment, and sets up threads of its own
        set_up_threads()
    with exit_code() as code:
        code.value = command.run(args)
    return code.value


def _answer_without_command(words: Sequence[str]) -> NoReturn:
    """Print help or version, or say what is wrong with the words."""
    from trainer import __version__

    commands = "\n".join(f"  {name:<12}{summary}" for name, summary in COMMANDS.items())
    description = "Fine-tune a chat model to call your tools, evaluate it, and serve it."
    parser = command_parser(_PROG, description, _EXAMPLES.replace("{commands}", commands))
    parser.usage = f"{_PROG} COMMAND [arguments]"
    parser.add_argument("--version", action="version", version=f"{_PROG} {__version__}")
    if words and not words[0].startswith("-"):
        parser.error(_unknown(words[0]))
    parser.parse_args(words)
    parser.error(f"name a command: {', '.join(COMMANDS)}")


def _unknown(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.6)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"unknown command {word!r}{hint} (choose from {', '.join(COMMANDS)})"
