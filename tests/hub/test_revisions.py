"""Against a small hub: the configured revision is loaded, its commit is recorded, and each failure is one line."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from tests.support.hub import Repository, StubHub, stub_hub
from tests.support.quick import QUICKSTART, ROOT, quick_overrides, tiny_model

ROWS, MODEL = "org/rows", "org/tiny"
CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture
def hub() -> Iterator[StubHub]:
    """A hub without repositories."""
    with stub_hub() as made:
        yield made


NAMED = b"""---
configs:
- config_name: talks
  data_files: [{split: train, path: train.jsonl}, {split: test, path: test.jsonl}]
---
"""


def two_datasets(hub: StubHub, *, readme: bytes | None = None) -> Repository:
    """Add a dataset with sessions 1 to 6 at the tag v1, and sessions 7 to 12 at main."""
    extra = {} if readme is None else {"README.md": readme}
    lines = (ROOT / "data/car_sales/train.jsonl").read_bytes().splitlines(keepends=True)
    repository = hub.repository("dataset", ROWS)
    for first, tag in ((0, "v1"), (6, None)):
        part = b"".join(lines[first : first + 6])
        repository.commit({"train.jsonl": part, "test.jsonl": b"".join(lines[20:22]), **extra}, tag=tag)
    return repository


def two_models(hub: StubHub, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Repository:
    """Add a model with the weights of seed 1 at the tag v1, and of seed 2 at main; the chat templates also differ."""
    repository = hub.repository("model", MODEL)
    for seed, tag in ((1, "v1"), (2, None)):
        tiny_model(len(tokenizer), seed=seed).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        files["chat_template.jinja"] += b"{# seed %d #}" % seed
        repository.commit(files, tag=tag)
        shutil.rmtree(folder)
    return repository


FIRST_IDS = f"""
import json
from trainer.config.schema import SourceConfig
from trainer.data.sources import load_split
from trainer.hub import resolve_dataset

found = {{}}
for revision in ("v1", None, "v1"):
    data = SourceConfig(dataset_name={ROWS!r}, revision=revision)
    found[str(revision)] = [load_split(data, "train")[0]["session_id"]]
    found[str(revision)].append(resolve_dataset({ROWS!r}, revision).commit)
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("offline", "readme"),
    [({"HF_HUB_OFFLINE": "1"}, None), ({"HF_HUB_OFFLINE": "1"}, NAMED), ({"HF_ENDPOINT": CLOSED_PORT}, None)],
    ids=["offline", "offline with a named configuration", "unreachable"],
)
def test_each_revision_of_a_dataset_is_loaded_and_again_from_the_cache(
    hub: StubHub, tmp_path: Path, offline: dict[str, str], readme: bytes | None
) -> None:
    repository = two_datasets(hub, readme=readme)
    expected = {
        "v1": [first_id(repository, "v1"), repository.tags["v1"]],
        "None": [first_id(repository, "main"), repository.branches["main"]],
    }
    assert expected["v1"][0] != expected["None"][0]
    assert json.loads(hub.run(FIRST_IDS, tmp_path)) == expected
    hub.requests.clear()
    assert json.loads(hub.run(FIRST_IDS, tmp_path, **offline)) == expected
    assert hub.requests == []


def first_id(repository: Repository, revision: str) -> str:
    """Return the id of the first session of a revision."""
    sha = repository.resolve(revision)
    assert sha is not None
    return str(json.loads(repository.commits[sha]["train.jsonl"].splitlines()[0])["session_id"])


def test_a_branch_that_moves_during_a_run_changes_nothing(hub: StubHub, tmp_path: Path) -> None:
    repository = two_datasets(hub)
    expected, commit = first_id(repository, "main"), repository.branches["main"]
    files = repository.commits[repository.tags["v1"]]
    hub.actions["/move"] = lambda: repository.commit(files)
    found = json.loads(hub.run(MOVE.replace("URL", hub.url), tmp_path))
    assert repository.branches["main"] != commit
    assert found == [[expected, commit], [expected, commit]]


@pytest.mark.slow
def test_another_commit_in_the_cache_never_stands_in(hub: StubHub, tmp_path: Path) -> None:
    repository = two_datasets(hub)
    hub.run(FIRST_IDS.replace('("v1", None, "v1")', '("v1",)'), tmp_path)
    repository.gated = True
    (result,) = run_commands(hub, tmp_path, [["train", f"data.dataset_name={ROWS}"]])
    assert result[0] == 2
    assert f"the cache has no copy of its commit {repository.branches['main']}" in result[1][0]


