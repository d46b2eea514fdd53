"""Write what vLLM's tool-call parsers lose: the page in docs/ and the table of warnings. Runs no parser."""

import json
from collections import defaultdict
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "vllm-parsers.md"
_N_KINDS_SHOWN = 4

_HEAD = """# What vLLM's tool-call parsers lose

Written by `scripts/dev/vllm_parsers.py` with vLLM {version}; do not edit. Every parser of vLLM's registry read the
texts of the format that it belongs to: rendered calls and typical answers, whole and streamed in pieces of 1 and 7
tokens, through vLLM's own serving code. A text is listed if a client receives other calls or other text than
`ToolCallFormat.parse` finds in it, apart from white space. *Not covered*: none of this project's formats is written
like that.

| vLLM's parser | format | usual answers | broken answers and text after calls |
|---|---|---|---|"""
_PLUGIN_HEAD = """
## This project's plugin

The same serving code with the plugin that `tool-sft serve` passes, on random rendered and damaged texts, each whole
and streamed in pieces of 1, 3 and 7 characters. *Other calls*: texts in which a client finds other calls than
evaluation does, strictly or leniently. *Other prose*: texts whose prose is not that of evaluation. (Prose that looks
like a call without the wrappers of its format is left as the model wrote it.)

| format | rendered | damaged | other calls | other prose |
|---|---:|---:|---:|---:|"""


class Finding(NamedTuple):
    """What a parser did to a text: the kind of text, how it was sent, and what changed."""

    kind: str
    usual: bool
    streamed: bool
    change: str


class ParserReport(NamedTuple):
    """All the findings for one parser and one format. `refused` is why vLLM did not start with it."""

    parser: str
    format_name: str | None
    n_texts: int = 0
    findings: tuple[Finding, ...] = ()
    refused: str = ""


class PluginReport(NamedTuple):
    """How many texts of one format the plugin reads as evaluation does, in every way of sending."""

    format_name: str
    n_rendered: int
    n_damaged: int
    n_other_calls: int
    n_other_prose: int
    example: str = ""


def write_tables(reports: Sequence[ParserReport], plugins: Sequence[PluginReport]) -> None:
    """Write both tables, and print where they are."""
    from trainer.tool_calls.vllm_losses import TABLE, LossTable

    version = metadata.version("vllm").partition("+")[0]
    named = [report for report in reports if report.format_name and _is_named(report)]
    losses = {str(report.format_name): said for report in named if (said := _sentence(report))}
    table = LossTable(vllm=version, formats=losses)
    TABLE.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    rows = [_HEAD.format(version=version), *map(_row, reports), _PLUGIN_HEAD, *map(_plugin_row, plugins), ""]
    DOC.write_text("\n".join(rows), encoding="utf-8")
    print(f"written: {DOC}, {TABLE}")


def _is_named(report: ParserReport) -> bool:
    """Return whether `tool-sft serve --vllm-parser` passes this parser for the format."""
    from trainer.tool_calls import get_format

    return get_format(str(report.format_name)).vllm_parser == report.parser


def _sentence(report: ParserReport) -> str:
    """Return what a parser does to answers that good models write; empty if nothing."""
    verbs = {"calls lost": "loses calls", "arguments changed": "changes arguments", "text lost": "loses text",
             "text changed": "changes text", "calls added": "adds calls", "error": "fails"}  # fmt: skip
    groups = _groups([finding for finding in report.findings if finding.usual])
    return "; ".join(
        f"{verbs[change]}{' in streamed answers' if streamed else ''} ({kinds})"
        for (change, streamed), kinds in groups.items()
    )


def _groups(findings: Sequence[Finding]) -> dict[tuple[str, bool], str]:
    """Return the kinds of text by change, and by whether it happens only in a stream."""
    whole = {(finding.change, finding.kind) for finding in findings if not finding.streamed}
    groups: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for change, kind in dict.fromkeys((finding.change, finding.kind) for finding in findings):
        groups[change, (change, kind) not in whole].append(kind)
    return {key: _listed(kinds) for key, kinds in sorted(groups.items())}


def _listed(kinds: Sequence[str]) -> str:
    shown = kinds if len(kinds) <= _N_KINDS_SHOWN else (*kinds[:_N_KINDS_SHOWN], f"{len(kinds) - _N_KINDS_SHOWN} more")
    return ", ".join(shown)


def _row(report: ParserReport) -> str:
    if report.refused:
        shown = report.refused.replace("|", "\\|")[:160]
        return f"| `{report.parser}` | {report.format_name or '–'} | not run: {shown} | |"
    if report.format_name is None:
        return f"| `{report.parser}` | not covered | | |"
    usual, other = (_cell([f for f in report.findings if f.usual == is_usual]) for is_usual in (True, False))
    return f"| `{report.parser}` | {report.format_name} | {usual} | {other} |"


def _cell(findings: Sequence[Finding]) -> str:
    groups = _groups(findings)
    return (
        "; ".join(
            f"**{change}**{' when streamed' if streamed else ''}: {kinds}"
            for (change, streamed), kinds in groups.items()
        )
        or "all as written"
    )


def _plugin_row(plugin: PluginReport) -> str:
    counts = f"{plugin.n_rendered:,} | {plugin.n_damaged:,} | {plugin.n_other_calls} | {plugin.n_other_prose}"
    return f"| {plugin.format_name} | {counts} |"
