"""Write the model card of a run: base model, metrics before and after, data, settings, and how to serve it.

Names no path of this machine and nothing about the data but its counts. Reads no file of the run.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import jinja2
import yaml

from trainer.config import Config
from trainer.guard.measures import SECTION, guard_rows, guard_shortfalls
from trainer.hub import PACKAGE_PREFIX, known_sources, shared_name
from trainer.hub.nearby import kind_of, local_path
from trainer.run_layout import BASE, CHAT_TEMPLATE, FINAL, METRICS_FILE
from trainer.scoring.advice.diagnosis import Evidence
from trainer.scoring.advice.shortfalls import shortfalls
from trainer.scoring.compare import Comparison
from trainer.scoring.rates import RATES
from trainer.training.publishing.settings import data_rows, setting_rows
from trainer.vllm_flags import allowed_rank, parser_name

Metrics = Mapping[str, Any]

_SHOWN = {
    "turn_exact": "turns exactly right",
    "tool_name_f1": "tool name F1",
    "arguments_exact_match": "arguments exact match",
    "hallucination_rate": "hallucinated calls",
    "missed_call_rate": "missed calls",
    "schema_valid_rate": "calls that fit their schema",
    "perplexity": "perplexity",
}
_BETTER = {**{rate.name: rate.better for rate in RATES}, "perplexity": "lower"}
_TITLES = {BASE: "before", FINAL: "after"}


def model_card(
    cfg: Config,
    metrics: Metrics,
    *,
    comparison: Comparison | None = None,
    evidence: Evidence | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
) -> str:
    """Return the card of a run with this configuration.

    `metrics` is the content of its `metrics.json`, `comparison` that of its base and final predictions, `evidence` what
    the run has measured beside them, and `template_kwargs` the arguments that its chat template takes.
    """
    source = known_sources(cfg).base_model
    base, commit = shared_name(source.name), source.commit or source.revision
    guard = metrics.get(SECTION) or {}
    fmt = (metrics.get("data") or {}).get("tool_call_format") or cfg.eval.tool_call_format
    text = _template().render(
        base=base,
        commit=commit,
        turns=_turns(metrics.get(FINAL) or {}),
        metrics_file=METRICS_FILE,
        table=_table(metrics),
        shortfalls=[
            *(shortfalls(comparison, evidence or Evidence(metrics, (), cfg.model_dump())) if comparison else ()),
            *guard_shortfalls(guard),
        ],
        guard=guard_rows(guard),
        conclusion=comparison.conclusion() if comparison else None,
        data=data_rows(metrics.get("data") or {}),
        settings=setting_rows(cfg, metrics.get("train") or {}),
        template=CHAT_TEMPLATE,
        fmt=fmt,
        parser=parser_name(fmt),
        max_context=f"{cfg.data.max_context_length:,}",
        bias=_bias(metrics.get("calibration") or {}),
        command=_serving_command(cfg, base, commit, fmt, template_kwargs or {}),
    )
    base_id = base if _is_hub_id(source.name) else None
    matter = yaml.safe_dump(_front_matter(cfg, metrics, base_id), sort_keys=False, allow_unicode=True)
    return f"---\n{matter}---\n\n{text}\n"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.training.publishing", "."),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown, of names and numbers
    )
    return environment.get_template("model_card.md.jinja")


def _front_matter(cfg: Config, metrics: Metrics, base_id: str | None) -> dict[str, Any]:
    """Return what the hub reads: how to load the adapter, and the metrics of its final state."""
    known: dict[str, Any] = {"base_model": base_id, "base_model_relation": "adapter"} if base_id else {}
    matter = {"library_name": "peft", "pipeline_tag": "text-generation", **known, "tags": ["lora", "tool-calling"]}
    final = metrics.get(FINAL) or {}
    values = [
        {"type": name, "name": label, "value": round(final[name], 4)}
        for name, label in _SHOWN.items()
        if _is_number(final.get(name))
    ]
    if values:
        name = str(cfg.train.get("hub_model_id") or cfg.output_dir.absolute().name).rpartition("/")[2]
        result = {
            "task": {"type": "text-generation", "name": "Tool calling"},
            "dataset": {"type": "private", "name": f"{_turns(final)} like the training data"},
            "metrics": values,
        }
        matter["model-index"] = [{"name": name, "results": [result]}]
    return matter


def _turns(state: Metrics) -> str:
    """Return what was judged, as `87 turns of 10 held-out sessions`, with the turns that have no answer."""
    if "n_turns" not in state:
        return "turns of held-out sessions"
    failed = {name: state.get(f"n_{name}") for name in ("errors", "truncated", "skipped_for_length")}
    noted = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in failed.items() if n)
    of = f" of {state['n_sessions']}" if "n_sessions" in state else " of"
    return f"{state['n_turns']} turns{of} held-out sessions{f' ({noted})' if noted else ''}"


def _table(metrics: Metrics) -> str:
    states = [(_TITLES[name], metrics[name]) for name in _TITLES if metrics.get(name)]
    lines = [f"| metric | better | {' | '.join(title for title, _ in states)} |", "|---|---|" + "--:|" * len(states)]
    for key, label in _SHOWN.items():
        if any(_is_number(state.get(key)) for _, state in states):
            lines.append(f"| {label} | {_BETTER[key]} | {' | '.join(_cell(state, key) for _, state in states)} |")
    return "\n".join(lines)


def _cell(state: Metrics, key: str) -> str:
    if not _is_number(state.get(key)):
        return "–"
    interval = (state.get("intervals") or {}).get(key)
    return f"{state[key]:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_hub_id(name: str) -> bool:
    return not name.startswith(PACKAGE_PREFIX) and shared_name(name) == name and kind_of(local_path(name)) is None


def _serving_command(cfg: Config, base: str, commit: str | None, fmt: str, kwargs: Mapping[str, Any]) -> str:
    """Return vLLM's command line for the files of an upload, one group of options per line."""
    groups: Sequence[str] = (
        f"vllm serve {base}" + (f" --revision {commit}" if commit else ""),
        f"--enable-lora --max-lora-rank {allowed_rank(cfg.lora.r) or cfg.lora.r} --lora-modules adapter=FOLDER",
        f"--tokenizer FOLDER --chat-template FOLDER/{CHAT_TEMPLATE}",
        *([f"--default-chat-template-kwargs '{_json(kwargs)}'"] if kwargs else []),
        f'--enable-auto-tool-choice --tool-call-parser {parser_name(fmt)} --tool-parser-plugin "$PWD/parser.py"',
        f"--max-model-len {cfg.data.max_context_length}",
    )
    return " \\\n  ".join(groups)


class _Bias(NamedTuple):
    """The bias on calls: as a field of a request, and as a logits processor of transformers takes it."""

    field: str
    sequences: str


def _bias(calibration: Metrics) -> _Bias | None:
    """Return the bias that requests should carry; None if the run has none."""
    bias, ids = calibration.get("bias"), calibration.get("token_ids") or ()
    if not bias or not ids:
        return None
    field = json.dumps({"logit_bias": {str(token): bias for token in ids}})
    return _Bias(field, json.dumps([[[token], bias] for token in ids]))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value)).replace("'", "\\u0027")
