"""Run the client that the agent creates from FOLDER's ioto.json, on the unix port; arguments: LIB FOLDER URL...

Prints the verify_mode of its TLS context, then the status of each URL, or the reason for the failure.
"""

import asyncio
import sys

sys.path.insert(0, sys.argv[1])
from ioto import start
from ioto.errors import UpdateError


async def main(folder, urls):
    client = start.agent(folder).client()
    print(client.context.verify_mode)
    for url in urls:
        try:
            reply = await client.request("GET", url, {"Authorization": "bearer secret"})
            await reply.close()
            print(reply.status)
        except UpdateError as e:
            print(e.reason)


asyncio.run(main(sys.argv[2], sys.argv[3:]))
