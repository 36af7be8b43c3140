"""A server of a few lines whose answers a test decides."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

Reply = tuple[int, bytes]


class TinyServer:
    """HTTP/1.1 on a free port, in a thread of its own. `reply` decides each answer.

    `drop_after` closes each connection after so many answers, without saying so before.
    """

    def __init__(self) -> None:
        self.reply: Callable[[bytes], Awaitable[Reply | None]] = self.always_ok
        self.drop_after: int | None = None
        self.connections = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.received: list[tuple[str, bytes]] = []
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,))
        self._thread.start()
        ready.wait()

    @staticmethod
    async def always_ok(_: bytes) -> Reply | None:
        return 200, b"picture"

    def _run(self, ready: threading.Event) -> None:
        async def serve() -> None:
            self._end = asyncio.Event()
            server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
            self.port: int = server.sockets[0].getsockname()[1]
            ready.set()
            await self._end.wait()
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._loop.run_until_complete(serve())
        self._loop.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        answers = 0
        try:
            while self.drop_after is None or answers < self.drop_after:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                body = await reader.readexactly(length)
                self.received.append((head, body))
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                reply = await self.reply(body)
                self.in_flight -= 1
                if reply is None:
                    break
                status, content = reply
                lines = f"HTTP/1.1 {status} Status\r\nContent-Length: {len(content)}\r\n\r\n"
                writer.write(lines.encode() + content)
                await writer.drain()
                answers += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
