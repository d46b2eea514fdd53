"""What ran, as facts: configuration, versions, hardware, speed, data, and all that was left out."""

from collections.abc import Mapping
from typing import Any

import yaml

from trainer.reports.text import shortened
from trainer.reports.views import Fact

_MOST_NAMES = 10
_MOST_CONFIG = 40_000

NOTHING_DROPPED = "no session was dropped, none is over-long"


def run_facts(config: Mapping[str, Any], environment: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Fact]:
    """Return the model, the method and how fast it ran."""
    model, lora, train = (_section(config, name) for name in ("model", "lora", "train"))
    ran, data = _section(metrics, "train"), _section(metrics, "data")
    found = {
        "base model": model.get("base_model_name"),
        "commit": _section(_section(environment, "sources"), "base_model").get("commit"),
        "tool-call format": data.get("tool_call_format"),
        "adapter": _adapter(lora),
        "number format": model.get("torch_dtype"),
        "learning rate": _with(train.get("learning_rate"), train.get("lr_scheduler_type")),
        "rows per step": _rows_per_step(train),
        "steps": _steps(ran),
        "kept weights": _best(ran),
        "training time": _duration(ran.get("runtime_s")),
        "training speed": _speed(ran),
        "peak memory": _unit(ran.get("peak_memory_gb"), "GB"),
        "final evaluation": _duration(_section(metrics, "final").get("runtime_s")),
        "context limit": _unit(_section(config, "data").get("max_context_length"), "tokens"),
        "seed": environment.get("seed"),
    }
    return _facts(found)


def machine_facts(environment: Mapping[str, Any]) -> list[Fact]:
    """Return processor, GPUs and versions."""
    versions = {str(name): version for name, version in _section(environment, "versions").items() if version}
    gpus = environment.get("gpus")
    found = {
        "processor": _with(environment.get("cpu"), _unit(environment.get("n_cpu_threads"), "threads")),
        "GPU": (", ".join(map(str, gpus)) or "none") if isinstance(gpus, list) else None,
        "platform": environment.get("platform"),
        "Python": environment.get("python"),
        **versions,
        "git commit": environment.get("git_commit"),
        "data fingerprint": environment.get("data_fingerprint"),
    }
    return _facts(found)


def data_lines(data: Mapping[str, Any]) -> list[Fact]:
    """Return what each split holds, and everything that was dropped, converted or doubtful."""
    facts = []
    for name, title in (("train", "training data"), ("selection", "held out of it"), ("eval", "evaluation data")):
        split = _section(data, name)
        if not split:
            continue
        n_tokens, n_supervised = split.get("n_tokens") or 0, split.get("n_supervised_tokens") or 0
        share = f", {n_supervised / n_tokens:.1%} with loss" if n_tokens else ""
        counts = f"{split.get('n_sessions', 0):,} sessions, {split.get('n_rows', 0):,} rows, {n_tokens:,} tokens{share}"
        facts.append(Fact(title, counts))
        facts += [Fact(title, line, "plain" if line == NOTHING_DROPPED else "warn") for line in _left_out(split)]
        facts += [Fact(title, f"converted {n} × {what}") for what, n in _section(split, "converted").items()]
    sources = data.get("sources") or ()
    if len(sources) > 1:
        facts += [Fact("source", _source(source)) for source in sources if isinstance(source, Mapping)]
    return [*facts, *(Fact("note", str(note), "warn") for note in data.get("notes") or ())]


def _left_out(split: Mapping[str, Any]) -> list[str]:
    lines = []
    if split.get("n_dropped_sessions"):
        lines.append(f"{split['n_dropped_sessions']} sessions dropped because of errors (data.on_bad_row: drop)")
    oversized = _section(split, "oversized")
    if oversized:
        verb = "dropped" if split.get("dropped_oversized") else "kept although"
        lines.append(f"{len(oversized)} rows {verb} over-long: {named(list(oversized))}")
    if not lines and "n_dropped_sessions" in split:
        lines.append(NOTHING_DROPPED)
    factor = split.get("token_factor") or 1.0
    if factor > 1.05:
        lines.append(f"the chat template rewrites history: {factor:.1f} times the tokens of one row per session")
    return lines


def named(names: list[str]) -> str:
    """Return the first names of a list, and a sign if there are more."""
    return ", ".join(map(str, names[:_MOST_NAMES])) + (
        f" and {len(names) - _MOST_NAMES} more" if names[_MOST_NAMES:] else ""
    )


def config_text(config: Mapping[str, Any]) -> str:
    """Return the resolved configuration as YAML."""
    return shortened(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), most=_MOST_CONFIG)


def _source(source: Mapping[str, Any]) -> str:
    counts = f"{source.get('n_train_sessions')} training sessions, weight {source.get('weight')}"
    return f"{source.get('name')}: {counts}; {source.get('n_eval_sessions')} evaluation sessions"


def _facts(found: Mapping[str, Any]) -> list[Fact]:
    return [Fact(term, str(value)) for term, value in found.items() if value is not None and value != ""]


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _adapter(lora: Mapping[str, Any]) -> str | None:
    if not lora:
        return None
    modules = lora.get("target_modules")
    where = ", ".join(map(str, modules)) if isinstance(modules, list) else modules
    return f"LoRA, rank {lora.get('r')}, alpha {lora.get('alpha')}, on {where}"


def _with(value: Any, detail: Any) -> str | None:
    return None if value in (None, "") else f"{value}, {detail}" if detail else str(value)


def _unit(value: Any, unit: str) -> str | None:
    return f"{value:,} {unit}" if isinstance(value, int | float) else None


def _rows_per_step(train: Mapping[str, Any]) -> str | None:
    rows, accumulated = train.get("per_device_train_batch_size"), train.get("gradient_accumulation_steps")
    if not isinstance(rows, int) or not isinstance(accumulated, int):
        return None
    return f"{rows * accumulated} per device" + (f" ({rows} × {accumulated})" if accumulated > 1 else "")


def _steps(ran: Mapping[str, Any]) -> str | None:
    loss = ran.get("loss")
    mean = f", mean loss {loss:.3f}" if isinstance(loss, int | float) else ""
    return None if ran.get("n_steps") is None else f"{ran['n_steps']:,}{mean}"


def _best(ran: Mapping[str, Any]) -> str | None:
    if ran.get("best_step") is None:
        return None
    metric = ", ".join(f"{name} {value:.4g}" for name, value in _section(ran, "best_metric").items())
    return f"step {ran['best_step']}, the best of {metric}"


def _speed(ran: Mapping[str, Any]) -> str | None:
    if ran.get("tokens_per_s") is None:
        return None
    return f"{ran['tokens_per_s']:,} tokens/s, {ran.get('supervised_tokens_per_s', 0):,} with loss"


def _duration(seconds: Any) -> str | None:
    if not isinstance(seconds, int | float):
        return None
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
