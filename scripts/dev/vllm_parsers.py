"""Run every tool-call parser of vLLM, and this project's plugin, on the formats' texts; write what the parsers lose.

Runs in vLLM's environment, with vLLM's own serving code and no engine. Writes docs/vllm-parsers.md and the table of
warnings in the package. Takes some minutes on two cores. Run it after an update of vLLM and after adding a format.
"""

import argparse
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_parser_tables import ROOT, Finding, ParserReport, PluginReport, write_tables

if TYPE_CHECKING:
    from vllm_corpus import Text

    from trainer.serving.vllm_parser.replay import Reader, Received
    from trainer.tool_calls import ToolCallFormat

_EXAMPLES = """
examples:
  ~/vllm/bin/python scripts/dev/vllm_parsers.py
  ~/vllm/bin/python scripts/dev/vllm_parsers.py --only hermes --check

The exit code is 1 if the plugin reads a text in another way than the evaluation in process.
"""
_STREAMED_TOKENS = (1, 7)
_STREAMED_CHARACTERS = (1, 3, 7)
_MARKUP = re.compile(r"<[^\s<>'\"]{1,40}>|\[[A-Z_/]{3,20}\]")


def main(argv: Sequence[str] | None = None) -> int:
    """Run all parsers, print the counts, and write both tables."""
    args = _parse(argv)
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts" / "dev")]
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import_module("vllm.entrypoints.openai.chat_completion.protocol")  # first: vLLM's modules import each other
    logging.disable(logging.CRITICAL)  # parsers log every text that they cannot read
    from trainer.tool_calls import formats

    registered = import_module("vllm.tool_parsers").ToolParserManager.list_registered()
    parsers = [name for name in registered if args.only in name]
    names = [name for name in formats() if args.only in name]
    with get_context("fork").Pool(args.workers) as pool:
        plugins = pool.starmap(check_plugin, [(name, args.rendered, args.damaged) for name in names], chunksize=1)
        reports = [found for one in pool.map(run_parser, parsers, chunksize=1) for found in one]
    _print_plugins(plugins)
    if not args.check:
        write_tables(reports, plugins)
    return 1 if any(plugin.n_other_calls for plugin in plugins) else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", default="", metavar="TEXT", help="only parsers and formats with this text in their name")
    add("--rendered", type=int, default=1000, metavar="N", help="rendered texts per format (default: 1000)")
    add("--damaged", type=int, default=300, metavar="N", help="damaged texts per format (default: 300)")
    add("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes (default: one per core)")
    add("--check", action="store_true", help="write no file")
    args = parser.parse_args(argv)
    if args.only and not args.check:
        parser.error("--only needs --check: the tables have all parsers")
    return args


def run_parser(parser: str) -> list[ParserReport]:
    """Run one parser of vLLM on the texts of every format that it belongs to."""
    from trainer.tool_calls import get_format

    names = _formats_of(parser)
    try:
        if not names:
            return [ParserReport(parser, None)] if _opened(parser, None) else []
        return [_report(parser, _opened(parser, get_format(name)), get_format(name)) for name in names]
    except Exception as error:  # whatever keeps vLLM from starting with it
        reason = str(error).strip().splitlines()[0].rpartition("': ")[2].partition(". ")[0]
        return [ParserReport(parser, name, refused=reason) for name in names or (None,)]


def _formats_of(parser: str) -> list[str]:
    """Return the formats that name this parser or are an alias of its name, or else one that it turns out to read."""
    from trainer.tool_calls import aliases, formats, get_format

    if parser in aliases():
        return [parser]
    find = import_module("vllm.tool_parsers").ToolParserManager.get_tool_parser
    named = {name: get_format(name).vllm_parser for name in formats()}
    own = [name for name, other in named.items() if other == parser]
    same = [name for name, other in named.items() if other is not None and find(other) is find(parser)]
    return own or same or [name for name in formats() if _reads(parser, get_format(name))][:1]


def _opened(parser: str, fmt: "ToolCallFormat | None") -> "Reader":
    """Return the reader with the format's own vocabulary, or with that of all parsers if it needs more."""
    from trainer.serving.vllm_parser.replay import open_reader

    try:
        return open_reader(parser, tokenizer(fmt))
    except Exception:  # it misses a token
        return open_reader(parser, tokenizer())


def _reads(parser: str, fmt: "ToolCallFormat") -> bool:
    """Return whether a parser reads the simplest calls of a format."""
    from vllm_corpus import typical

    simple = [text for text in typical(fmt) if text.kind in ("one call", "two calls")]
    try:
        reader = _opened(parser, fmt)
    except Exception:  # reported by the caller, which opens it again
        return False
    return not any(
        True for text in simple for received in _sent(reader, text).values() for _ in changes(fmt, text.text, received)
    )


def _report(parser: str, reader: "Reader", fmt: "ToolCallFormat") -> ParserReport:
    from vllm_corpus import typical

    texts = list(typical(fmt))
    findings: list[Finding] = []
    for text in texts:
        for n_tokens, received in _sent(reader, text).items():
            for change in changes(fmt, text.text, received):
                findings.append(Finding(text.kind, text.usual, n_tokens > 0, change))
                if change == "error" and n_tokens == 0 and text.kind == "text only":
                    return ParserReport(parser, fmt.name, refused=f"it fails on plain text: {received.error}")
    return ParserReport(parser, fmt.name, len(texts), tuple(dict.fromkeys(findings)))


def _sent(reader: "Reader", text: "Text") -> "dict[int, Received]":
    """Return what a client receives by the number of tokens in a piece; 0 is the whole text at once."""
    from vllm_corpus import TOOLS

    from trainer.serving.vllm_parser.replay import pieces, receive_streamed, receive_whole

    sent = {0: receive_whole(reader, text.sent, TOOLS)}
    for n_tokens in _STREAMED_TOKENS:
        sent[n_tokens] = receive_streamed(reader, pieces(reader.tokenizer, text.sent, n_tokens=n_tokens), TOOLS)
    return sent


