"""Planted secrets of eight kinds are in no file, log, terminal output, error or upload, from training to serving."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.quick import QUICKSTART, quick_overrides
from tests.support.served import IMPATIENT
from tests.support.stub_server import Reply, StubServer, completion
from tests.support.uploads import ReceivedUploads
from trainer.commands.main import main
from trainer.config import Config, config_to_yaml, load_config, parse_config
from trainer.endpoint import EndpointSettings
from trainer.errors import ToolSftError
from trainer.server_eval.load import measure

MakeConfig = Callable[..., Config]

CONFIGURED = "hf_configured_7Kq2"
NESTED = 'nested"kéy\\9Zt4'
ENVIRONMENT = {
    "HF_TOKEN": "hf_environment_3Mx8",
    "WANDB_API_KEY": "wandb_key_5Rw1",
    "OPENAI_API_KEY": "sk-openai-8Hd6",
    "SOME_PASSWORD": "database-2Vb7",
}
OPTION = "sk-option-6Np3"
PASSWORD, QUERY = "url-päss/word-4Lc9", "query-key-1Fs5"
SECRETS = [CONFIGURED, NESTED, *ENVIRONMENT.values(), OPTION, PASSWORD, QUERY]


def forms(secret: str) -> set[bytes]:
    """Return how files may write a secret."""
    written = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="")}
    return {text.encode() for text in written} | {secret.encode("utf-16-le"), quote(secret).encode()}


def leaks(places: Mapping[str, bytes]) -> list[str]:
    """Return the places that have a planted secret."""
    wanted = {form for secret in SECRETS for form in forms(secret)}
    return [name for name, content in places.items() if any(form in content for form in wanted)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SERVER_KEY", OPTION)
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def echoing() -> Iterator[StubServer]:
    """Return a server whose answers and errors repeat the headers of requests and the planted secrets."""
    echo = f"{' '.join(SECRETS)} {json.dumps(NESTED)} {quote(PASSWORD, safe='')}"

    class Echo(StubServer):
        """Repeats what it receives."""

        n_chats = 0

        def reply(self, method: str, path: str, headers: bytes, body: bytes) -> Reply:
            """Answer the models, then in turn with an answer, an error, and garbage."""
            place, seen = path.partition("?")[0], headers.decode("latin-1")
            if place.endswith("/models"):
                models = [{"id": name} for name in self.models]
                return Reply(body=json.dumps({"data": models}).encode())
            self.n_chats += 1
            if self.n_chats % 3 == 1:
                return Reply(body=json.dumps(completion(json.loads(body), {"content": f"{echo} {seen}"})).encode())
            if self.n_chats % 3 == 2:
                return Reply(404, json.dumps({"error": {"message": "x" * 280 + echo + seen}}).encode())
            return Reply(body=f"<html>{seen} {echo}</html>".encode())

    with Echo() as server:
        yield server


def with_credentials(server: StubServer) -> str:
    return server.url.replace("://", f"://ann:{quote(PASSWORD, safe='')}@") + f"?api_key={QUERY}"


def train_words(model: Path, folder: Path) -> list[str]:
    overrides = [
        *quick_overrides(model, folder),
        "train.save_strategy=steps",
        "train.save_steps=1",
        "train.push_to_hub=true",
        "train.hub_model_id=me/adapter",
        f"train.hub_token={CONFIGURED}",
        "train.fsdp_config=" + json.dumps({"api_key": NESTED}),
        "train.logging_steps=1",
    ]
    return ["train", "--config", str(QUICKSTART), *(word for one in overrides for word in ("--set", one))]


def test_a_training_and_its_upload_leak_nothing(
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub = ReceivedUploads().install(monkeypatch)
    folder = tmp_path / "run"
    assert main(train_words(tiny_model_folder, folder)) == 0
    places = files_of(folder)
    assert {"checkpoint-1/trainer_state.json", "config.resolved.yaml", "history.jsonl"} <= set(places)
    told = capfd.readouterr()
    places |= {"out": told.out.encode(), "err": told.err.encode(), "log": caplog.text.encode()}
    places |= {f"upload/{name}": content for name, content in hub.files.items()}
    assert len(places) > 30
    assert not leaks(places)
    assert "hub_token" not in places["config.resolved.yaml"].decode()
    assert not [name for name in places if name.endswith("training_args.bin")]
    assert load_config(folder / "config.resolved.yaml").train["hub_model_id"] == "me/adapter"
    assert hub.created[0]["token"] == CONFIGURED


def test_an_error_of_the_hub_that_repeats_the_token_is_shown_without_it(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hub = ReceivedUploads(refusal=OSError(f"401 for Bearer {CONFIGURED} and {ENVIRONMENT['HF_TOKEN']}"))
    hub.install(monkeypatch)
    assert main(train_words(tiny_model_folder, tmp_path / "run")) == 2
    told = capfd.readouterr()
    assert "401 for Bearer ***" in told.err
    assert not leaks({"out": told.out.encode(), "err": told.err.encode()})


def test_nested_keys_are_left_out_of_the_resolved_configuration(quick_config: MakeConfig) -> None:
    given = quick_config().model_dump(exclude={"run"})
    given["train"]["deepspeed"] = {"comet": {"api_key": NESTED, "project": "cars"}}
    cfg = parse_config(given, source="test")
    written = config_to_yaml(cfg)
    assert not leaks({"yaml": written.encode()})
    assert "project: cars" in written
    assert cfg.train["deepspeed"]["comet"]["api_key"] == NESTED


@pytest.mark.parametrize(
    "words",
    [
        ["--set", f"train.hub_token=[{CONFIGURED}]"],
        ["--set", f"hub_token={CONFIGURED}"],
        ["--set", f"train.deepspeed={{wandb: {{api_key: {CONFIGURED}}}}}", "--set", "train.seed=x"],
        ["--set", f"model.base_model_name=https://ann:{CONFIGURED}@host/model"],
        ["--token", CONFIGURED],
    ],
)
def test_errors_about_a_configuration_leak_nothing(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["train", "--config", str(QUICKSTART), *words])
    except SystemExit as ended:
        code = int(str(ended.code))
    told = capfd.readouterr()
    assert code == 2
    assert "error" in told.err
    assert not leaks({"out": told.out.encode(), "err": told.err.encode()})


def test_errors_themselves_have_no_secret() -> None:
    for override in (f"train.hub_token=[{CONFIGURED}]", f"hub_token={CONFIGURED}"):
        with pytest.raises(ToolSftError) as caught:
            load_config(QUICKSTART, [override])
        assert not leaks({"text": str(caught.value).encode(), "repr": repr(caught.value).encode()})


def test_an_evaluation_of_an_echoing_server_leaks_nothing(
    tiny_model_folder: Path,
    tmp_path: Path,
    echoing: StubServer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "run"
    overrides = [*quick_overrides(tiny_model_folder, folder), f"train.hub_token={CONFIGURED}"]
    words = ["eval", "--config", str(QUICKSTART), *(word for one in overrides for word in ("--set", one))]
    words += ["--endpoint", with_credentials(echoing), "--model", "base", "--api-key-env", "SERVER_KEY"]
    words += ["--extra-body", json.dumps({"metadata": {"auth_token": NESTED}}), "--concurrency", "2"]
    for _ in range(2):  # the second one resumes
        assert main(words) == 0
    bench = ["bench", *words[1 : words.index("--extra-body")], "--concurrency", "1,2", "--turns", "3"]
    bench += ["--json", str(tmp_path / "run" / "bench.json"), "--report", str(tmp_path / "run" / "bench.html")]
    assert main(bench) in (0, 1)
    places = files_of(folder)
    served = "served/base"
    assert {f"{served}/{name}" for name in ("predictions.jsonl", "request.json", "report.html", "metrics.json")} <= set(
        places
    )
    told = capfd.readouterr()
    places |= {"out": told.out.encode(), "err": told.err.encode(), "log": caplog.text.encode()}
    assert len(places) >= 11
    assert not leaks(places)
    assert b"***" in places[f"{served}/predictions.jsonl"]
    request = json.loads(places[f"{served}/request.json"])
    assert request["endpoint"] == f"{echoing.url}?api_key=***"


def test_secrets_reach_the_server_unchanged(echoing: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    reply = echoing.reply

    def watched(method: str, path: str, headers: bytes, body: bytes) -> Reply:
        seen.append((path, headers.decode("latin-1")))
        return reply(method, path, headers, body)

    monkeypatch.setattr(echoing, "reply", watched)
    settings = EndpointSettings(f"{echoing.url}?api_key={QUERY}", OPTION, retries=IMPATIENT)
    body: dict[str, Any] = {"model": "base", "messages": [{"role": "user", "content": "Hi"}]}
    asyncio.run(measure(settings, [body], concurrency=1))
    assert seen[0][0] == f"/v1/chat/completions?api_key={QUERY}"
    assert f"Bearer {OPTION}" in seen[0][1]
