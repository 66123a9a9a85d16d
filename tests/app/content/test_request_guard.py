"""Requests as a hostile client sends them, against a server that does nothing but read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from sim2street.app.content import request_guard
from sim2street.app.content.limits import ByteBudget, RateLimit
from sim2street.app.content.request_guard import RequestGuard, UploadRoute


class Told:
    def __init__(self) -> None:
        self.words: list[str] = []

    def admit(self, path: str, size: int) -> None:
        self.words.append("admitted")

    def arrived(self, path: str, answer: bytes) -> None:
        self.words.append(f"arrived {answer.decode()}")

    def ended(self, path: str) -> None:
        self.words.append("ended")


async def read(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def server(told: Told, **options: Any) -> TestClient:
    route = UploadRoute(r"/upload$", "POST", 1000, told)
    routes = [Route("/upload", read, methods=["POST"]), Route("/page", read, methods=["GET", "POST"])]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(RequestGuard, uploads=route, **options)]))


def chunks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * 2**16


@pytest.mark.parametrize("path", ["/page", "/nowhere"])
def test_every_answer_has_the_headers(path: str) -> None:
    headers = server(Told()).get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "strict-origin" in headers["referrer-policy"]
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'self' https://huggingface.co https://*.hf.space" in policy
    assert "img-src 'self' data: blob:;" in policy
    assert "object-src 'none'" in policy


def test_an_upload_is_told_from_its_beginning_to_its_end() -> None:
    told = Told()
    assert server(told).post("/upload", content=b"x" * 900).text == "900"
    assert told.words == ["admitted", "arrived 900", "ended"]


def test_a_large_upload_or_one_of_unknown_size_is_not_read() -> None:
    told = Told()
    client = server(told)
    assert client.post("/upload", content=b"x" * 1001).status_code == 413
    assert client.post("/upload", content=chunks(1)).status_code == 411
    assert told.words == []


def test_other_bodies_are_bounded_whatever_their_header_says() -> None:
    answer = server(Told()).post("/page", content=chunks(request_guard.MAX_BODY // 2**16 + 1))
    assert answer.status_code == 413
    assert "larger than the limit of 4 MB" in answer.text
    assert "content-security-policy" in answer.headers


def test_uploads_are_rate_limited() -> None:
    client = server(Told(), rate=RateLimit(2, 60))
    assert [client.post("/upload", content=b"x").status_code for _ in range(3)] == [200, 200, 429]


def test_what_arrives_at_once_has_a_budget_which_is_given_back() -> None:
    budget = ByteBudget(1000)
    client = server(Told(), budget=budget)
    with budget.holding(900):
        refused = client.post("/upload", content=b"x" * 200)
    assert refused.status_code == 429
    assert "Try again in a minute" in refused.text
    assert client.post("/upload", content=b"x" * 200).status_code == 200
    assert budget.held == 0
