"""Test every chat template that TRL ships with sample conversations, and write the findings into the documentation."""

import argparse
import importlib.util
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from trainer.chat import ChatEncoder
    from trainer.types import Session

START, END = "<!-- template table: start -->", "<!-- template table: end -->"
# Markup that the tokenizers of the model families have as single tokens.
MARKUP = re.compile(
    r"<[|｜][^<>\s'\"|｜]+[|｜]>|<\|[a-z_]+>|<[a-z_]+\|>|<(?:start|end)_of_(?:turn|utterance)>|\[gMASK\]|<sop>|</s>"
)
# The pre-tokenizer split of Llama 3 and Qwen: line breaks stay with the text before them.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Templates that are also shown with template arguments.
WITH_KWARGS: dict[str, dict[str, Any]] = {
    "glm4moe": {"enable_thinking": True},
    "qwen3": {"enable_thinking": True},
    "qwen3_5_think": {"enable_thinking": True},
    "qwen3_6": {"enable_thinking": True, "preserve_thinking": True},
    "nemotron_3_nano": {"enable_thinking": True},
}
# Numbers of rounds (question, call, result, answer) for which the cost of rewritten history is shown.
ROUNDS = (3, 10)
_DAY = date(2026, 1, 5)


class Finding(NamedTuple):
    """The result of testing one template: the cells of its line."""

    verdict: str
    growth: tuple[str, ...]
    serve: str


def main(argv: Sequence[str] | None = None) -> int:
    """Replace the table in the file given by `--docs`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs/chat-templates.md"), metavar="PATH")
    path: Path = parser.parse_args(argv).docs
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Wrote the template table into {path}")
    return 0


def with_table(text: str) -> str:
    """Return the text with the current table between the markers."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


def table() -> str:
    """Return the table: one line per template, and one more for each entry of `WITH_KWARGS`."""
    growth = [f"rows and tokens at {n} rounds" for n in ROUNDS]
    lines = [f"| template | verdict | {' | '.join(growth)} | `tool-sft serve` passes |", "|---|---|---|---|---|"]
    for name, source in templates():
        for kwargs in (None, WITH_KWARGS[name]) if name in WITH_KWARGS else (None,):
            shown = "" if kwargs is None else f" with `{', '.join(f'{k}: {json.dumps(v)}' for k, v in kwargs.items())}`"
            found = examine(source, kwargs)
            lines.append("| " + " | ".join((f"`{name}`{shown}", found.verdict, *found.growth, found.serve)) + " |")
    return "\n".join(lines)


def templates() -> Iterator[tuple[str, str]]:
    """Yield our own template, then TRL's original ones, as (name, source)."""
    import trainer

    own = Path(trainer.__file__).parent / "templates" / "chatml_tools.jinja"
    yield own.stem, own.read_text(encoding="utf-8")
    for path in sorted(template_folder().glob("*.jinja")):
        if not path.stem.endswith("_training"):
            yield path.stem, path.read_text(encoding="utf-8")


def template_folder() -> Path:
    """Return the folder in which TRL keeps the chat templates of the model families."""
    spec = importlib.util.find_spec("trl")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("trl is not installed: uv sync")
    return Path(spec.submodule_search_locations[0]) / "chat_templates"


