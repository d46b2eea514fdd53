"""Compare the answers of the in-training evaluation with those of one model.generate per turn, in float32.

The base model, every adapter given, and the run's own are compared on all turns of the sessions. Where two answers
part, the gap between the logits of the two tokens, from a pass without any cache, tells a tie from a fault: the
two computations sum in another order, so float32 logits differ in about their sixth digit.
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
    from finished_run import FinishedRun

ROOT = Path(__file__).parent.parent
# Logits of small models are around 10; this is some ten times the noise of float32 there.
TIE = 1e-3


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print each difference; 1 where one is more than a tie."""
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
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the comparison as JSON, too")
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


def compare(run: "FinishedRun", name: str) -> dict[str, Any]:
    """How many answers of a state are the same, and where the others part; printed as well."""
    from generation import generate_all

    from trainer.generation.teacher_forcing import decode_turns

    with run.state(name):
        decoded = [turn.token_ids for turn in decode_turns(run.model, run.examples, run.settings)]
        generated = generate_all(run, 1, name)
        differences = list(find_differences(run, decoded, generated))
    n_ties = sum(difference["gap"] <= TIE for difference in differences)
    n_same = len(decoded) - len(differences)
    print(f"{name}: {n_same} of {len(decoded)} turns identical, {n_ties} part at a tie")
    for difference in differences:
        print(
            "  {turn}: at token {position}, {ours!r} here, {theirs!r} by generate; gap {gap:.2e}".format(**difference)
        )
    sys.stdout.flush()
    return {"turns": len(decoded), "identical": n_same, "ties": n_ties, "differences": differences}


def find_differences(
    run: "FinishedRun", decoded: Sequence[Sequence[int]], generated: Sequence[Sequence[int]]
) -> Iterator[dict[str, Any]]:
    """The first token at which each pair of answers parts; None stands for the end of an answer."""
    for example, ours, theirs in zip(run.examples, decoded, generated, strict=True):
        pairs = enumerate(zip_longest(ours, theirs))
        position = next((place for place, (a, b) in pairs if a != b), None)
        if position is not None:
            tokens = [ids[position] if position < len(ids) else None for ids in (ours, theirs)]
            yield {
                "turn": f"{example.session_id}/{example.turn}",
                "position": position,
                "ours": tokens[0],
                "theirs": tokens[1],
                "gap": logit_gap(run, [*example.prompt_ids, *ours[:position]], tokens),
            }


def logit_gap(run: "FinishedRun", history: Sequence[int], tokens: Sequence[int | None]) -> float:
    """How far apart the logits of two next tokens are; of an answer's end, that of its likeliest stop token."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([list(history)], device=run.model.device)
        logits = run.model(input_ids=ids, use_cache=False).logits[0, -1].float()
    stop = logits[sorted(run.settings.stop_token_ids)].max()
    first, second = (stop if token is None else logits[token] for token in tokens)
    return abs(float(first - second))


if __name__ == "__main__":
    sys.exit(main())
