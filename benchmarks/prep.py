"""Sessions per second of four ways to prepare training rows, on the same sessions, each on one core.

growing_prefix       render and tokenize the conversation again for every message, and compare lengths
generation_markers   render once with {% generation %} markers in the template, mask by transformers
raw_tokenization     tokenize rendered texts in a batch: no rendering, no masks (the upper bound)
project              render once, tokenize in a batch, find the spans, prove them

All sides start from the same canonical messages, with the template, sample data and tokenizer of the quickstart
configuration. Further templates are measured with their own tokenizers (LFM2 with the quickstart's), on rounds that
they can write. There, raw_tokenization takes the text of every row that training needs: one a session, or with a
template that rewrites history (Mistral's moves the tools to the last question) one a round. `python
scripts/dev/fetch_tokenizers.py` brings the tokenizers.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

# A worker process of `datasets` tokenizes on one core, so no side may use more.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

if TYPE_CHECKING:
    from trainer.types import Message, Session

sys.path.append(str(Path(__file__).parent.parent / "scripts" / "dev"))

CONFIG = Path(__file__).parent.parent / "configs" / "car_sales" / "quickstart.yaml"
TARGET_TOKENS = 1900
FURTHER = {  # name: the packaged tokenizer (None: the quickstart's), and TRL's name of the template (None: its own)
    "qwen2_5": ("qwen2_5", "qwen2_5"),
    "qwen3_instruct_2507": ("qwen3", "qwen3_instruct_2507"),
    "llama3_1": ("llama3_1", "llama3_1"),
    "mistral_nemo": ("mistral_nemo", None),
    "lfm2": (None, "lfm2_v2"),
}
REQUIRED_OF_FURTHER = 0.6
REQUIRED = {"growing_prefix": 20.0, "generation_markers": 1.2, "raw_tokenization": 0.7}


def main(argv: Sequence[str] | None = None) -> int:
    """Run every side in turn, several times, and report the best rate of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=200, help="sessions to prepare (default: 200)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side; the best counts (default: 5)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    args = parser.parse_args(argv)
    os.chdir(CONFIG.parent.parent.parent)
    result = measure(args.sessions, args.repeats)
    rates = result["sessions_per_s"]
    for name, rate in rates.items():
        ratio = rates["project"] / rate
        required = f" (required: at least {REQUIRED[name]:g})" if name in REQUIRED else ""
        print(f"{name:<20} {rate:8.1f} sessions/s   project is {ratio:6.2f} times as fast{required}")
    tokens, turns = result["tokens_per_session"], result["turns_per_session"]
    print(f"{tokens:.0f} tokens and {turns:.1f} supervised turns per session")
    for name, found in result["templates"].items():
        ratio = found["project"] / found["raw_tokenization"]
        print(
            f"{name:<20} {found['project']:8.1f} sessions/s   {ratio:4.2f} times raw_tokenization "
            f"(required: at least {REQUIRED_OF_FURTHER}); {found['rows_per_session']:.1f} rows per session"
        )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(n_sessions: int, repeats: int) -> dict[str, Any]:
    """The rates of all four sides, and the size of the sessions."""
    from trainer.chat import ChatEncoder, EncodedSession
    from trainer.config import load_config
    from trainer.tokenizer import load_tokenizer

    cfg = load_config(CONFIG)
    tokenizer: Any = load_tokenizer(cfg)
    encoder = ChatEncoder(tokenizer)
    sessions = read_sessions(cfg, encoder, n_sessions)
    texts = [encoder.render(s.messages, s.tools, add_generation_prompt=False) for s in sessions]
    marked = with_markers(tokenizer.chat_template)
    # The growing prefix takes seconds per run, so it gets only some of the sessions.
    part = sessions[: max(1, n_sessions // 8)]
    encoded = encoder.encode_batch(sessions)
    rows = [row for session in encoded if isinstance(session, EncodedSession) for row in session.rows]
    assert len(encoded) == len(rows) == len(sessions)
    check_sides_agree(tokenizer, part[:4], rows, marked)
    sides: dict[str, tuple[Callable[[], Any], int]] = {
        "growing_prefix": (lambda: [growing_prefix(tokenizer, session) for session in part], len(part)),
        "generation_markers": (lambda: [markers(tokenizer, s, marked) for s in sessions], len(sessions)),
        "raw_tokenization": (lambda: tokenizer(texts, add_special_tokens=False), len(sessions)),
        "project": (lambda: encoder.encode_batch(sessions), len(sessions)),
    }
    return {
        "sessions_per_s": best_rates(sides, repeats),
        "templates": {name: measure_template(name, tokenizer, n_sessions // 4 or 1, repeats) for name in FURTHER},
        "sessions": len(sessions),
        "repeats": repeats,
        "tokens_per_session": sum(len(row.input_ids) for row in rows) / len(rows),
        "turns_per_session": sum(len(row.spans) for row in rows) / len(rows),
    }


def best_rates(sides: "dict[str, tuple[Callable[[], Any], int]]", repeats: int) -> dict[str, float]:
    """The best rate of each side, which is called in turn with the others."""
    rates = dict.fromkeys(sides, 0.0)
    for _ in range(repeats):
        for name, (run, count) in sides.items():
            started = time.perf_counter()
            run()
            rates[name] = max(rates[name], count / (time.perf_counter() - started))
    return rates


def measure_template(name: str, quickstart: Any, n_sessions: int, repeats: int) -> dict[str, float]:
    """The rates of one further template, and how many rows a session needs with it."""
    from fetch_tokenizers import tokenizer_folder
    from template_table import templates
    from transformers import AutoTokenizer

    from trainer.chat import ChatEncoder, EncodedSession
    from trainer.chat.bound_template import with_template

    package, template = FURTHER[name]
    tokenizer = quickstart if package is None else AutoTokenizer.from_pretrained(tokenizer_folder(package))
    if template is not None:
        tokenizer = with_template(tokenizer, dict(templates())[template])
    encoder = ChatEncoder(tokenizer, names_remedies=False)
    sessions = list(sessions_of_usable_rounds(encoder, n_sessions))
    encoded = encoder.encode_batch(sessions)
    rows = [row for session in encoded if isinstance(session, EncodedSession) for row in session.rows]
    assert all(isinstance(session, EncodedSession) for session in encoded), encoded
    texts = [encoder.decode(row.input_ids) for row in rows]
    sides: dict[str, tuple[Callable[[], Any], int]] = {
        "raw_tokenization": (lambda: tokenizer(texts, add_special_tokens=False), len(sessions)),
        "project": (lambda: encoder.encode_batch(sessions), len(sessions)),
    }
    return {**best_rates(sides, repeats), "rows_per_session": len(rows) / len(sessions)}


def sessions_of_usable_rounds(encoder: Any, n_sessions: int) -> "Iterator[Session]":
    """Shipped rounds that a template can write, joined to sessions of about 1,900 tokens.

    Without a system message, which Mistral's template leaves out after a tool result.
    """
    import car_sales
    from trainer.chat import EncodedSession
    from trainer.config import load_config
    from trainer.types import Session

    (part,) = car_sales.open_rows(load_config(CONFIG)).train
    shipped = [part.reader.read(row).session for row in part.rows]
    rounds = [(messages, session.tools) for session in shipped for messages in split_rounds(session, with_system=False)]
    alone = encoder.encode_batch(Session("round", numbered(messages), tools) for messages, tools in rounds)
    usable = [one for one, found in zip(rounds, alone, strict=True) if isinstance(found, EncodedSession) and found.rows]
    supply = cycle(usable)
    for number in range(n_sessions):
        messages, tools = next(supply)
        while len(encoder.prompt_ids(numbered(messages), tools)) < TARGET_TOKENS:
            messages += next(supply)[0]
        yield Session(f"session-{number}", numbered(messages), tools)


def numbered(messages: "Sequence[Message]") -> "tuple[Message, ...]":
    """The messages with call ids of nine letters and digits, the only form that every template accepts."""
    names: dict[str, str] = {}
    out: list[Any] = []
    for message in messages:
        changed: dict[str, Any] = dict(message)
        if calls := message.get("tool_calls"):
            names |= {call["id"]: f"call{len(names) + n:05d}" for n, call in enumerate(calls)}
            changed["tool_calls"] = [{**call, "id": names[call["id"]]} for call in calls]
        if message["role"] == "tool":
            changed["tool_call_id"] = names[str(message.get("tool_call_id"))]
        out.append(changed)
    return tuple(out)


def read_sessions(cfg: Any, encoder: Any, n_sessions: int) -> "list[Session]":
    """Shipped sessions, each extended with rounds of others until it has about 1,900 tokens."""
    import car_sales
    from trainer.chat import canonical_messages
    from trainer.types import Session

    (part,) = car_sales.open_rows(cfg).train
    shipped = [part.reader.read(row).session for row in part.rows]
    rounds = cycle([part for session in shipped for part in split_rounds(session)])
    sessions = []
    for first in islice(cycle(shipped), n_sessions):
        messages = first.messages
        while len(encoder.prompt_ids(messages, first.tools)) < TARGET_TOKENS:
            messages += next(rounds)
        sessions.append(Session(first.session_id, canonical_messages(messages), first.tools))
    return sessions


def split_rounds(session: "Session", *, with_system: bool = True) -> "list[tuple[Message, ...]]":
    """The rounds of a conversation: a user message and everything up to the next one."""
    messages = session.messages if with_system else [m for m in session.messages if m["role"] != "system"]
    starts = [turn for turn, message in enumerate(messages) if message["role"] == "user"]
    return [tuple(messages[i:j]) for i, j in pairwise([*starts, len(messages)])]


def with_markers(template: str) -> str:
    """Our template with markers around the assistant's text; fails if it no longer has the expected form."""
    start = "        {{- '<|im_start|>assistant\\n' }}\n        {%- if 'reasoning_content'"
    end = "        {{- end_of_turn + '\\n' }}\n    {%- elif role == 'tool' %}"
    assert template.count(start) == template.count(end) == 1
    opened = template.replace(start, start.replace("{%- if", "{%- generation %}\n        {%- if"))
    closing = "        {{- end_of_turn }}{%- endgeneration %}{{- '\\n' }}\n    {%- elif role == 'tool' %}"
    return opened.replace(end, closing)


def growing_prefix(tokenizer: Any, session: "Session") -> tuple[list[int], list[int]]:
    """Tokens and mask, with one rendering and tokenization per message and per generation prompt."""
    messages, tools = list(session.messages), list(session.tools)
    ids: list[int] = []
    mask: list[int] = []
    for turn, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt = tokenizer.apply_chat_template(
                messages[:turn], tools=tools, add_generation_prompt=True, return_dict=False
            )
            mask += [0] * (len(prompt) - len(mask))
        ids = tokenizer.apply_chat_template(messages[: turn + 1], tools=tools, return_dict=False)
        mask += [int(message["role"] == "assistant")] * (len(ids) - len(mask))
    return ids, mask


def markers(tokenizer: Any, session: "Session", template: str) -> tuple[list[int], list[int]]:
    """Tokens and mask, from the markers of the template."""
    out = tokenizer.apply_chat_template(
        list(session.messages),
        tools=list(session.tools),
        chat_template=template,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return out["input_ids"], out["assistant_masks"]


def check_sides_agree(tokenizer: Any, sessions: "Sequence[Session]", rows: Sequence[Any], template: str) -> None:
    """Check that all sides return the same tokens and masks, except for line breaks after the stop token."""
    for session, row in zip(sessions, rows, strict=False):
        mask = [int(label != -100) for label in row.labels()]
        for ids, other in (growing_prefix(tokenizer, session), markers(tokenizer, session, template)):
            length = len(row.input_ids)
            assert ids[:length] == row.input_ids
            differing = {tokenizer.decode(ids[i]) for i in range(length) if mask[i] != other[i]}
            assert differing <= {"\n"}, differing


if __name__ == "__main__":
    sys.exit(main())
