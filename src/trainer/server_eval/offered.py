"""Check that a server offers the models that requests will name."""

from collections.abc import Sequence

from trainer.endpoint import Endpoint, EndpointSettings


async def require_models(settings: EndpointSettings, names: Sequence[str]) -> None:
    """Raise `EndpointError`, with the models of the server, unless it has all of `names`."""
    async with Endpoint(settings) as endpoint:
        await endpoint.require(names)
