"""Texts that try to break a page, and what a page holds."""

from html.parser import HTMLParser

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(1)">',
    "</script><script>alert(1)</script>",
    "</style><b onclick='alert(1)'>",
    "{{ 7 * 7 }} {% raw %} {# x #} <|im_end|> </s> [INST]",
    "\u202eabc\u2066 \x00\x1b[31m \ud800 \u200f",
    "--> <!-- ]]>",
)


class Page(HTMLParser):
    """The elements of a page, those that are not closed, attributes that run code, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def is_self_contained(self) -> bool:
        """Whether the page has one script and one style of its own, loads nothing and links only into itself."""
        loads = {"link", "img", "iframe", "object", "embed", "base"} & set(self.tags)
        own = self.tags.count("script") == self.tags.count("style") == 1
        return own and not loads and all(link.startswith("#") for link in self.links)
