"""Runs in goosebit's environment: registers DEVICES devices with tokens, then runs its application under uvicorn.

Device N is `device-N` with the token `token-N`. No device has an update, and the access log is off, as in our cloud.
"""

import asyncio
import socket
import sys

import uvicorn
from goosebit import app
from goosebit.db.config import TORTOISE_CONF
from goosebit.db.models import Device, Hardware, UpdateStateEnum
from tortoise import Tortoise


async def fill(count):
    await Tortoise.init(config=TORTOISE_CONF)
    await Tortoise.generate_schemas()
    hardware = await Hardware.create(model="default", revision="default")
    state = UpdateStateEnum.REGISTERED
    await Device.bulk_create(
        [
            Device(
                id="device-%d" % n, hardware=hardware, sw_version="1.0.0", last_state=state, auth_token="token-%d" % n
            )
            for n in range(count)
        ]
    )
    await Tortoise.close_connections()


asyncio.run(fill(int(sys.argv[1])))
with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as asyncio does for its own sockets
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, loop="asyncio", log_level="critical", access_log=False)).run(sockets=[listening])