MOVE = f"""
import json, urllib.request
from trainer.config.schema import SourceConfig
from trainer.data.sources import load_split
from trainer.hub import resolve_dataset

data = SourceConfig(dataset_name={ROWS!r})
found = []
for split in ("train[:3]", "train[:4]"):
    found.append([load_split(data, split)[0]["session_id"], resolve_dataset({ROWS!r}).commit])
    urllib.request.urlopen("URL/move")
print(json.dumps(found))
"""

LOAD_MODELS = f"""
import json
from trainer.config import load_config
from trainer.hub import resolve_base_model
from trainer.lora_model import load_base_model
from trainer.model_config import load_model_config

found = {{}}
for revision in ("v1", None):
    own = [] if revision is None else ["model.revision=" + revision]
    cfg = load_config({str(QUICKSTART)!r}, ["model.base_model_name={MODEL}", *own])
    load_model_config(cfg)
    weights = load_base_model(cfg).lm_head.weight.float().sum().item()
    found[str(revision)] = [weights, resolve_base_model(cfg).commit]
print(json.dumps(found))
"""

LOAD_TOKENIZERS = f"""
import json
from trainer.config import load_config
from trainer.tokenizer import load_tokenizer

found = []
own = ["model.revision=v1"]
for keys in (own, [], ["data.tokenizer_revision=v1"], [*own, "data.tokenizer={MODEL}"]):
    cfg = load_config({str(QUICKSTART)!r}, ["model.base_model_name={MODEL}", *keys])
    found.append(load_tokenizer(cfg).chat_template[-12:])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_each_revision_of_a_model_is_loaded_and_again_from_the_cache(
    hub: StubHub, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    repository = two_models(hub, tokenizer, tmp_path / "model")
    found = json.loads(hub.run(LOAD_MODELS, tmp_path / "home"))
    for seed, revision in ((1, "v1"), (2, "None")):
        weights = tiny_model(len(tokenizer), seed=seed).get_output_embeddings().weight.sum().item()
        sha = repository.resolve("main" if revision == "None" else revision)
        assert found[revision] == [pytest.approx(weights, rel=1e-2), sha]
    hub.requests.clear()
    assert json.loads(hub.run(LOAD_MODELS, tmp_path / "home", HF_HUB_OFFLINE="1")) == found
    assert json.loads(hub.run(LOAD_MODELS, tmp_path / "home", HF_ENDPOINT=CLOSED_PORT)) == found
    assert hub.requests == []


@pytest.mark.slow
def test_a_tokenizer_has_the_revision_of_its_model_or_its_own(
    hub: StubHub, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    two_models(hub, tokenizer, tmp_path / "model")
    expected = [f"{{# seed {seed} #}}" for seed in (1, 2, 1, 1)]
    assert json.loads(hub.run(LOAD_TOKENIZERS, tmp_path / "home")) == expected
    hub.requests.clear()
    assert json.loads(hub.run(LOAD_TOKENIZERS, tmp_path / "home", HF_HUB_OFFLINE="1")) == expected
    assert hub.requests == []


@pytest.mark.slow
def test_a_run_records_the_commits_and_its_configuration_names_them(
    hub: StubHub, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows, model = two_datasets(hub), two_models(hub, tokenizer, tmp_path / "model")
    overrides = [*quick_overrides(Path(MODEL), tmp_path / "run"), f"data.dataset_name={ROWS}"]
    result = run_command(hub, tmp_path / "home", ["train", *overrides, "data.revision=v1", "train.max_steps=1"])
    assert result == (0, [])
    environment = json.loads((tmp_path / "run" / "environment.json").read_text(encoding="utf-8"))
    main = {"name": MODEL, "revision": None, "commit": model.branches["main"]}
    assert environment["sources"] == {
        "datasets": [{"name": ROWS, "revision": "v1", "commit": rows.tags["v1"]}],
        "base_model": main,
        "tokenizer": main,
    }
    adapter = json.loads((tmp_path / "run" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == (MODEL, main["commit"])
    resolved = (tmp_path / "run" / "config.resolved.yaml").read_text(encoding="utf-8")
    assert f"  revision: {rows.tags['v1']}\n" in resolved
    assert f"  revision: {model.branches['main']}\n" in resolved
    assert "  tokenizer_revision: null\n" in resolved


RUN_COMMANDS = """
import contextlib, io, json, re, sys
from trainer.commands.main import main

found = []
for command, *overrides in json.loads(COMMANDS):
    captured = io.StringIO()
    with contextlib.redirect_stderr(captured), contextlib.redirect_stdout(io.StringIO()):
        code = main([command, "--config", CONFIG, *[word for text in overrides for word in ("--set", text)]])
    # A list of one problem, with the configuration's name above it, becomes one line.
    said = re.sub(r"error: \\S+: 1 problem\\n  (\\S+) +", r"error: \\1: ", captured.getvalue())
    found.append([code, [line for line in said.splitlines() if line.startswith("error: ")],
                  "Traceback" in captured.getvalue()])
