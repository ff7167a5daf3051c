"""Do the limits on uploads, waiting and time hold?"""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.requests import Request

from diascope import engine
from diascope.errors import InputError
from serving import memory
from serving.capacity import Capacity
from serving.refusals import Refusal
from serving.settings import Settings
from serving.uploads import AT_ONCE, Disconnected, Uploads

Message = dict[str, Any]


def request(receive: Callable[[], Awaitable[Message]], **headers: str) -> Request:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": lines}, receive)


def sending(*chunks: bytes, pause: float = 0, end: bool = True) -> Callable[[], Awaitable[Message]]:
    """A client that sends chunks with pauses, and then ends or hangs."""
    left = list(chunks)

    async def receive() -> Message:
        await asyncio.sleep(pause if left else 0 if end else 100)
        chunk = left.pop(0) if left else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(left) or (not end)}

    return receive


def gone() -> Callable[[], Awaitable[Message]]:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    return receive


def here() -> Request:
    return request(sending(b"", end=False))


async def read(uploads: Uploads, of: Request) -> bytes:
    async with uploads.of(of) as body:
        assert uploads.held == len(body)
        return body


# Uploads


def test_an_upload_arrives_whole_and_counts_until_it_is_done_with() -> None:
    uploads = Uploads(100)
    assert asyncio.run(read(uploads, request(sending(b"abc", b"", b"def")))) == b"abcdef"
    assert uploads.held == 0


@pytest.mark.parametrize(
    "of",
    [
        lambda: request(sending(b"never read"), content_length="101"),
        lambda: request(sending(bytes(60), bytes(41))),
        lambda: request(sending(bytes(60), bytes(41)), content_length="5"),
    ],
)
def test_a_large_upload_is_refused_while_it_arrives(of: Callable[[], Request]) -> None:
    uploads = Uploads(100)
    with pytest.raises(Refusal) as caught:
        asyncio.run(read(uploads, of()))
    assert (caught.value.status, uploads.held) == (413, 0)


def test_a_client_that_hangs_is_given_up() -> None:
    uploads = Uploads(100, pause=0.1, whole=10)
    start = time.monotonic()
    with pytest.raises(Refusal) as caught:
        asyncio.run(read(uploads, request(sending(b"abc", end=False))))
    assert 0.05 < time.monotonic() - start < 5
    assert (caught.value.status, uploads.held) == (408, 0)


def test_a_slow_client_has_time_but_not_for_ever() -> None:
    uploads = Uploads(100, pause=0.4, whole=10)
    assert asyncio.run(read(uploads, request(sending(*[b"a"] * 6, pause=0.1)))) == b"aaaaaa"
    uploads = Uploads(100, pause=0.4, whole=0.5)
    with pytest.raises(Refusal) as caught:
        asyncio.run(read(uploads, request(sending(*[b"a"] * 50, pause=0.1))))
    assert caught.value.status == 408


def test_a_client_that_leaves_holds_nothing() -> None:
    uploads = Uploads(100)
    with pytest.raises(Disconnected):
        asyncio.run(read(uploads, request(gone())))
    assert uploads.held == 0


def test_all_uploads_together_are_limited() -> None:
    uploads = Uploads(100, pause=0.5)

    async def crowd() -> list[Any]:
        hanging = [read(uploads, request(sending(bytes(90), end=False))) for _ in range(2 * AT_ONCE)]
        return await asyncio.gather(*hanging, return_exceptions=True)

    statuses = [refusal.status for refusal in asyncio.run(crowd())]
    assert statuses.count(503) >= AT_ONCE - 1
    assert statuses.count(408) >= AT_ONCE
    assert uploads.held == 0


def test_stopping_waits_for_nobody_who_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.uploads.LAST", 0.1)
    uploads = Uploads(100)

    async def stop() -> list[Any]:
        reading = [asyncio.ensure_future(read(uploads, request(sending(b"a", end=False)))) for _ in range(3)]
        await asyncio.sleep(0.05)
        uploads.hurry()
        late = read(uploads, request(sending(b"a", end=False)))
        return await asyncio.gather(*reading, late, return_exceptions=True)

    start = time.monotonic()
    assert [refusal.status for refusal in asyncio.run(stop())] == [408] * 4
    assert time.monotonic() - start < 5


# Capacity


def test_no_more_threads_than_asked_for_and_no_more_requests_than_admitted() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return number

    async def one(capacity: Capacity, number: int) -> int:
        with capacity:
            return await capacity.run(work, number, request=here())

    async def crowd() -> tuple[list[Any], int]:
        capacity = Capacity(2, 5)
        first = await asyncio.gather(*(one(capacity, i) for i in range(8)), return_exceptions=True)
        assert capacity.admitted == 0
        return first, await one(capacity, 99)

    answers, later = asyncio.run(crowd())
    assert answers[:5] == [0, 1, 2, 3, 4]
    assert [refusal.status for refusal in answers[5:]] == [503] * 3
    assert all(refusal.headers["Retry-After"] for refusal in answers[5:])
    assert (later, most) == (99, 2)


