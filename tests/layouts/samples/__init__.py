"""Sample rows of every layout, all of this project's own making, with what they must be read as."""

from typing import Any, NamedTuple

from tests.layouts.samples.anthropic_rows import ANTHROPIC
from tests.layouts.samples.canonical import SESSIONS, TOOLS
from tests.layouts.samples.glaive_rows import GLAIVE
from tests.layouts.samples.hermes_rows import HERMES
from tests.layouts.samples.openai_rows import OPENAI, PROJECT
from tests.layouts.samples.sharegpt_rows import APIGEN_MT, SHAREGPT
from tests.layouts.samples.toolace_rows import TOOLACE
from tests.layouts.samples.xlam_rows import XLAM, XLAM_SESSIONS, XLAM_TOOLS


class Sample(NamedTuple):
    """Rows of one layout, and the canonical messages and tools of each."""

    rows: list[dict[str, Any]]
    sessions: Any = SESSIONS
    tools: Any = TOOLS


SAMPLES = {
    "project": Sample(PROJECT),
    "openai": Sample(OPENAI),
    "sharegpt": Sample(SHAREGPT),
    "xlam": Sample(XLAM, XLAM_SESSIONS, XLAM_TOOLS),
    "apigen_mt": Sample(APIGEN_MT),
    "toolace": Sample(TOOLACE),
    "hermes": Sample(HERMES),
    "glaive": Sample(GLAIVE),
    "anthropic": Sample(ANTHROPIC),
}