def stand_in_tokenizer(template: str) -> "PreTrainedTokenizerFast":
    """Return a tokenizer of single bytes that knows the template's markup, to see the effects of the template alone."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    tokens = ["<bos>", "<eos>", *dict.fromkeys(MARKUP.findall(template))]
    raw.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<bos>", eos_token="<eos>", pad_token="<eos>")
    tokenizer.chat_template = template
    return tokenizer


def examine(template: str, template_kwargs: Mapping[str, Any] | None) -> Finding:
    """Encode every sample, check every row with `verify_row`, and return the findings."""
    from template_samples import SAMPLES

    from trainer.chat import ChatEncoder, EncodedSession
    from trainer.chat.verify import verify_row

    encoder = ChatEncoder(stand_in_tokenizer(template), template_kwargs=template_kwargs)
    refused: dict[str, list[str]] = {}
    n_proven = 0
    for sample in SAMPLES:
        session = replace(sample, day=_DAY)
        (encoded,) = encoder.encode_batch([session])
        if not isinstance(encoded, EncodedSession):
            refused.setdefault(_reason(str(encoded)), []).append(session.session_id)
            continue
        checks = [
            check
            for row in encoded.rows
            for check in verify_row(encoder, session.messages, session.tools, row, day=_DAY)
        ]
        if not all(check.prompt_is_exact and check.text_is_exact for check in checks):
            raise AssertionError(f"sample {session.session_id!r}: a row counts as proven, but is wrong")
        n_proven += 1
    reasons = [f"{reason} ({len(names)})" for reason, names in refused.items()]
    verdict = "; ".join([f"{n_proven} of {len(SAMPLES)} proven", *reasons])
    return Finding(verdict, tuple(_growth(encoder, n) for n in ROUNDS), _serve(encoder))


def _reason(error: str) -> str:
    """Return a refusal in a few words."""
    for words, short in (
        ("does not render ", ""),
        ("leaves out ", ""),
        ("its generation prompt ends with", "an answer without the block that the prompt opens"),
        ("continuation of its serving prompt", "a turn that does not continue its prompt"),
        ("rejects", "rejected by the template"),
        ("no special token", "no stop token"),
    ):
        if words in error:
            return short or _escaped(error.partition(words)[2].partition(";")[0])
    return _escaped(error)


def _growth(encoder: "ChatEncoder", n_rounds: int) -> str:
    """Return the rows that a session needs and their tokens, as a multiple of those of its longest row."""
    from trainer.chat import EncodedSession

    for session in (_session(encoder, n_rounds, has_tools=True), _session(encoder, n_rounds, has_tools=False)):
        (encoded,) = encoder.encode_batch([session])
        if isinstance(encoded, EncodedSession):
            lengths = [len(row.input_ids) for row in encoded.rows]
            without = "" if session.tools else " (no tools)"
            return f"{len(lengths)}, {sum(lengths) / max(lengths):.1f} ×{without}"
    return "–"


def _session(encoder: "ChatEncoder", n_rounds: int, *, has_tools: bool) -> "Session":
    """Return a session of equal rounds; its answers have reasoning if the template is set to write some."""
    from template_samples import FIND, TOOLS

    from trainer.types import Session

    reasoning: dict[str, str] = {}
    if any("think" in name and value for name, value in encoder.template_kwargs.items()):
        reasoning = {"reasoning_content": "The customer wants a car, and the budget is known, so I can search. " * 2}
    messages: list[Any] = []
    for number in range(n_rounds):
        name = f"call{number:05d}"
        messages.append({"role": "user", "content": "Do you have an estate car for a family, and what does it cost?"})
        if has_tools:
            call: Any = {"id": name, "type": "function", "function": {"name": "find_car", "arguments": FIND}}
            messages.append({"role": "assistant", "content": "", "tool_calls": [call], **reasoning})
            messages.append({"role": "tool", "tool_call_id": name, "content": '{"cars": [{"id": 1, "price": 19900}]}'})
        messages.append({"role": "assistant", "content": "Yes, one is here for 19,900. Shall I book?", **reasoning})
    return Session("rounds", tuple(messages), TOOLS if has_tools else (), _DAY)


def _serve(encoder: "ChatEncoder") -> str:
    """Return what vLLM receives for a model with this template, with reasoning in every answer if it writes some."""
    from trainer.errors import FormatError, TemplateError
    from trainer.serving.reasoning import reasoning_parser
    from trainer.tool_calls import detect_format

    parser = None
    if "tool calls" in encoder.profile.renders:
        with suppress(FormatError, TemplateError):
            parser = detect_format(lambda m, tools: encoder.render(m, tools, add_generation_prompt=False)).vllm_parser
    flags = [f"content `{encoder.content_format}`"]
    if parser:
        flags.append(f"calls `{parser}`")
    if markers := encoder.profile.reasoning_markers:
        header = encoder.profile.header.prompt
        if thinker := reasoning_parser(markers, header, every_answer=True, call_parser=parser):
            flags.append(f"reasoning `{thinker}`")
    if argument := encoder.date_argument:
        flags.append(f"`{argument.name}` with each request")
    return ", ".join(flags)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(main())
