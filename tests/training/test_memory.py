"""The peak memory of the process is measured on every platform that keeps it."""

import sys
from pathlib import Path

import pytest

from trainer.training import memory


@pytest.mark.parametrize("missing", [(), ("resource",)])
def test_peak_memory_is_measured_without_proc_and_without_resource(
    missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from_proc = memory.peak_resident_bytes()
    monkeypatch.setattr(memory, "_STATUS", Path("/no/such/file"))
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    found = memory.peak_resident_bytes()
    assert isinstance(found, int)
    assert from_proc / 4 < found < from_proc * 4
