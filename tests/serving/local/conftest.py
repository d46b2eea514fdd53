"""The service of a tiny random model with the demo's tokenizer, shared by the tests of the small server."""

import pytest

from tests.support.quick import ROOT, tiny_model
from tests.support.tiny_runs import make_run
from trainer.config import load_config
from trainer.serving.local.service import LocalService, load_service
from trainer.serving.plan import plan_serving
from trainer.tokenizer import load_tokenizer


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> LocalService:
    """Return a service whose context has 400 tokens."""
    folder = tmp_path_factory.mktemp("served")
    tokenizer = load_tokenizer(load_config(ROOT / "configs" / "car_sales" / "quickstart.yaml"))
    tiny_model(len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    run = make_run(folder / "model", folder / "carsales", "data.max_context_length=400")
    return load_service(run, plan_serving(run))
