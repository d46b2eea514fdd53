"""Compare the tests' copy of vLLM's rules with vLLM itself: the prompts of many requests, by many chat templates.

Runs in the environment of this project, and starts the Python of an installed vLLM for the other side. Needs no GPU, no
model and no network. Not a part of CI, because vLLM is not installed there; run it after an update of vLLM.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, TypedDict

ROOT = Path(__file__).resolve().parents[2]
_EXAMPLES = """
examples:
  python scripts/dev/check_vllm_rules.py --python ~/vllm/bin/python
  python scripts/dev/check_vllm_rules.py --python ~/vllm/bin/python --tokenizer ~/qwen3 --tokenizer ~/llama

The exit code is 1 if a prompt or a content format differs.
"""


class Case(TypedDict):
    """A tokenizer with its template, and the requests to render. `requests` are bodies as a client sends them."""

    name: str
    folder: str
    requests: list[dict[str, Any]]


class Rendered(TypedDict, total=False):
    """What one side makes of a request: the content format, and the prompt with its tokens or an error."""

    content_format: str
    prompt: str
    ids: list[int]
    error: str


class Verdict(NamedTuple):
    """The comparison of the two sides for one request."""

    kind: Literal["equal", "both refuse", "different"]
    detail: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Render the requests on both sides and print a table of equal and different prompts."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python", type=Path, required=True, metavar="PATH", help="the Python that vLLM is installed in"
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="also a tokenizer saved in this folder",
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="only templates with this text in their name")
    args = parser.parse_args(argv)
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    with tempfile.TemporaryDirectory(prefix="rules-") as scratch:
        cases = list(_cases(Path(scratch), args.tokenizer, args.only))
        theirs = _ask_vllm(args.python, cases, Path(scratch))
        verdicts = {case["name"]: _compare(case, answers) for case, answers in zip(cases, theirs, strict=True)}
    return _report(verdicts)


def _cases(scratch: Path, folders: Sequence[Path], only: str) -> Iterator[Case]:
    """Yield every template with its tokenizer, saved below `scratch`."""
    from template_table import WITH_KWARGS, stand_in_tokenizer, templates
    from transformers import AutoTokenizer

    from tests.support.odd_templates import ODD_TEMPLATES
    from tests.support.odd_tokenizers import odd_tokenizer

    for name, source in templates():
        if only in name:
            stand_in_tokenizer(source).save_pretrained(scratch / name)
            yield Case(name=name, folder=str(scratch / name), requests=_requests(WITH_KWARGS.get(name, {})))
    for name, template in ODD_TEMPLATES.items():
        if only in name:
            odd_tokenizer(template, "byte_level").save_pretrained(scratch / name)
            yield Case(name=name, folder=str(scratch / name), requests=_requests(template.kwargs))
    for folder in folders:
        name = folder.parent.name if folder.name == "models" else folder.name
        if AutoTokenizer.from_pretrained(folder).chat_template is None:
            print(f"skipped: {folder} has no chat template")
        elif only in name:
            yield Case(name=name, folder=str(folder.resolve()), requests=_requests({}))


def _requests(template_kwargs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a request for every assistant turn, and one for every whole conversation, with and without arguments."""
    bodies = []
    for messages, tools in _conversations():
        ends = [turn for turn, message in enumerate(messages) if message["role"] == "assistant" and turn > 0]
        for end in (*ends, len(messages)):
            body: dict[str, Any] = {"model": "any", "messages": messages[:end]}
            bodies.append(body | ({"tools": tools} if tools else {}))
    # The server drops arguments that the template does not read, and those that are null or "auto".
    dropped = {"not_read": 1, "enable_thinking": None, "reasoning_effort": "auto"}
    return bodies + [body | {"chat_template_kwargs": {**dropped, **template_kwargs}} for body in bodies]


