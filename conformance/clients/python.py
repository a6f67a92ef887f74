"""The `websockets` package from PyPI, and bare sockets, against an echo server. Prints TAP.

    python.py ws://127.0.0.1:PORT /path/of/its/unix/socket
"""

import asyncio
import random
import socket
import struct
import sys
from urllib.parse import urlsplit

from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed

URL, UNIX = sys.argv[1:]
HOST, PORT = urlsplit(URL).hostname, urlsplit(URL).port
SECONDS_MAX = 60
CHECKS = []
LENGTHS = [0, 1, 125, 126, 127, 4095, 4096, 65_535, 65_536, 1 << 20, 8 << 20]


def check(function):
    CHECKS.append(function)
    return function


def client(**options):
    return connect(URL, max_size=None, ping_interval=None, **options)


@check
async def binary_of_every_length_comes_back_whole():
    async with client() as ws:
        for length in LENGTHS:
            sent = random.randbytes(length)
            await ws.send(sent)
            same(await ws.recv(), sent)


@check
async def text_in_any_script_comes_back_whole():
    async with client() as ws:
        for text in ["", "plain", "Grüße, 世界 🦀", "\0\x7f\x80\uffff\U0010ffff", "é" * 70_000]:
            await ws.send(text)
            same(await ws.recv(), text)


@check
async def fragments_become_one_message():
    async with client() as ws:
        await ws.send(["frag", "", "mentié", "🦀" * 1000])
        same(await ws.recv(), "fragmentié" + "🦀" * 1000)
        await ws.send([b"\xf0", b"\x9f", b"\xa6\x80"])
        same(await ws.recv(), "🦀".encode())
        await ws.send([b"\xf0", b"\x9f", b"\xa6\x80"], text=True)
        same(await ws.recv(), "🦀")


@check
async def ten_thousand_messages_in_flight_keep_their_order():
    async with client() as ws:

        async def send():
            for number in range(10_000):
                await ws.send(str(number))

        sender = asyncio.create_task(send())
        for number in range(10_000):
            same(await ws.recv(), str(number))
        await sender


@check
async def a_slow_reader_gets_everything():
    sent = [random.randbytes(256 << 10) for _ in range(64)]
    async with client(max_queue=1) as ws:

        async def send():
            for message in sent:
                await ws.send(message)

        sender = asyncio.create_task(send())
        await asyncio.sleep(1)
        for message in sent:
            same(await ws.recv(), message)
        await sender


@check
async def two_hundred_connections_do_not_mix():
    async def talk(me):
        async with client() as ws:
            for turn in range(50):
                await ws.send(f"{me}/{turn}")
                same(await ws.recv(), f"{me}/{turn}")

    await asyncio.gather(*map(talk, range(200)))


@check
async def a_ping_is_answered_with_its_payload():
    async with client() as ws:
        for payload in [b"", b"ping", bytes(125)]:
            await (await ws.ping(payload))


@check
async def a_close_is_answered_with_its_code():
    for code in [1000, 1001, 1011, 3000, 4999]:
        async with client() as ws:
            await ws.close(code, "because 🦀")
            same(ws.close_code, code)
            same(ws.protocol.close_rcvd.code, code)


@check
async def an_unclean_text_is_refused_with_1007():
    async with client() as ws:
        await ws.send(b"caf\xe9", text=True)
        same(await close_code(ws), 1007)


@check
async def a_message_too_long_is_refused_with_1009():
    ws = await client()
    try:
        await ws.send(bytes((16 << 20) + 1))
    except ConnectionClosed:
        pass  # refused on its header already
    same(await close_code(ws), 1009)
    # No close() here: with bytes still unsent it aborts the transport, and asyncio may have lost it
    # by then (AttributeError in _force_close of Python 3.11).


@check
async def a_panic_costs_its_own_connection_only():
    async with client() as bystander, client() as victim:
        await victim.send("please panic")
        same(await close_code(victim), 1011)
        await bystander.send("still here")
        same(await bystander.recv(), "still here")


