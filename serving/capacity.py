"""How is load limited?"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from starlette.requests import Request

from serving.refusals import Refusal
from serving.uploads import Disconnected

A = TypeVar("A")
T = TypeVar("T")


class Capacity:
    """Threads that work on images, and the number of requests that may run or wait for them.

    Images take turns in the order in which they asked, whichever request they belong to.
    """

    def __init__(self, threads: int, most: int) -> None:
        self.threads = threads
        self.most = most
        self.admitted = 0
        self._images = 0  # that run or wait
        self._turns = asyncio.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="image")

    def __enter__(self) -> None:
        """Admit a request.

        Raises
        ------
        Refusal: as many as may wait are waiting.
        """
        self.check()
        self.admitted += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.admitted -= 1

    @property
    def alone(self) -> bool:
        """Whether there is no more than one image in the house."""
        return self._images <= 1

    def check(self) -> None:
        """Raise Refusal where a request would not be admitted now."""
        if self.admitted >= self.most:
            raise Refusal(503, "capacity", "The service is busy; try again in a second.", {"Retry-After": "1"})

    async def run(self, work: Callable[..., T], *arguments: object, request: Request) -> T:
        """Return what `work` returns in a thread; it does not start where nobody waits for it any more.

        Raises
        ------
        Disconnected: the client went away while the image waited for its turn.
        """
        waits = self._turns.locked()
        self._images += 1
        try:
            async with self._turns:
                if waits and await request.is_disconnected():
                    raise Disconnected
                return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._images -= 1

    async def each(self, work: Callable[[A], T], items: Sequence[A], request: Request) -> list[T]:
        """Return what `work` returns for each item, in order; one request never holds more than every thread."""
        answers: dict[int, T] = {}
        left = iter(enumerate(items))

        async def one_after_another() -> None:
            for place, item in left:
                answers[place] = await self.run(work, item, request=request)

        await asyncio.gather(*(one_after_another() for _ in range(min(self.threads, len(items)))))
        return [answers[place] for place in range(len(items))]