def _conversations() -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Yield messages and tools as a client sends them."""
    from tests.support.odd_samples import ALL_SAMPLES
    from trainer.endpoint.request import wire_messages
    from trainer.tools.wire import wire_tool

    for session in ALL_SAMPLES:
        yield wire_messages(session.messages), [wire_tool(tool) for tool in session.tools]
    calls = [
        {"id": f"call0000{n}", "type": "function", "function": {"name": "find_car", "arguments": text}}
        for n, text in enumerate(("", "{}", "not JSON", "[1]", '{"n": 1e3, "s": "\\u0160"}'))
    ]
    question = {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]}
    answers = [{"role": "tool", "tool_call_id": call["id"], "name": "find_car", "content": ""} for call in calls]
    # The shapes that other clients send.
    bare: list[dict[str, Any]] = [
        {"type": "function", "function": {"name": "find_car"}},
        {"function": {"strict": True, "name": "book"}},
    ]
    yield [{**question, "name": "Ann"}, {"role": "assistant", "tool_calls": calls}, *answers], bare
    reasoned = {"role": "assistant", "content": "Hello", "tool_calls": [], "name": "Bot"}
    line = {"role": "system", "content": "x-anthropic-billing-header: cch=1\nBe brief."}
    yield (
        [line, question, {**reasoned, "reasoning_content": ""}, question, {**reasoned, "reasoning": "why"}, question],
        [],
    )


def _ask_vllm(python: Path, cases: Sequence[Case], scratch: Path) -> list[list[Rendered]]:
    """Return the answers of vLLM to the requests of every case."""
    asked, answered = scratch / "cases.json", scratch / "answers.json"
    asked.write_text(json.dumps(cases), encoding="utf-8")
    quiet = {"VLLM_LOGGING_LEVEL": "CRITICAL", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [str(python), str(Path(__file__).resolve()), "--answer", str(asked), str(answered)]
    done = subprocess.run(
        command, env={**os.environ, **quiet}, cwd=scratch, check=False, stderr=subprocess.PIPE, encoding="utf-8"
    )
    if done.returncode:
        raise SystemExit(f"{python} could not render the requests; is vLLM installed there?\n{done.stderr[-2000:]}")
    found: list[list[Rendered]] = json.loads(answered.read_text(encoding="utf-8"))
    return found


def _compare(case: Case, theirs: Sequence[Rendered]) -> list[Verdict]:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(case["folder"])
    return [_verdict(_ours(tokenizer, body), their) for body, their in zip(case["requests"], theirs, strict=True)]


def _ours(tokenizer: Any, body: Mapping[str, Any]) -> Rendered:
    from jinja2 import TemplateError

    from tests.support.vllm_rules import content_format, server_prompt, server_prompt_ids, template_text

    wire, tools, kwargs = body["messages"], body.get("tools", ()), body.get("chat_template_kwargs")
    form = content_format(template_text(tokenizer, with_tools=bool(tools)))
    try:
        prompt = server_prompt(tokenizer, wire, tools, template_kwargs=kwargs)
        ids = server_prompt_ids(tokenizer, wire, tools, template_kwargs=kwargs)
    except (TemplateError, TypeError) as error:
        return Rendered(content_format=form, error=str(error))
    return Rendered(content_format=form, prompt=prompt, ids=ids)


def _verdict(ours: Rendered, theirs: Rendered) -> Verdict:
    if ours["content_format"] != theirs["content_format"]:
        return Verdict("different", f"content format {ours['content_format']}, vLLM's {theirs['content_format']}")
    if "error" in ours and "error" in theirs:
        return Verdict("both refuse")
    if ours == theirs:
        return Verdict("equal")
    return Verdict("different", f"\n    here: {json.dumps(ours)[:2000]}\n    vLLM: {json.dumps(theirs)[:2000]}")


def _report(verdicts: Mapping[str, Sequence[Verdict]]) -> int:
    print(f"{'template':<34}{'equal':>8}{'both refuse':>14}{'different':>12}")
    kinds = ("equal", "both refuse", "different")
    rows = {name: [sum(v.kind == kind for v in found) for kind in kinds] for name, found in verdicts.items()}
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)] if rows else [0, 0, 0]
    for name, (equal, refused, different) in rows.items():
        print(f"{name:<34}{equal:>8}{refused:>14}{different:>12}")
    for name, found in verdicts.items():
        if details := [verdict.detail for verdict in found if verdict.kind == "different"]:
            print(f"{name}, first of {len(details)}: {details[0]}")
    return 1 if rows["all"][2] else 0


def answer(asked: Path, answered: Path) -> int:
    """Render the requests of a file by vLLM's own functions. Runs in vLLM's environment and imports nothing else."""
    cases: list[Case] = json.loads(asked.read_text(encoding="utf-8"))
    answers = [[_theirs(tokenizer, body) for body in case["requests"]] for case in cases for tokenizer in [_load(case)]]
    answered.write_text(json.dumps(answers), encoding="utf-8")
    return 0


def _load(case: Case) -> Any:
    return import_module("vllm.tokenizers").get_tokenizer(case["folder"])


def _theirs(tokenizer: Any, body: dict[str, Any]) -> Rendered:
    """Do what the server does with a request, step by step; only the configuration of the model is a stand-in."""
    hf, chat_utils = import_module("vllm.renderers.hf"), import_module("vllm.renderers.chat_utils")
    protocol = import_module("vllm.entrypoints.openai.chat_completion.protocol")
    merge_kwargs = import_module("vllm.renderers").merge_kwargs
    request = protocol.ChatCompletionRequest.model_validate(body)
    tools = None if request.tools is None else [tool.model_dump() for tool in request.tools]
    defaults = merge_kwargs({}, {"tools": tools, "tokenize": False})
    params = request.build_chat_params(None, "auto").with_defaults(defaults)
    config = _config(tokenizer.name_or_path)
    form = hf.resolve_chat_template_content_format(
        params.chat_template, params.chat_template_kwargs.get("tools"), "auto", tokenizer, model_config=config
    )
    messages, _, _ = chat_utils.parse_chat_messages(request.messages, config, content_format=form)
    kwargs = params.get_apply_chat_template_kwargs()
    try:
        prompt = hf.safe_apply_chat_template(config, tokenizer, messages, **kwargs)
    except import_module("vllm.exceptions").VLLMValidationError as error:  # the template raises an error
        return Rendered(content_format=form, error=str(error))
    ids = tokenizer(prompt, add_special_tokens=request.add_special_tokens)["input_ids"]
    return Rendered(content_format=form, prompt=prompt, ids=list(ids))


def _config(folder: str) -> SimpleNamespace:
    """Return the few settings of a model that the functions read: of a text model without special options."""
    unset = dict.fromkeys(("multimodal_config", "tokenizer_revision", "revision", "code_revision"))
    switched_off = dict.fromkeys(("enable_prompt_embeds", "trust_remote_code"), False)
    model_type = SimpleNamespace(model_type="llama")
    return SimpleNamespace(model=folder, tokenizer=folder, hf_config=model_type, **unset, **switched_off)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        sys.exit(answer(Path(sys.argv[2]), Path(sys.argv[3])))
    sys.exit(main())
