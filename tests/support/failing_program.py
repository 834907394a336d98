"""A program whose version in image N fails, run as main.py runs it: its exceptions end it, and the board resets."""

from rig import MAIN

# The program after it calls main(agent) under run(), which stores the traceback.
RUN = (
    MAIN.replace("import agent\n", "import agent, run\n")
    .replace("asyncio.run(agent(", "run(main(agent(")
    .replace(".run())", "))")
)
# Format it with the body of fail() and the number of the image; `head` must be the start of the running slot.
FAIL = """
async def wait(data, arg):
    await asyncio.sleep(10)

async def fail():
%s

async def main(made):
    if b"image %d" in head:
        await asyncio.gather(made.run(), fail())
    await made.run()
"""
