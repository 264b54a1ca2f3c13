"""A small HTTP/1.1 client for load tests: one kept connection, little processor time: it measures the server, not itself."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

SHORTEST_WAIT_S, LONGEST_WAIT_S = 2.0, 60.0


class ConnectionLostError(Exception):
    """No whole answer came."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


async def asked(connection: Connection, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Answer:
    """Ask until an answer comes. What is lost on the way is sent again as the page's own outbox does it (`outbox.js`)."""
    wait_s = SHORTEST_WAIT_S
    while True:
        try:
            return await connection.request(method, path, body, kind)
        except ConnectionLostError:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


class Connection:
    """One browser's connection, with its cookies; opened when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    async def request(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Answer:
        """Send a request and wait for its answer. Raises ConnectionLostError."""
        try:
            if self._streams is not None and self._streams[0].at_eof():  # ended since: opened anew at once, as browsers do it
                self.close()
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._address)
            reader, writer = self._streams
            writer.write(self._head(method, path, len(body), kind) + body)
            return await self._answer(reader)
        except (OSError, EOFError, asyncio.IncompleteReadError, ValueError) as error:
            self.close()
            raise ConnectionLostError(str(error)) from None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _head(self, method: str, path: str, length: int, kind: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._address[0]}:{self._address[1]}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if length:
            lines.append(f"Content-Type: {kind}")
        if self.cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line)]
        length = next((int(value) for name, value in headers if name == "content-length"), 0)
        body = await reader.readexactly(length)
        for name, value in headers:
            if name == "set-cookie":
                cookie, _, content = value.partition(";")[0].partition("=")
                self.cookies[cookie] = content
        if ("connection", "close") in headers:
            self.close()
        return Answer(status, headers, body)
