"""Check that the gold turns of a run come back unchanged from the tool-call parser that vLLM will use.

vLLM's own serving code reads the turns, in its own environment and without an engine. Starts no server.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer.errors import DataError, TemplateError, ToolSftError
from trainer.run_layout import BASE, FINAL, TOOL_PARSER, TOOLS_FILE, RunLayout
from trainer.scoring.predictions import read_predictions
from trainer.serving.plan import ServePlan
from trainer.serving.vllm_parser.plugin_file import loader
from trainer.serving.vllm_parser.replay import Question, Received
from trainer.tool_calls import ToolCallFormat
from trainer.tool_calls.served import ServedCall
from trainer.tool_calls.vllm_losses import known_loss
from trainer.tools import equal, read_tools
from trainer.tools.wire import tool_hash, wire_tool
from trainer.types import Call, Message, Prediction, Tool

MOST_TURNS = 200
_TIMEOUT_S = 180
_N_SHOWN = 160
_ASK = "\nfrom trainer.serving.vllm_parser.replay import main\n\nsys.exit(main(*sys.argv[1:]))\n"
_QUESTION: Message = {"role": "user", "content": "Hello"}


class GoldTurn(NamedTuple):
    """A turn as the chat template writes it, without the stop token, its calls, and the tools of its request."""

    text: str
    calls: tuple[Call, ...]
    tools: tuple[Tool, ...]


def parser_note(plan: ServePlan, run: Path, *, files: Path, python: Path | None) -> str | None:
    """Return what the chosen parser does to the gold turns of the run in `run`, or None if there is nothing to say.

    `python` is that of vLLM; without it, vLLM's own parser is looked up in the table of its known losses. A check that
    fails is reported as a note, because it is no reason not to serve.
    """
    if plan.call_parser is None:
        return None
    known = None if plan.uses_plugin else known_loss(plan.chat.fmt)
    if python is None:
        return known
    turns = gold_turns(plan, run)
    if not turns:
        return known
    try:
        received = _ask(plan, turns, files=files, python=python)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = str(error).strip().splitlines()[-1:] or ["no reason given"]
        failed = f"the gold turns could not be checked with vLLM's parser {plan.call_parser}: {said[0]:.{_N_SHOWN}}"
        return failed if known is None else f"{failed}; {known}"
    return _verdict(plan, turns, received)


def vllm_python(program: str) -> Path | None:
    """Return the Python of a `vllm` program: the one beside it, or the one in its first line."""
    beside = Path(program).with_name("python")
    if beside.is_file():
        return beside
    try:
        with Path(program).open("rb") as file:
            first = file.readline(1024).decode("utf-8", "replace")
    except OSError:
        return None
    named = Path(first.removeprefix("#!").strip())
    return named if first.startswith("#!") and named.name.startswith("python") and named.is_file() else None


def gold_turns(plan: ServePlan, run: Path) -> list[GoldTurn]:
    """Return the first gold turns that the run judged, written by the chat template; those with calls come first.

    Turns that the template cannot write alone are left out. Without predictions there are none.
    """
    predictions, tools = _judged(RunLayout(run))
    turns: list[GoldTurn] = []
    for prediction in sorted(predictions, key=lambda prediction: not prediction.gold_calls):
        offered = tuple(tools[key] for key in prediction.tool_hashes if key in tools)
        try:
            written = plan.chat.encoder.turn_texts([_QUESTION, _answer(prediction)], offered)
        except (DataError, TemplateError):
            continue
        if written:
            text = written[-1].target.removesuffix(written[-1].stop)
            turns.append(GoldTurn(text, prediction.gold_calls, offered))
        if len(turns) == MOST_TURNS:
            break
    return turns


def _judged(files: RunLayout) -> tuple[list[Prediction], dict[str, Tool]]:
    for state in (FINAL, BASE):
        path = files.predictions(state)
        try:
            tools = read_tools(path.with_name(TOOLS_FILE), unique_names=False)
            return read_predictions(path), {tool_hash(tool): tool for tool in tools}
        except ToolSftError:
            continue
    return [], {}


def _answer(prediction: Prediction) -> Message:
    calls: Any = [
        {"id": f"call{n:05}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for n, call in enumerate(prediction.gold_calls)
    ]
    answer: Message = {"role": "assistant", "content": prediction.gold_content}
    return {**answer, "tool_calls": calls} if calls else answer


def _ask(plan: ServePlan, turns: Sequence[GoldTurn], *, files: Path, python: Path) -> list[tuple[Received, ...]]:
    """Return what a client would receive for every turn, whole and streamed."""
    question = Question(
        parser=plan.call_parser or "",
        plugin=str((files / TOOL_PARSER).absolute()) if plan.uses_plugin else None,
        tokenizer=str(plan.files.absolute()),
        trust_remote_code=plan.trust_remote_code,
        turns=[{"text": turn.text, "tools": [wire_tool(tool) for tool in turn.tools]} for turn in turns],
    )
    with tempfile.TemporaryDirectory(prefix="tool-sft-gold-") as scratch:
        asked, answered = Path(scratch, "asked.json"), Path(scratch, "answered.json")
        asked.write_text(json.dumps(question), encoding="utf-8")
        command = [str(python), "-c", loader() + _ASK, str(asked), str(answered)]
        done = subprocess.run(
            command, env=_environment(), cwd=scratch, check=False, capture_output=True, timeout=_TIMEOUT_S
        )
        if done.returncode:
            raise OSError(done.stderr.decode("utf-8", "replace"))
        answers = json.loads(answered.read_text(encoding="utf-8"))
    return [tuple(map(_received, both)) for both in answers]


def _environment() -> Mapping[str, str]:
    quiet = {"VLLM_LOGGING_LEVEL": "CRITICAL", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    return {**{key: value for key, value in os.environ.items() if key != "PYTHONPATH"}, **quiet}


def _received(fields: Sequence[Any]) -> Received:
    content, calls, error = fields
    return Received(content, tuple(ServedCall(*call) for call in calls), error)


def _verdict(plan: ServePlan, turns: Sequence[GoldTurn], received: Sequence[tuple[Received, ...]]) -> str | None:
    fmt, parser = plan.chat.fmt, plan.call_parser
    changes = [
        next((said for one in both if (said := change(fmt, turn, one)) is not None), None)
        for turn, both in zip(turns, received, strict=True)
    ]
    found = [said for said in changes if said is not None]
    if not found:
        return f"all {len(turns)} gold turns of this run come back unchanged from the tool-call parser {parser}"
    remedy = "" if plan.uses_plugin else "; without --vllm-parser, this project's reader is used"
    return f"{len(found)} of {len(turns)} gold turns come back changed from the parser {parser}: {found[0]}{remedy}"


def change(fmt: ToolCallFormat, turn: GoldTurn, received: Received) -> str | None:
    """Return how a client's view of a gold turn differs from gold, or None if it does not."""
    if received.error is not None:
        return f"the parser fails with {received.error:.{_N_SHOWN}} on {turn.text!r:.{_N_SHOWN}}"
    if len(received.calls) != len(turn.calls):
        return f"{len(turn.calls)} calls become {len(received.calls)}: {turn.text!r:.{_N_SHOWN}}"
    for gold, call in zip(turn.calls, received.calls, strict=True):
        if gold.name != call.name or not equal(_decoded(call.arguments), gold.arguments):
            shown = json.dumps(gold.arguments, ensure_ascii=False)
            return f"{gold.name}({shown:.{_N_SHOWN}}) becomes {call.name}({call.arguments:.{_N_SHOWN}})"
    wanted = fmt.parse(turn.text, tools=turn.tools).content
    if fmt.parse(received.content, tools=turn.tools).content.split() != wanted.split():
        return f"the text {wanted!r:.{_N_SHOWN}} becomes {received.content!r:.{_N_SHOWN}}"
    return None


def _decoded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return None
