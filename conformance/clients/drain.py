"""Stays connected until the server leaves, which has to say goodbye with 1001. Prints TAP."""

import asyncio
import sys

from websockets.asyncio.client import connect


async def main():
    async with connect(sys.argv[1], ping_interval=None) as ws:
        print("# connected", flush=True)
        await asyncio.wait_for(ws.wait_closed(), 60)
    verdict = "ok" if ws.close_code == 1001 else "not ok"
    print(f"{verdict} - a server that leaves says 1001 # got {ws.close_code}")
    print("1..1")


asyncio.run(main())