def changes(fmt: "ToolCallFormat", text: str, received: "Received") -> Iterator[str]:
    """Yield what a client misses or gets in another form. A failed attempt must be visible somewhere."""
    from vllm_corpus import TOOLS

    if received.error is not None:
        yield "error"
        return
    wanted = fmt.parse(text, tools=TOOLS)
    good = [(call.name, call.arguments) for call in wanted.calls if call.status == "ok"]
    found = [(call.name, _decoded(call.arguments)) for call in received.calls]
    n_failed = len(wanted.calls) - len(good)
    if len(found) < len(good):
        yield "calls lost"
    elif len(found) > len(good) + n_failed:
        yield "calls added"
    elif any(call not in found for call in good):
        yield "arguments changed"
    elif n_failed and len(found) == len(good) and not _shows(received.content, wanted.calls):
        yield "failed call dropped"
    elif n_failed and len([call for call in found if call[1] is not None]) > len(good):
        yield "failed call passed on as a good one"
    content = fmt.parse(received.content, tools=TOOLS).content
    if _words(wanted.content)[:20] not in _words(content):
        yield "text lost"
    elif not n_failed and _words(received.content) != _words(wanted.content):
        yield "text changed"


def _shows(content: str, calls: Sequence[Any]) -> bool:
    return any(call.status != "ok" and _words(call.raw)[-12:] in _words(content) for call in calls)


def _words(text: str) -> str:
    return "".join(text.split())


def _decoded(arguments: str) -> Any:
    try:
        value = json.loads(arguments)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def check_plugin(name: str, n_rendered: int, n_damaged: int) -> PluginReport:
    """Read texts with the plugin through vLLM's serving code, and compare with the reading in process."""
    from vllm_corpus import TOOLS, damaged, rendered

    from trainer.serving.vllm_parser.plugin_file import plugin_source
    from trainer.serving.vllm_parser.replay import Piece, open_reader, receive_streamed, receive_whole
    from trainer.tool_calls import get_format
    from trainer.vllm_flags import parser_name

    fmt = get_format(name)
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder, f"plugin_{name}.py")
        plugin.write_text(plugin_source(fmt), encoding="utf-8")
        reader = open_reader(parser_name(name), tokenizer(), plugin=str(plugin))
    n_calls = n_prose = 0
    example = ""
    for text in (*rendered(fmt, n_rendered), *damaged(fmt, n_damaged)):
        sent = [receive_whole(reader, text, TOOLS, ids=())]
        for size in _STREAMED_CHARACTERS:
            parts = [Piece(text[start : start + size], ()) for start in range(0, len(text), size)]
            sent.append(receive_streamed(reader, parts, TOOLS))
        same_calls = all(same_reading(fmt, text, received) for received in sent)
        content = fmt.parse(text, tools=TOOLS).content
        same_prose = all(received.content == content for received in sent)
        n_calls += not same_calls
        n_prose += not same_prose
        example = example or ("" if same_calls and same_prose else text)
    return PluginReport(name, n_rendered, n_damaged, n_calls, n_prose, example)


def same_reading(fmt: "ToolCallFormat", text: str, received: "Received") -> bool:
    """Return whether a client finds the calls of the reading in process: strictly, and with a lenient second look."""
    from vllm_corpus import TOOLS

    from trainer.values.json_reader import read_json, skip_space

    strict: list[tuple[str | None, Any]] = []
    for call in received.calls:
        read = read_json(call.arguments, 0)
        is_whole = read.failure is None and skip_space(call.arguments, read.end) == len(call.arguments)
        is_good = is_whole and isinstance(read.value, dict) and bool(call.name)
        strict.append((call.name or None, read.value if is_good else None))
    wanted = [(call.name, call.arguments) for call in fmt.parse(text, tools=TOOLS).calls]
    hidden = fmt.parse(received.content, tools=TOOLS).calls if not strict else ()
    return received.error is None and strict == wanted and not hidden


def tokenizer(fmt: "ToolCallFormat | None" = None) -> Any:
    """Return a tokenizer of single bytes that knows the markers of a format as single tokens, or those of all parsers.

    Some parsers decide by the vocabulary what they read.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    markers = _markers() if fmt is None else _markers_of(fmt)
    raw.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in markers])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<bos>", eos_token="<eos>", pad_token="<eos>")


def _markers() -> list[str]:
    package = Path(import_module("vllm").__file__ or "").parent
    sources = [file for part in ("tool_parsers", "parser", "reasoning") for file in (package / part).rglob("*.py")]
    found = {"<bos>", "<eos>"}
    for source in sources:
        found |= {marker for marker in _MARKUP.findall(source.read_text(encoding="utf-8")) if "\\" not in marker}
    return sorted(found)


def _markers_of(fmt: "ToolCallFormat") -> list[str]:
    from vllm_corpus import typical

    return sorted({"<bos>", "<eos>"}.union(*(_MARKUP.findall(text.sent) for text in typical(fmt) if text.usual)))


def _print_plugins(plugins: Sequence[PluginReport]) -> None:
    print(f"{'format':<20}{'rendered':>10}{'damaged':>10}{'other calls':>14}{'other prose':>14}")
    for plugin in plugins:
        print(
            f"{plugin.format_name:<20}{plugin.n_rendered:>10}{plugin.n_damaged:>10}{plugin.n_other_calls:>14}"
            f"{plugin.n_other_prose:>14}"
        )
        if plugin.example:
            print(f"  {plugin.example!r:.300}")


if __name__ == "__main__":
    sys.exit(main())
