"""Compare the answers of the in-process evaluation with those of one model.generate per turn, in float32.

The base model, every given adapter, and the run's own adapter are compared on all turns of the sessions. At the first
difference of two answers, the gap between the logits of the two tokens, from a pass without a cache, shows whether it
is a tie or an error: the two computations sum in a different order, so float32 logits differ in about the sixth digit.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finished_run import LoadedRun

ROOT = Path(__file__).parent.parent
# Logits of small models are around 10, and this is about ten times float32's noise at that size.
TIE = 1e-3


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the answers and print each difference; returns 1 if any is more than a tie."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="run folder, e.g. runs/quickstart")
    parser.add_argument(
        "--adapter",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="another adapter of the same base model, e.g. a checkpoint of the run; may be given several times",
    )
    parser.add_argument("--sessions", type=int, default=20, help="evaluation sessions (default: 20)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the comparison as JSON")
    args = parser.parse_args(argv)
    folder, target = args.run.resolve(), args.json and args.json.resolve()
    adapters = {str(path): path.resolve() for path in args.adapter}
    os.chdir(ROOT)

    from finished_run import load_run

    from trainer.util.cli import exit_code

    with exit_code() as code:
        run = load_run(folder, n_sessions=args.sessions, dtype="float32", other_adapters=adapters)
        states = {name: compare(run, name) for name in ("base", *adapters, "trained")}
        if target:
            target.write_text(json.dumps({"states": states, "tie": TIE}, indent=2) + "\n", encoding="utf-8")
        if any(difference["gap"] > TIE for state in states.values() for difference in state["differences"]):
            code.value = 1
    return code.value


def compare(run: "LoadedRun", name: str) -> dict[str, Any]:
    """The number of identical answers in a state, and where the others first differ; also prints them."""
    from generation import generate_all

    from trainer.generation.teacher_forcing import decode_turns

    with run.state(name):
        decoded = [turn.token_ids for turn in decode_turns(run.model, run.examples, run.settings)]
        generated = generate_all(run, 1, name)
        differences = list(find_differences(run, decoded, generated))
    n_ties = sum(difference["gap"] <= TIE for difference in differences)
    n_same = len(decoded) - len(differences)
    print(f"{name}: {n_same} of {len(decoded)} turns identical, {n_ties} differ at a tie")
    for difference in differences:
        print(
            "  {turn}: at token {position}, {ours!r} here, {theirs!r} from generate; gap {gap:.2e}".format(**difference)
        )
    sys.stdout.flush()
    return {"turns": len(decoded), "identical": n_same, "ties": n_ties, "differences": differences}


def find_differences(
    run: "LoadedRun", decoded: Sequence[Sequence[int]], generated: Sequence[Sequence[int]]
) -> Iterator[dict[str, Any]]:
    """The first difference of each pair of answers; None marks the end of an answer."""
    for example, ours, theirs in zip(run.examples, decoded, generated, strict=True):
        pairs = enumerate(zip_longest(ours, theirs))
        position = next((index for index, (a, b) in pairs if a != b), None)
        if position is not None:
            tokens = [ids[position] if position < len(ids) else None for ids in (ours, theirs)]
            yield {
                "turn": f"{example.session_id}/{example.turn}",
                "position": position,
                "ours": tokens[0],
                "theirs": tokens[1],
                "gap": logit_gap(run, [*example.prompt_ids, *ours[:position]], tokens),
            }


def logit_gap(run: "LoadedRun", history: Sequence[int], tokens: Sequence[int | None]) -> float:
    """The difference between the logits of two next tokens; None means the most likely stop token."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([list(history)], device=run.model.device)
        logits = run.model(input_ids=ids, use_cache=False).logits[0, -1].float()
    stop = logits[sorted(run.settings.stop_token_ids)].max()
    first, second = (stop if token is None else logits[token] for token in tokens)
    return abs(float(first - second))


if __name__ == "__main__":
    sys.exit(main())