def test_work_that_fails_gives_its_place_back() -> None:
    async def fail(capacity: Capacity) -> None:
        for _ in range(5):
            with pytest.raises(ZeroDivisionError), capacity:
                await capacity.run(lambda: 1 // 0, request=here())
        with capacity:
            assert await capacity.run(lambda: 7, request=here()) == 7

    asyncio.run(fail(Capacity(1, 1)))


def test_nothing_is_computed_for_a_client_that_left_while_it_waited() -> None:
    done = []

    async def crowd() -> list[Any]:
        capacity = Capacity(1, 9)
        waiting = [
            capacity.run(lambda: time.sleep(0.05), request=here()),
            capacity.run(lambda: done.append("gone"), request=request(gone())),
            capacity.run(lambda: done.append("here"), request=here()),
        ]
        return await asyncio.gather(*waiting, return_exceptions=True)

    _, left, stayed = asyncio.run(crowd())
    assert isinstance(left, Disconnected)
    assert (stayed, done) == (None, ["here"])


def test_many_files_leave_room_for_others_and_keep_their_order() -> None:
    finished: list[str] = []

    def work(name: str) -> str:
        time.sleep(0.01)
        finished.append(name)
        return name.upper()

    async def crowd() -> list[str]:
        capacity = Capacity(2, 9)
        batch = asyncio.ensure_future(capacity.each(work, [f"file{i}" for i in range(20)], here()))
        await asyncio.sleep(0.005)
        assert not capacity.alone
        await capacity.run(work, "single", request=here())
        answers = await batch
        assert capacity.alone
        return answers

    assert asyncio.run(crowd()) == [f"FILE{i}" for i in range(20)]
    assert finished.index("single") <= 6


# Memory


def test_memory_is_limited_as_the_container_says(tmp_path: Path) -> None:
    assert memory.limit(tmp_path) == math.inf
    old = tmp_path / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.limit(tmp_path) == math.inf
    (old / "memory.limit_in_bytes").write_text("536870912\n")
    assert memory.limit(tmp_path) == 2**29
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.limit(tmp_path) == 2**29
    (tmp_path / "memory.max").write_text("1000000\n")
    assert memory.limit(tmp_path) == 1_000_000


def test_images_and_uploads_fit_into_what_the_model_leaves(tmp_path: Path) -> None:
    assert memory.room(1, tmp_path) == memory.Room(math.inf, math.inf)
    taken = psutil.Process().memory_info().rss
    (tmp_path / "memory.max").write_text(str(2 * (taken + 400_000_000)))
    found = memory.room(2, tmp_path)
    assert found.pixels * 15 + found.uploads * 2 == pytest.approx(400_000_000, rel=0.2)
    assert found.pixels > 12_000_000
    (tmp_path / "memory.max").write_text("1000")
    assert memory.room(1, tmp_path) == memory.Room(1, 1)


def test_a_small_container_holds_fewer_uploads_but_always_one() -> None:
    assert [Uploads(100, most=most).most for most in (math.inf, 250, 1)] == [100 * AT_ONCE, 250, 100]


# Settings


def test_settings_come_from_the_environment() -> None:
    plain = Settings.read({})
    assert (plain.api_key, plain.max_upload, plain.max_pixels, plain.max_files) == (None, 32_000_000, 36_000_000, 100)
    assert plain.capacity == 32 * engine.cpu_count()
    assert plain.monitoring == Path("monitoring")
    told = {"DIASCOPE_API_KEY": " key ", "DIASCOPE_MAX_UPLOAD_MB": "0.5", "DIASCOPE_MONITORING": ""}
    chosen = Settings.read({**told, "DIASCOPE_CAPACITY": "7", "DIASCOPE_WORKERS": "3"})
    assert (chosen.api_key, chosen.max_upload, chosen.monitoring) == ("key", 500_000, None)
    assert (chosen.capacity, chosen.workers) == (7, 3)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "nan", "inf"])
@pytest.mark.parametrize("name", ["DIASCOPE_MAX_PIXELS", "DIASCOPE_MAX_FILES", "DIASCOPE_CAPACITY", "DIASCOPE_WORKERS"])
def test_settings_that_make_no_sense(name: str, value: str) -> None:
    with pytest.raises(InputError, match=f"{name} is '{value}'"):
        Settings.read({name: value})
    with pytest.raises(InputError):
        Settings.read({"DIASCOPE_MAX_UPLOAD_MB": "nan"})
    with pytest.raises(InputError, match="at most"):
        Settings.read({"DIASCOPE_WORKERS": "1000"})
