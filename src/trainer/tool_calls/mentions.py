"""Distinguish a marker that an answer mentions from one that opens a call. Knows no format."""

import re

_WORD = r"[^\W\d_]++(?:['’\-][^\W\d_]++)*+"
# What comes after the first word of a sentence that goes on.
_NEXT = r"""[ \t]++(?:[^\W_]|[(<`"'“]|\[[A-Z_]++\][ \t]++[^\W_])|[.,;:!?]++(?=\s|\Z)|[)"'`]|\s*+\Z|[ \t]*+\n[ \t]*+\n"""
# How a sentence goes on after a marker. No call goes on like this, not even one that has lost a part.
_SENTENCE = re.compile(
    "|".join(
        (
            r"""["'`*_)\]]++(?=[\s.,;:!?)|<\-]|\Z)""",  # the end of a quotation
            rf"[ \t]*+(?:[.…,;!?|]|/[ \t]*+[<\[]|:[ \t]++{_WORD}[ \t.])",
            rf"(?:s|-{_WORD})(?=[\s.,;:!?)])",  # plurals and compounds
            r"[ \t]*+[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]",
            rf"[ \t]++\(?{_WORD}(?:{_NEXT})",
            r"<(?:[^\s<>=]*?(?:/|[_▁|](?:end|END|suffix)\b|\|END_)|\w++\|>)",  # a closing tag, and nothing before it
        )
    )
)
# The rest of a tag such as `<invoke name="f">`, if the marker is only `<invoke `.
_TAG_REST = re.compile(r"[^<>\n]{0,80}+>")


def is_mention(text: str, start: int, marker: str) -> bool:
    """Return whether the marker at `start` is a word of a sentence, although the text after it is not a call.

    It is one if something is before it on its line and a sentence goes on directly after it, as in "the <tool_call>
    tag". A marker that begins a line, or that ends one, opens a call.
    """
    end = start + len(marker)
    if marker.startswith("<") and not marker.endswith(">") and (rest := _TAG_REST.match(text, end)):
        end = rest.end()
    return _SENTENCE.match(text, end) is not None and not begins_line(text, start)


def begins_line(text: str, position: int) -> bool:
    """Return whether only spaces are before a position on its line."""
    while position > 0 and text[position - 1] in " \t":
        position -= 1
    return position == 0 or text[position - 1] == "\n"
