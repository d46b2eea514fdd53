"""Write the model card of a run: base model, prompts, metrics before and after, and how to serve it. Reads no file.

Names no path of this machine and nothing about the data but its counts.
"""

from collections.abc import Mapping
from typing import Any

from trainer.config import Config
from trainer.hub import PACKAGE_PREFIX, known_sources, shared_name
from trainer.hub.nearby import kind_of, local_path
from trainer.run_layout import BASE, CHAT_TEMPLATE, FINAL, METRICS_FILE

_ROWS = (
    ("turn_exact", "turns exactly right", "higher"),
    ("tool_name_f1", "tool name F1", "higher"),
    ("arguments_exact_match", "arguments exact match", "higher"),
    ("hallucination_rate", "hallucinated calls", "lower"),
    ("missed_call_rate", "missed calls", "lower"),
    ("perplexity", "perplexity", "lower"),
)

_CARD = """---
library_name: peft
pipeline_tag: text-generation
{base_line}tags:
- lora
- tool-calling
---

# LoRA adapter for {base}

Trained with llm-tool-call-sft to call tools. The base model is {base}{commit}; use the adapter with no other.

## Metrics

Measured on {n_turns} held-out turns of the same kind of conversations as the training data. They say nothing about \
other tools or topics. All figures are in `{metrics}`.

{table}

## Prompt format

The adapter knows only prompts of the chat template in `{template}`. It writes calls in the format `{fmt}`. It was \
trained on rows of up to {max_context} tokens.

## Use

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "FOLDER"  # a folder with these files, or the id of the repository
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
```

In a run folder, `tool-sft serve --run FOLDER` starts vLLM with the flags that fit. By hand:

```bash
vllm serve {base} --enable-lora --max-lora-rank {rank} --lora-modules adapter=FOLDER \\
  --tokenizer FOLDER --chat-template FOLDER/{template}
```
"""


def model_card(cfg: Config, metrics: Mapping[str, Any]) -> str:
    """Return the card of a run with this configuration; `metrics` is the content of its `metrics.json`."""
    source = known_sources(cfg).base_model
    name = shared_name(source.name)
    commit = source.commit or source.revision
    final = metrics.get(FINAL) or {}
    return _CARD.format(
        base=name,
        base_line=f"base_model: {name}\n" if _is_hub_id(source.name) else "",
        commit=f" at revision `{commit}`" if commit else "",
        n_turns=final.get("n_turns", "the"),
        metrics=METRICS_FILE,
        table=_table(metrics),
        template=CHAT_TEMPLATE,
        fmt=(metrics.get("data") or {}).get("tool_call_format") or cfg.eval.tool_call_format,
        max_context=cfg.data.max_context_length,
        rank=cfg.lora.r,
    )


def _is_hub_id(name: str) -> bool:
    return not name.startswith(PACKAGE_PREFIX) and shared_name(name) == name and kind_of(local_path(name)) is None


def _table(metrics: Mapping[str, Any]) -> str:
    columns = [(title, metrics[state]) for state, title in ((BASE, "before"), (FINAL, "after")) if metrics.get(state)]
    lines = [f"| metric | better | {' | '.join(title for title, _ in columns)} |", "|---|---|" + "--:|" * len(columns)]
    for key, title, better in _ROWS:
        values = [column.get(key) for _, column in columns]
        if any(isinstance(value, int | float) for value in values):
            lines.append(f"| {title} | {better} | {' | '.join(map(_shown, values))} |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"
