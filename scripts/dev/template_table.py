"""Test every chat template that TRL ships with sample conversations, and write the findings into the documentation."""

import argparse
import importlib.util
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from trainer.chat import ChatEncoder

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
    "llama3_2": {"date_string": "26 Jul 2024"},
    "muse_glimmer": {"current_date": "2026-01-01"},
    "glm4moe": {"enable_thinking": True},
    "qwen3": {"enable_thinking": True},
    "qwen3_6": {"enable_thinking": True, "preserve_thinking": True},
}


class Finding(NamedTuple):
    """The result of testing one template: the cells of its line."""

    verdict: str
    rows: str
    extra: str
    parser: str


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
    lines = [
        "| template | verdict | rows per session | extra tokens | `--tool-call-parser` |",
        "|---|---|---|---|---|",
    ]
    for name, source in templates():
        for kwargs in (None, WITH_KWARGS[name]) if name in WITH_KWARGS else (None,):
            shown = "" if kwargs is None else f" with `{', '.join(f'{k}: {json.dumps(v)}' for k, v in kwargs.items())}`"
            lines.append("| " + " | ".join((f"`{name}`{shown}", *examine(source, kwargs))) + " |")
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
    if encoder.profile.refusal is not None:
        return Finding(f"refused: {_escaped(encoder.profile.refusal)}", "–", "–", _parser(encoder))
    rows, tokens, extra = set(), 0, 0
    refused = _lacking(encoder.profile.renders)
    for session, encoded in zip(SAMPLES, encoder.encode_batch(SAMPLES), strict=True):
        if not isinstance(encoded, EncodedSession):
            if "does not render" not in str(encoded):
                refused.append(_reason(session.session_id, str(encoded)))
            continue
        checks = [c for row in encoded.rows for c in verify_row(encoder, session.messages, session.tools, row)]
        if not all(check.prompt_is_exact and check.text_is_exact for check in checks):
            raise AssertionError(f"sample {session.session_id!r}: a row counts as proven, but is wrong")
        rows.add(len(encoded.rows))
        tokens += sum(len(row.input_ids) for row in encoded.rows)
        extra += encoded.extra_tokens
    few, many = min(rows), max(rows)
    return Finding(
        verdict="proven" + (f"; refuses {', '.join(refused)}" if refused else ""),
        rows=str(few) if few == many else f"{few} to {many}",
        extra=f"{extra / (tokens - extra):.0%}" if extra else "0",
        parser=_parser(encoder),
    )


def _lacking(renders: Collection[str]) -> list[str]:
    """Return the features that the template does not render, without those that need tool calls if it has none."""
    from trainer.chat.profile import FEATURES

    implied = ("several calls in a turn", "content with a call") if "tool calls" not in renders else ()
    return [feature for feature in FEATURES if feature not in renders and feature not in implied]


def _reason(sample: str, error: str) -> str:
    """Return a refusal for another reason than a missing feature, in a few words."""
    if "enable_thinking: true" in error:
        return f"{sample} (thinking is off)"
    if "continuation of its serving prompt" in error:
        return f"{sample} (a later turn does not continue its serving prompt)"
    return f"{sample} ({_escaped(error)})"


def _parser(encoder: "ChatEncoder") -> str:
    from trainer.errors import FormatError, TemplateError
    from trainer.tool_calls import detect_format

    if "tool calls" not in encoder.profile.renders:
        return "–"
    try:
        found = detect_format(lambda m, tools: encoder.render(m, tools, add_generation_prompt=False))
    except (FormatError, TemplateError):
        return "–"
    return f"`{found.vllm_parser}`" if found.vllm_parser else "–"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(main())