print(json.dumps(found))
"""


def run_commands(hub: StubHub, home: Path, commands: list[list[str]], **variables: str) -> list[tuple[int, list[str]]]:
    """Run commands with overrides of the quickstart in one process; return exit codes and lines with errors."""
    code = RUN_COMMANDS.replace("COMMANDS", repr(json.dumps(commands))).replace("CONFIG", repr(str(QUICKSTART)))
    found = json.loads(hub.run(code, home, **variables).splitlines()[-1])
    assert not any(traceback for *_, traceback in found)
    return [(status, lines) for status, lines, _ in found]


def run_command(hub: StubHub, home: Path, command: list[str]) -> tuple[int, list[str]]:
    """Run one command; see `run_commands`."""
    return run_commands(hub, home, [command])[0]


@pytest.mark.slow
def test_what_the_hub_does_not_provide_is_one_line_with_key_and_remedy(hub: StubHub, tmp_path: Path) -> None:
    two_datasets(hub)
    hub.repository("dataset", "org/locked", gated=True).commit({"train.jsonl": b'{"a": 1}\n'})
    hub.repository("model", "org/locked", gated=True).commit({"config.json": b"{}"})
    hub.repository("model", "org/open").commit({"config.json": b"{}"}, tag="v2")
    nowhere = "a" * 40
    cases = [
        (["data.dataset_name=org/none"], "data.dataset_name: the hub has no dataset org/none, or it is private"),
        ([f"data.dataset_name={ROWS}", "data.revision=v9"], "data.revision: org/rows has no branch, tag or commit v9"),
        ([f"data.dataset_name={ROWS}", f"data.revision={nowhere}"], f"data.revision: {ROWS} has no .* {nowhere}"),
        (
            ["data.dataset_name=org/locked"],
            r"data\.dataset_name: org/locked is gated; ask for access at \S+/datasets/org",
        ),
        (["model.base_model_name=org/none"], "model.base_model_name: the hub has no model org/none"),
        (["model.base_model_name=org/locked"], "model.base_model_name: org/locked is gated; ask for access at"),
        (["model.base_model_name=org/open", "model.revision=v9"], "model.revision: .*v9; it has main, v2. Choose one"),
        (["model.base_model_name=org/open", f"model.revision={nowhere}"], f"model.revision: .* {nowhere}"),
        (["data.tokenizer=org/none"], "data.tokenizer: the hub has no model org/none"),
        (["data.tokenizer=org/open", "data.tokenizer_revision=v9"], "data.tokenizer_revision: org/open has no .* v9"),
        (["data.tokenizer=org/locked"], "data.tokenizer: org/locked is gated; .*hf auth login"),
    ]
    results = run_commands(hub, tmp_path / "home", [["train", *overrides] for overrides, _ in cases])
    for (overrides, expected), (status, lines) in zip(cases, results, strict=True):
        assert (status, len(lines)) == (2, 1), overrides
        assert lines[0].startswith("error: ")
        assert re.search(expected, lines[0]), lines


@pytest.mark.slow
def test_a_missing_local_path_asks_no_hub(hub: StubHub, tmp_path: Path) -> None:
    commands = [
        ["train", "data.dataset_name=data/car_sale"],
        ["train", "data.dataset_name=my.jsonl"],
        ["train", "data.load_module=chat_rows", "data.dataset_name=data/car_sale"],
        ["train", "data.load_module=chat_rows", "data.revision=v1"],
        ["train", "model.base_model_name=./model"],
        ["train", "model.revision=v1"],
        ["train", "data.tokenizer=src/model"],
        ["preview", "data.tokenizer=tests", "data.tokenizer_revision=v1"],
    ]
    keys = ["dataset_name", "dataset_name", "dataset_name", "revision", "base_model_name", "revision", "tokenizer"]
    for (status, lines), key in zip(run_commands(hub, tmp_path, commands), [*keys, "tokenizer_revision"], strict=True):
        assert status == 2
        assert len(lines) == 1
        assert f".{key}: " in lines[0]
    assert hub.requests == []


@pytest.mark.parametrize(
    "variables", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": CLOSED_PORT}], ids=["set", "unreachable"]
)
def test_without_a_hub_and_a_copy_the_message_says_what_is_missing(
    hub: StubHub, tmp_path: Path, variables: dict[str, str]
) -> None:
    commands = [["preview", "data.dataset_name=org/none"], ["preview", "model.base_model_name=org/none"]]
    for (status, lines), key in zip(
        run_commands(hub, tmp_path, commands, **variables), ["data.dataset_name", "model.base_model_name"], strict=True
    ):
        assert status == 2
        assert key in lines[0]
        assert ("HF_HUB_OFFLINE is set" if "HF_HUB_OFFLINE" in variables else "cannot be reached") in lines[0]
