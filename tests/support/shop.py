"""A tiny complete domain in a folder: package, rows, prompt, tools and configuration."""

import json
from pathlib import Path

_PACKAGE = '''
"""A corner shop."""

from trainer.data import assemble_datasets


def session_to_messages(row, /, *, sysprompt, timezone):
    return [{"role": "system", "content": sysprompt}, *row["conversation"]]


def build_datasets(cfg):
    return assemble_datasets(cfg, session_to_messages, columns=["conversation"])
'''
_TOOL = {
    "type": "function",
    "function": {
        "name": "find_item",
        "description": "Look up an item.",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}


def write_shop(folder: Path, *, model: Path, name: str = "corner_shop") -> Path:
    """Write the domain and return its configuration, which trains two steps on `model`."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(_PACKAGE, encoding="utf-8")
    rows = "".join(json.dumps(_row(number)) + "\n" for number in range(6))
    (folder / "rows.jsonl").write_text(rows, encoding="utf-8")
    (folder / "prompt.md").write_text("You run a corner shop.\n", encoding="utf-8")
    (folder / "tools.json").write_text(json.dumps([_TOOL]), encoding="utf-8")
    settings = {
        "data": {
            "load_module": name,
            "dataset_name": str(folder / "rows.jsonl"),
            "train_split": "train[:4]",
            "eval_split": "train[4:]",
            "sysprompt_path": str(folder / "prompt.md"),
            "tools_path": str(folder / "tools.json"),
        },
        "model": {"base_model_name": str(model), "torch_dtype": "float32"},
        "train": {"output_dir": str(folder / "run"), "max_steps": 2, "logging_steps": 1, "use_cpu": True},
        "eval": {"max_new_tokens_eval": 8},
    }
    config = folder / "shop.yaml"
    config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return config


def _row(number: int) -> dict[str, object]:
    call = {
        "id": "c0",
        "type": "function",
        "function": {"name": "find_item", "arguments": json.dumps({"name": f"soap {number}"})},
    }
    conversation = [
        {"role": "user", "content": f"Have you got soap {number}?", "tool_calls": None, "tool_call_id": None},
        {"role": "assistant", "content": "", "tool_calls": [call], "tool_call_id": None},
        {"role": "tool", "content": '{"left": 3}', "tool_calls": None, "tool_call_id": "c0"},
        {"role": "assistant", "content": "Three are left.", "tool_calls": None, "tool_call_id": None},
    ]
    return {"session_id": f"shop-{number}", "conversation": conversation}