@check
async def a_unix_socket_serves_as_well():
    async with unix_connect(UNIX, "ws://localhost/") as ws:
        await ws.send("through a file")
        same(await ws.recv(), "through a file")


# What no well-behaved library can be made to send.

HEAD = (
    b"GET /chat?x=y HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
KEY = b"\x12\x34\x56\x78"


@check
async def bytes_may_arrive_one_at_a_time():
    reader, writer = await raw()
    for byte in HEAD + masked(0x81, b"drip"):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    same(await answer_head(reader), (101, True))
    same(await reader.readexactly(6), b"\x81\x04drip")
    writer.close()


@check
async def frames_may_follow_the_request_in_one_segment():
    reader, writer = await raw()
    writer.write(HEAD + masked(0x81, b"at") + masked(0x82, b"once"))
    same(await answer_head(reader), (101, True))
    same(await reader.readexactly(10), b"\x81\x02at\x82\x04once")
    writer.close()


@check
async def an_unmasked_frame_is_refused_with_1002():
    reader, writer = await raw()
    writer.write(HEAD)
    same(await answer_head(reader), (101, True))
    writer.write(b"\x81\x02no")
    frame = await reader.readexactly(4)
    same((frame[0], frame[2:]), (0x88, struct.pack(">H", 1002)))
    writer.close()


@check
async def a_request_that_is_no_handshake_is_refused():
    for old, new, statuses in [
        (b"Version: 13", b"Version: 12", {426}),
        (b"Upgrade: websocket", b"Upgrade: h2c", range(400, 500)),
        (b"Connection: Upgrade", b"Connection: close", range(400, 500)),
        (b"Key: dGhlIHNhbXBsZSBub25jZQ==", b"Key: c2hvcnQ=", {400}),
        (b"Sec-WebSocket-Key", b"X-Key", {400}),
        (b"GET", b"POST", {400, 405}),
        (b"HTTP/1.1", b"HTTP/1.0", {400, 426, 505}),
        (b"Host: localhost\r\n", b"", {400}),
        (b"GET /", b"\x00\x01\x02\xff", {400}),
    ]:
        reader, writer = await raw()
        writer.write(HEAD.replace(old, new, 1))
        status, _ = await answer_head(reader)
        if status not in statuses:
            raise AssertionError(f"{new!r} was answered with {status}")
        writer.close()


@check
async def a_reset_in_the_middle_of_a_message_hurts_nobody():
    async with client() as bystander:
        for _ in range(20):
            reader, writer = await raw()
            writer.write(HEAD + masked(0x02, bytes(100))[:50])
            await answer_head(reader)
            linger_off = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_off)
            writer.transport.abort()
        await bystander.send("still here")
        same(await bystander.recv(), "still here")


async def raw():
    reader, writer = await asyncio.open_connection(HOST, PORT)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reader, writer


async def answer_head(reader):
    """The status of the response, and whether it accepts our key."""
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), ACCEPT in head


def masked(first, payload):
    """A short masked frame."""
    body = bytes(byte ^ KEY[index % 4] for index, byte in enumerate(payload))
    return bytes([first, 0x80 | len(payload)]) + KEY + body


async def close_code(ws):
    """The code the server closes with; nothing else may come before it."""
    try:
        surprise = await ws.recv()
    except ConnectionClosed as closed:
        return closed.rcvd and closed.rcvd.code
    raise AssertionError(f"expected a close, got {surprise[:40]!r}")


def same(seen, expected):
    if seen != expected:
        raise AssertionError(f"expected {expected!r:.80}, got {seen!r:.80}")


async def main():
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            await asyncio.wait_for(function(), SECONDS_MAX)
            print("ok -", name, flush=True)
        except Exception as why:
            print("not ok -", name, "#", repr(why).replace("\n", " "), flush=True)
    print(f"1..{len(CHECKS)}")


asyncio.run(main())
