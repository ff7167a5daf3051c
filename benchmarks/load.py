"""How does a server answer many clients? One process, raw HTTP/1.1, bodies made beforehand."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks import child

TIMEOUT = 120  # seconds that one answer may take before it counts as an error
PAUSE = 0.05  # seconds after an error: a server that is away is not asked ten thousand times


@dataclass
class Taken:
    """What the clients saw."""

    milliseconds: list[float] = field(default_factory=list)  # of answers with status 200 alone
    failed: dict[str, int] = field(default_factory=dict)  # other statuses, and errors by name

    def fail(self, name: str) -> None:
        """Count an answer that was none."""
        self.failed[name] = self.failed.get(name, 0) + 1


class Connection:
    """One client's connection, opened again where the server closes it."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> int:
        """Send a request, read the whole answer, return its status (RFC 9112, section 6.3)."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port, limit=2**20)
        reader, writer = self._streams
        writer.write(request)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        status = int(first.split(" ")[1])
        headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        closes = headers.get("connection") == "close"
        if headers.get("transfer-encoding") == "chunked":
            await _chunks(reader)
        elif "content-length" in headers:
            await reader.readexactly(int(headers["content-length"]))
        else:
            await reader.read()
            closes = True
        if closes:
            self.close()
        return status

    def close(self) -> None:
        """Hang up."""
        if self._streams:
            self._streams[1].close()
            self._streams = None


async def _chunks(reader: asyncio.StreamReader) -> None:
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readline()


async def _client(asked: dict[str, Any], requests: list[bytes], first: int, until: float, taken: Taken) -> None:
    connection = Connection(asked["host"], asked["port"])
    for request in islice(cycle(requests), first, None):
        start = time.perf_counter()
        if start > until:
            break
        try:
            status = await asyncio.wait_for(connection.exchange(request), TIMEOUT)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            connection.close()
            taken.fail(type(error).__name__)
            await asyncio.sleep(PAUSE)
            continue
        if status == 200:
            taken.milliseconds.append(1000 * (time.perf_counter() - start))
        else:
            taken.fail(str(status))
    connection.close()


async def _run(asked: dict[str, Any], requests: list[bytes], seconds: float) -> Taken:
    taken, until = Taken(), time.perf_counter() + seconds
    clients = [_client(asked, requests, 3 * i, until, taken) for i in range(asked["clients"])]
    await asyncio.gather(*clients)
    return taken


def main() -> None:
    """Send requests from some clients for some seconds; print latencies in milliseconds, seconds and failures."""
    asked = child.options()
    requests = [path.read_bytes() for path in sorted(Path(asked["requests"]).iterdir())]
    start = time.perf_counter()
    taken = asyncio.run(_run(asked, requests, asked["seconds"]))
    answer = {"milliseconds": taken.milliseconds, "failed": taken.failed, "seconds": time.perf_counter() - start}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
