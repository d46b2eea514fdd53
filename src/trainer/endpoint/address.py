"""Read the address of a server: where requests go, and how it is shown without user, password and query values."""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx2

from trainer.errors import EndpointError
from trainer.util.secrets import HIDDEN, hide, remember_address

_CHAT = "/chat/completions"


@dataclass(frozen=True, slots=True)
class Address:
    """The base address of an API, with everything that was typed."""

    parts: SplitResult

    @property
    def full(self) -> str:
        """The address for requests, which may hold secrets."""
        return urlunsplit(self.parts)

    @property
    def shown(self) -> str:
        """The address for files and messages."""
        query = "&".join(f"{part.partition('=')[0]}={HIDDEN}" for part in self.parts.query.split("&") if part)
        return urlunsplit(self.parts._replace(netloc=self.parts.netloc.rpartition("@")[2], query=query))

    def at(self, path: str) -> str:
        """The address of a path below the base; the query stays at the end."""
        return urlunsplit(self.parts._replace(path=self.parts.path + path))


def read_address(url: str) -> Address:
    """Return the base address of the API as typed, with `/v1` added to a bare host. Raises `EndpointError`."""
    remember_address(url)
    try:
        parsed = httpx2.URL(url.strip())
    except httpx2.InvalidURL as error:
        raise EndpointError(hide(f"--endpoint {url}: {error}")) from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise EndpointError(hide(f"--endpoint {url}: is not an address; it must look like http://127.0.0.1:8000/v1"))
    parts = urlsplit(str(parsed))
    path = parts.path.rstrip("/").removesuffix(_CHAT)
    return Address(parts._replace(path=path if path.strip("/") else "/v1", fragment=""))


def base_url(url: str) -> str:
    """Return the base address of the API as it is shown, without secrets. Raises `EndpointError`."""
    return read_address(url).shown
