"""The cost of Starlette and uvicorn alone, with the settings of ioto_tools/cloud/http/server.py."""

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route


async def nothing(request):
    return Response()


if __name__ == "__main__":
    app = Starlette(routes=[Route("/tok/provision/update", nothing, methods=["POST"])])
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as asyncio does for its own sockets
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(
            app, http="h11", loop="asyncio", lifespan="off", log_level="warning", access_log=False, server_header=False
        )
        uvicorn.Server(config).run(sockets=[listening])
