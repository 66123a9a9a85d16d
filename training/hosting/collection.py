"""Collection: one page on the Hub that groups the published checkpoints and the Space."""

from __future__ import annotations

from sim2street.models.errors import ConfigError
from sim2street.models.storage.hub import HUB_ERRORS, hub_api, hub_sentence
from sim2street.models.storage.spacefile import Spacefile
from sim2street.training.hosting.publish import PublishError
from sim2street.training.hosting.space import full_id


def collection_items(spacefile: Spacefile, space_id: str) -> list[tuple[str, str]]:
    """Id and type of each item, in the Spacefile's order.

    Raises:
        ConfigError: the Spacefile defines no collection, or none of its checkpoints is published yet.
    """
    if spacefile.collection is None:
        raise ConfigError("Spacefile: collection is missing; give it a title.")
    models = [(model.repository, "model") for model in spacefile.models if model.repository is not None]
    if not models:
        raise ConfigError(
            "No checkpoint of the Spacefile is published yet; `sim2street publish NAME OWNER/NAME` publishes one and records it there."
        )
    return [*models, (space_id, "space")]


def gather(spacefile: Spacefile, *, token: str | None = None) -> tuple[str, list[tuple[str, str]]]:
    """Create the collection, or add its missing items; safe to repeat.

    Returns:
        Its URL, and its items.

    Raises:
        PublishError: there is no token with write access, an item does not exist, or the Hub cannot be reached.
    """
    space_id = full_id(spacefile, token)
    items = collection_items(spacefile, space_id)
    assert spacefile.collection is not None
    api = hub_api(token)
    title = spacefile.collection.title
    try:
        made = api.create_collection(
            title,
            namespace=space_id.partition("/")[0],
            description=spacefile.collection.description or None,
            exists_ok=True,
        )
        for item_id, kind in items:
            api.add_collection_item(made.slug, item_id, kind, exists_ok=True)  # pyright: ignore[reportArgumentType]
    except HUB_ERRORS as error:
        raise PublishError(
            f"{hub_sentence(error, title)} Items added so far remain. Run the same command again."
        ) from error
    return f"{api.endpoint}/collections/{made.slug}", items
