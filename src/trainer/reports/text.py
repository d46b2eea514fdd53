"""Make text of data and models safe to show: no invisible or unpaired characters, no endless strings. Knows no HTML."""

import re

MOST_CHARACTERS = 4000
"""The most characters of one text that a page shows."""

# Controls (except tab and line feed), characters that change the direction or the shape of their neighbours, halves of
# surrogate pairs, and code points that are no characters. HTML cannot express some of them; the others hide things.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)
_JOINERS = "\u200c\u200d"  # spelling of Persian and Hindi, and of emoji: harmless and needed


def plain(text: str) -> str:
    r"""Return a text with its unsafe characters written out. Line breaks become line feeds.

    >>> plain("a\x00b\u202ec\r\nd")
    'a‹U+0000›b‹U+202E›c\nd'
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(match: re.Match[str]) -> str:
    return match[0] if match[0] in _JOINERS else f"‹U+{ord(match[0]):04X}›"


def shortened(text: str, *, most: int = MOST_CHARACTERS) -> str:
    """Return a text with at most `most` of its characters, then how many were cut.

    >>> shortened("abcdef", most=4)
    'abcd … [2 characters cut]'
    """
    n_cut = len(text) - most
    return text if n_cut <= 0 else f"{text[:most]} … [{n_cut:,} characters cut]"
