"""Cached rows are used until something that shaped them changes, wherever it is."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trainer.data.survey as module
from tests.support.quick import ROOT
from trainer.config import Config
from trainer.data import DatasetBundle
from trainer.data.domains import domain_datasets, load_domain
from trainer.data.rows import RowEncoder
from trainer.errors import DataError

MakeConfig = Callable[..., Config]

DATA_PREP = """
from pathlib import Path
from trainer.data import assemble_datasets
from wording_shop.texts.greeting import GREETING
from wording_sibling.closing import CLOSING

COLUMNS = ("conversation",)

def session_to_messages(row, /, *, sysprompt, timezone):
    note = Path(__file__).with_name("note.txt").read_text(encoding="utf-8")
    return [{"role": "system", "content": GREETING + note + CLOSING}, *row["conversation"]]

def build_datasets(cfg):
    return assemble_datasets(cfg, session_to_messages, columns=COLUMNS)
"""
SOURCES = {
    "wording_shop/__init__.py": DATA_PREP,
    "wording_shop/note.txt": " Be brief.",
    "wording_shop/unused.py": "UNUSED = 1\n",
    "wording_shop/texts/__init__.py": "",
    "wording_shop/texts/greeting.py": 'GREETING = "You sell cars."\n',
    "wording_sibling/__init__.py": "",
    "wording_sibling/closing.py": 'CLOSING = " Goodbye."\n',
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A domain whose wording is in a sub-package, in a sibling package and in a text file."""
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    rows = (ROOT / "data" / "car_sales" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # after two edits within a second, it would be stale
    yield tmp_path
    forget()


def forget() -> None:
    """Make the next import read the domain's sources again, as a new process would."""
    for name in [name for name in sys.modules if name.startswith("wording_")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    module._code_digest.cache_clear()


@pytest.fixture
def build(shop: Path, quick_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Any, bool]]:
    """Returns a function that builds the domain's datasets as a new process would.

    It returns the bundle, and whether rows were prepared.
    """
    prepared: list[int] = []
    encode = RowEncoder.__call__

    def counted(self: RowEncoder, columns: Any, indices: Any) -> Any:
        prepared.append(len(indices))
        return encode(self, columns, indices)

    monkeypatch.setattr(RowEncoder, "__call__", counted)
    cfg = quick_config(
        "data.load_module=wording_shop",
        f"data.dataset_name={shop / 'rows.jsonl'}",
        "data.train_split=train",
        "data.eval_split=train",
    )

    def make() -> tuple[DatasetBundle, bool]:
        forget()
        prepared.clear()
        bundle = domain_datasets(load_domain(cfg), cfg)
        return bundle, bool(prepared)

    return make


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def text_of(bundle: DatasetBundle) -> str:
    assert bundle.chat is not None
    return bundle.chat.encoder.decode(bundle.train_dataset[0]["input_ids"])


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("wording_shop/texts/greeting.py", "You sell cars.", "You sell boats."),
        ("wording_sibling/closing.py", "Goodbye.", "See you soon."),
        ("wording_shop/note.txt", "Be brief.", "Be polite."),
        ("wording_shop/__init__.py", "GREETING + note", '"Now: " + GREETING + note'),
    ],
)
def test_editing_the_wording_anywhere_prepares_new_rows(
    name: str, before: str, after: str, shop: Path, build: Callable[[], tuple[Any, bool]]
) -> None:
    old, _ = build()
    _, again = build()
    assert not again
    edit(shop / name, before, after)
    new, prepared = build()
    assert prepared
    assert new.report.fingerprint != old.report.fingerprint
    assert text_of(new) != text_of(old)


def test_editing_code_that_shapes_no_row_keeps_the_rows(shop: Path, build: Callable[[], tuple[Any, bool]]) -> None:
    old, _ = build()
    edit(shop / "wording_shop/unused.py", "1", "2")
    edit(shop / "wording_shop/__init__.py", "COLUMNS =", "# The columns that are read.\nCOLUMNS =")
    new, prepared = build()
    assert not prepared
    assert new.report.fingerprint == old.report.fingerprint


def test_editing_the_dataset_prepares_new_rows(shop: Path, build: Callable[[], tuple[Any, bool]]) -> None:
    build()
    lines = (shop / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[0])
    row["conversation"][0]["content"] += " Please."
    (shop / "rows.jsonl").write_text("\n".join([json.dumps(row), *lines[1:]]) + "\n", encoding="utf-8")
    new, prepared = build()
    assert prepared
    assert "Please." in text_of(new)


@pytest.mark.parametrize(
    ("place", "shapes"),
    [
        ("data/rows.py", True),
        ("chat/encode.py", True),
        ("tools/wire.py", True),
        ("tool_calls/json_blocks.py", True),
        ("tokenizer.py", True),
        ("util/ordering.py", True),
        ("types.py", True),
        ("data/report.py", False),
        ("data/findings.py", False),
        ("messages/pairing.py", True),
        ("values/places.py", True),
        ("loss.py", False),
        ("scoring/rates.py", False),
        ("training/train.py", False),
        ("serving/plan.py", False),
        ("kernels/fused_lora.py", False),
        ("util/progress.py", False),
    ],
)
def test_the_key_covers_the_code_that_shapes_a_row(
    place: str, shapes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (ROOT / "src" / "trainer").rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT / "src" / "trainer")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(module, "files", lambda package: tmp_path)
    module._code_digest.cache_clear()
    before = module._code_digest()
    with (tmp_path / place).open("a", encoding="utf-8") as file:
        file.write("\nEDITED = True\n")
    module._code_digest.cache_clear()
    assert (module._code_digest() != before) == shapes
    module._code_digest.cache_clear()


def test_the_order_of_keys_counts_because_a_model_sees_it(shop: Path, build: Callable[[], tuple[Any, bool]]) -> None:
    old, _ = build()
    lines = [json.loads(line) for line in (shop / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    calls = [c["function"] for row in lines for m in row["conversation"] for c in m["tool_calls"] or ()]
    call = next(call for call in calls if len(json.loads(call["arguments"])) > 1)
    call["arguments"] = json.dumps(dict(reversed(json.loads(call["arguments"]).items())))
    (shop / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
    new, _ = build()
    assert new.report.fingerprint != old.report.fingerprint


def test_refused_rows_are_not_kept_in_the_cache(
    shop: Path, build: Callable[[], tuple[Any, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> str:
        return "it reads nothing"

    with monkeypatch.context() as patch:
        patch.setattr("trainer.data.rows.find_difference", broken)
        with pytest.raises(DataError, match="it reads nothing"):
            build()
    _, prepared = build()
    assert prepared
