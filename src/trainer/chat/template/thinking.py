"""Whether a generation prompt leaves a block of thinking open. Knows no model family.

Templates write many markers: `<think>`, `[THINK]`, `<|START_THINKING|>`, `<seed:think>`, `◁think▷` and others. A marker
with a slash or END in it closes what the one before it opened.
"""

import re

_MARKER = re.compile(r"<[^\s<>]{1,40}>|\[/?[A-Z_]{2,40}\]|◁[^\s◁▷]{1,40}▷")
_CLOSES = re.compile(r"[/]|\bEND|_END|END_|<[^|]+\|>", re.ASCII)


def leaves_open(text: str) -> bool:
    """Return whether the last marker in a text opens something, so an answer after it would be inside.

    >>> leaves_open("<think>\\n"), leaves_open("<think>\\n\\n</think>\\n\\n"), leaves_open("[THINK]")
    (True, False, True)
    """
    markers: list[str] = _MARKER.findall(text)
    return bool(markers) and not _CLOSES.search(markers[-1])


def last_marker(text: str) -> str:
    """Return the last marker in a text with the word after it on its line, or "".

    >>> last_marker("<|im_start|>assistant\\n<think>\\n"), last_marker("<|turn>model\\n<|channel>thought\\n")
    ('<think>', '<|channel>thought')
    """
    found = list(_MARKER.finditer(text))
    return text[found[-1].start() :].strip() if found else ""
