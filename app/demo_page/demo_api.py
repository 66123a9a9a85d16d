"""The typed endpoints of the Gradio page, for gradio_client, OpenAPI and (with `gradio[mcp]`) MCP."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from typing import Any, Final

import gradio as gr

from sim2street.app.content import panes
from sim2street.app.content.comparison import Comparison, compare
from sim2street.app.content.engine import Engine, Settings
from sim2street.app.content.first_street import FIRST_STREET, FIRST_STYLE
from sim2street.app.content.gallery import Scene
from sim2street.app.content.limits import RateLimit
from sim2street.app.content.streets import rendered_scene, shown
from sim2street.app.demo_page import uploads
from sim2street.models.errors import PhotoError, Sim2StreetError
from sim2street.models.storage.catalog import CatalogEntry

RATE: Final = (30, 60.0)
"""Number of calls allowed per client within a number of seconds."""


class BlocksWithInputErrors(gr.Blocks):
    """Blocks that explain an input of the wrong type in a sentence; Gradio's own answer is `"error": null`.

    Gradio converts the inputs before it calls an endpoint, so the endpoint itself cannot explain them.
    """

    async def preprocess_data(self, *arguments: Any, **named: Any) -> list[Any]:
        """Convert the inputs for the endpoint.

        Raises:
            gr.Error: an input does not fit its field.
        """
        try:
            return await super().preprocess_data(*arguments, **named)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(
                "An input does not fit its field. To pass a photo, POST the file to /gradio_api/upload and pass"
                ' {"path": the path in the answer, "meta": {"_type": "gradio.FileData"}}; gradio_client\'s handle_file does'
                " both. /gradio_api/info lists all fields.",
                print_exception=False,
            ) from error


class DemoApi:
    """The page's API endpoints.

    Args:
        engine: predicts photos.
        entries: returns the current catalog.
    """

    def __init__(self, engine: Engine, entries: Callable[[], list[CatalogEntry]]) -> None:
        self.engine = engine
        self.entries = entries
        self.rate = RateLimit(*RATE)

    def build(self) -> None:
        """Register the endpoints in the current Blocks."""
        with gr.Group(visible=False):
            photo = gr.File(label="photo", file_types=uploads.SUFFIXES)
            methods = gr.JSON([], label="methods")
            flip = gr.Checkbox(label="flip")
            answer = gr.JSON(label="answer")
            gr.Button().click(self.segment, [photo, methods, flip], answer, api_name="segment", concurrency_id="device")
        gr.api(self.segment_street, api_name="segment_street", concurrency_id="device")
        gr.api(self.methods, api_name="methods")

    def segment(
        self, request: gr.Request, photo: str | None, methods: list[str] | None, flip: bool = False
    ) -> dict[str, Any]:
        """Segment a street photo into the 19 Cityscapes classes with one or several methods.

        Args:
            request: the request.
            photo: picture file, up to 20 MB; the server deletes it after reading it.
            methods: names from /methods; null or an empty list takes all.
            flip: average with the prediction of the mirrored photo, which takes twice as long.

        Returns:
            width and height in pixels, and for each method a palette PNG of the labels (base64), the share of the pixels
            of each class and the mean entropy, all in [0,1], and the time in seconds.
        """

        def read() -> Scene:
            own = uploads.take(None, photo, None, "")
            if own is None:
                raise PhotoError("The call has no photo; pass it as `photo`.")
            return own.scene

        return self._answer(request, read, methods, flip)

    def segment_street(
        self,
        request: gr.Request,
        style: str = FIRST_STYLE,
        street: int = FIRST_STREET,
        methods: list[str] | None = None,
    ) -> dict[str, Any]:
        """Render a street with exact labels, segment it, and score each method.

        Args:
            request: the request.
            style: game, randomised, overcast, night, fog, rain or streets.
            street: 0 to 9999; the same number gives the same street.
            methods: names from /methods; null or an empty list takes all.

        Returns:
            As /segment, and for each method the IoU of each class and their mean, in [0,1].
        """
        return self._answer(request, lambda: rendered_scene(style, street), methods, flip=False)

    def methods(self) -> list[dict[str, Any]]:
        """List the methods: name, title, training data, licence, and mIoU in [0,1] by data set."""
        return [
            {
                "name": entry.checkpoint.name,
                "title": entry.checkpoint.config.title,
                "source": entry.checkpoint.config.source,
                "target": entry.checkpoint.config.target,
                "licence": entry.checkpoint.config.licence,
                "repository": entry.checkpoint.repository,
                "miou": {name: report.get("miou") for name, report in entry.checkpoint.metrics.items()},
            }
            for entry in self.entries()
            if entry.checkpoint is not None
        ]

    def _answer(self, request: gr.Request, read: Callable[[], Scene], methods: object, flip: object) -> dict[str, Any]:
        visitor = f"call {id(request)} {request.session_hash}"
        try:
            self.rate.check(uploads.client_of(request))
            everyone = {entry.checkpoint.name: entry.checkpoint for entry in self.entries() if entry.checkpoint}
            if not isinstance(flip, bool | None):
                raise Sim2StreetError(f"flip is {shown(flip)}; expected true or false.")
            chosen = [everyone[name] for name in _names(methods, everyone) or everyone]
            *_, state = compare(self.engine, read(), chosen, list(everyone.values()), Settings(bool(flip)), visitor)
            return _plain(state)
        except Sim2StreetError as error:
            raise gr.Error(str(error), print_exception=False) from error
        finally:
            self.engine.forget(visitor)


def _names(methods: object, known: Collection[str]) -> list[str]:
    """Check the list of methods in a call, which may be any JSON.

    Raises:
        Sim2StreetError: it is not a list of known names.
    """
    if methods is None:
        return []
    if not isinstance(methods, list) or not all(isinstance(name, str) for name in methods):
        raise Sim2StreetError(f"methods is {shown(methods)}; expected a list of names from /methods.")
    for name in methods:
        if name not in known:
            raise Sim2StreetError(f"There is no method {shown(name)}; known are {', '.join(known)}.")
    return list(dict.fromkeys(methods))


def _plain(state: Comparison) -> dict[str, Any]:
    width, height = state.scene.photo.size
    methods = {}
    for entrant in state.entrants:
        pane, score = entrant.reading.pane, entrant.score
        names = pane.space.names
        answer: dict[str, Any] = {
            "title": entrant.reading.title,
            "labels_png": base64.b64encode(panes.label_image(pane)).decode("ascii"),
            "shares": dict(zip(names, pane.class_shares, strict=True)),
            "mean_entropy": pane.mean_entropy,
            "seconds": pane.seconds,
        }
        if score is not None:
            values = [None if value != value else float(value) for value in score.iou]  # NaN is not equal to itself
            answer |= {"iou": dict(zip(names, values, strict=True)), "mean_iou": float(score.mean_iou)}
        methods[entrant.reading.key] = answer
    failed = {label["title"]: label["reason"] for label in state.bundle["failed"]}
    return {"width": width, "height": height, "classes": state.bundle["classes"], "methods": methods, "failed": failed}
