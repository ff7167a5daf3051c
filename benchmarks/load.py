"""How does a server answer many clients? One process, raw HTTP/1.1, bodies made beforehand."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import child

TIMEOUT = 120  # seconds that one answer may take before it counts as an error


@dataclass
class Taken:
    """What the clients saw."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)  # other than 200, by name

    def failed(self, name: str) -> None:
        """Count an answer that was none."""
        self.statuses[name] = self.statuses.get(name, 0) + 1


class Connection:
    """One client's connection, opened again where the server closes it."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> int:
        """Send a request, read the whole answer, return its status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port, limit=2**20)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if "content-length:" in head:
            await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
        else:
            await _chunks(reader)
        if "connection: close" in head:
            self.close()
        return int(head.split(" ", 2)[1])

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
    place = first
    while time.perf_counter() < until:
        start = time.perf_counter()
        try:
            status = await asyncio.wait_for(connection.exchange(requests[place % len(requests)]), TIMEOUT)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            connection.close()
            taken.failed(type(error).__name__)
            continue
        taken.milliseconds.append(1000 * (time.perf_counter() - start))
        if status != 200:
            taken.failed(str(status))
        place += 1
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
    answer = {"milliseconds": taken.milliseconds, "failed": taken.statuses, "seconds": time.perf_counter() - start}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
