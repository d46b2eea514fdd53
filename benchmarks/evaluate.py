"""Time four ways to judge the turns of a finished run, on the same turns, with and without its adapter.

generate_each      one model.generate per turn, on its true history
generate_batched   model.generate on batches: turns sorted by length, padded on the left
project            one pass over the gold sessions, then decoding only where the model differs from gold
perplexity         only that pass, as in a plain evaluation of the loss (the lower bound)

All of them run in the precision of the run's own evaluation. `agreement` is the share of turns that the pass alone
finishes, `identical` the share with the tokens of generate_each, and `passes_per_turn` how often the model runs.

With --tiny, a random model of a family with recurrent layers judges made-up sessions, in float32. Gold is the model's
own answer in most turns (most_agree) or never (all_differ).
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finished_run import LoadedRun

ROOT = Path(__file__).parent.parent
GENERATION, PASS = ("generate_each", "generate_batched"), ("project", "perplexity")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both states and print the time of each side relative to the project's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="DIR", help="run folder, e.g. runs/quickstart")
    source.add_argument("--tiny", metavar="FAMILY", help="a tiny random model with recurrent layers, e.g. qwen3_next")
    parser.add_argument("--sessions", type=int, default=16, help="evaluation sessions (default: 16)")
    parser.add_argument("--batch-size", type=int, default=8, help="turns per batch of generate_batched (default: 8)")
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs of project and perplexity; the fastest counts (default: 3)"
    )
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], help="default: that of the run")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    args = parser.parse_args(argv)
    if args.tiny and args.dtype:
        parser.error("--tiny measures in float32; leave out --dtype")
    folder, target = args.run and args.run.resolve(), args.json and args.json.resolve()
    os.chdir(ROOT)

    from trainer.util.cli import exit_code
    from trainer.util.files import claim_file, write_file

    with exit_code() as code:
        claim_file(target, option="--json")
        result = measure(load_states(args, folder), batch_size=args.batch_size, repeats=args.repeats)
        if args.tiny:
            result["family"] = args.tiny
        if target:
            write_file(target, json.dumps(result, indent=2) + "\n", option="--json")
    return code.value


def load_states(args: argparse.Namespace, folder: Path | None) -> dict[str, "LoadedRun"]:
    """The states to measure, with the run that each of them is a state of."""
    if folder is None:
        from recurrent_models import RECURRENT_FAMILIES
        from tiny_run import tiny_runs

        from trainer.errors import ModelError

        if args.tiny not in RECURRENT_FAMILIES:
            raise ModelError(f"--tiny {args.tiny}: unknown family; use one of {', '.join(RECURRENT_FAMILIES)}")
        return tiny_runs(args.tiny, n_sessions=args.sessions)
    from finished_run import load_run

    run = load_run(folder, n_sessions=args.sessions, dtype=args.dtype)
    return {"base": run, "trained": run}


def measure(runs: Mapping[str, "LoadedRun"], *, batch_size: int, repeats: int) -> dict[str, Any]:
    """Return the times of all sides in every state, and the measurements. Prints times as they come."""
    import torch

    states = {}
    for name, run in reversed(list(runs.items())):  # the shorter one first
        with run.state(name):
            states[name] = measure_state(run, batch_size=batch_size, repeats=repeats)
        print_state(name, states[name])
    lengths = [len(example.prompt_ids) + len(example.target_ids) for example in run.examples]
    return {
        "states": {name: states[name] for name in runs},
        "sessions": len({example.session_id for example in run.examples}),
        "turns": len(run.examples),
        "longest_turn_tokens": max(lengths),
        "max_new_tokens": run.settings.max_new_tokens,
        "batch_size": batch_size,
        "repeats": repeats,
        "dtype": str(run.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def measure_state(run: "LoadedRun", *, batch_size: int, repeats: int) -> dict[str, Any]:
    """The seconds of each side, and the share of its answers that equal those of one generate per turn."""
    from generation import generate_all

    from trainer.evaluation import row_losses
    from trainer.generation.teacher_forcing import decode_turns

    warm_up(run)
    fastest: dict[str, float] = {}
    n_passes: dict[str, int] = {}

    def timed(side: str, judge: Callable[[], Any]) -> Any:
        n_passes[side] = 0
        started = time.perf_counter()
        with each_pass(run, lambda: n_passes.update({side: n_passes[side] + 1})):
            outcome = judge()
        fastest[side] = min(fastest.get(side, float("inf")), time.perf_counter() - started)
        return outcome

    for _ in range(repeats):
        timed("perplexity", lambda: row_losses(run.model, run.rows))
        decoded = timed("project", lambda: decode_turns(run.model, run.examples, run.settings))
    batched = timed("generate_batched", lambda: generate_all(run, batch_size, "generate_batched"))
    each = timed("generate_each", lambda: generate_all(run, 1, "generate_each"))
    n_turns = len(run.examples)
    return {
        "seconds": {side: fastest[side] for side in (*GENERATION, *PASS)},
        "passes_per_turn": {side: n_passes[side] / n_turns for side in (*GENERATION, *PASS)},
        "agreement": sum(turn.accepted for turn in decoded) / n_turns,
        "identical": sum(turn.token_ids == ids for turn, ids in zip(decoded, each, strict=True)) / n_turns,
        "identical_batched": sum(a == b for a, b in zip(batched, each, strict=True)) / n_turns,
    }


@contextmanager
def each_pass(run: "LoadedRun", on_pass: Callable[[], None]) -> Iterator[None]:
    """Inside the block, call `on_pass` for every pass of the model, which embeds its tokens once."""
    hook = run.model.get_input_embeddings().register_forward_hook(lambda *_: on_pass())
    try:
        yield
    finally:
        hook.remove()


def warm_up(run: "LoadedRun") -> None:
    """Run every side on the shortest turn before anything is timed."""
    from generation import generate

    from trainer.evaluation import row_losses
    from trainer.generation.teacher_forcing import decode_turns

    shortest = min(run.examples, key=lambda example: len(example.prompt_ids))
    decode_turns(run.model, [shortest], run.settings)
    row_losses(run.model, run.rows[:1])
    generate(run, [shortest.prompt_ids])


def print_state(name: str, state: dict[str, Any]) -> None:
    """Print the seconds of each side, and the project's time as a share of them."""
    seconds = state["seconds"]
    print(f"{name}: {state['agreement']:.1%} of turns agree, {state['identical']:.1%} identical to generate_each")
    for side, spent in seconds.items():
        passes = f"{state['passes_per_turn'][side]:7.2f} passes per turn"
        print(f"  {side:<17} {spent:8.2f} s {passes}   project takes {seconds['project'] / spent:6.3f} of the time")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
