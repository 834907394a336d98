"""The limit on waits: what is late is ended, what is not is left alone, and nothing is left behind."""

import asyncio

import pytest
from ioto_tools.cloud.http import timeouts


@pytest.fixture
def all_waits(monkeypatch):
    monkeypatch.setattr(timeouts, "LOOK_S", 0.01)
    made = timeouts.Waits()
    yield made
    assert not made._until and not made._late


async def answer(seconds, value):
    await asyncio.sleep(seconds)
    return value


def test_some_are_late_and_some_are_not(all_waits):
    async def main():
        many = [all_waits.wait(answer(0 if n % 3 else 30, n), 0.1 if n % 2 else 60) for n in range(60)]
        tasks = [asyncio.create_task(each) for each in many]
        await asyncio.sleep(0.3)
        for task in tasks[::6]:  # would wait for half a minute, and may
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    for n, found in enumerate(asyncio.run(main())):
        if n % 3:
            assert found == n
        else:
            assert type(found) is (TimeoutError if n % 2 else asyncio.CancelledError), n


def test_what_waits_is_cancelled_and_the_task_goes_on(all_waits):
    async def main():
        told = []

        async def stubborn():
            try:
                await asyncio.sleep(30)
            finally:
                told.append("ended")

        for _ in range(3):
            with pytest.raises(TimeoutError):
                await all_waits.wait(stubborn(), 0.01)
        await asyncio.sleep(0)
        return told, await all_waits.wait(answer(0.05, "goes on"), 5), asyncio.current_task().cancelling()

    assert asyncio.run(main()) == (["ended"] * 3, "goes on", 0)


def test_an_error_is_the_callers(all_waits):
    async def fails():
        raise KeyError("a")

    async def main():
        with pytest.raises(KeyError):
            await all_waits.wait(fails(), 5)

    asyncio.run(main())


def test_somebody_elses_cancelling_is_not_taken_for_lateness(all_waits):
    """Cancelled by its own limit and by another at the same time: the other counts."""

    async def main():
        task = asyncio.create_task(all_waits.wait(asyncio.sleep(30), 0.01))
        await asyncio.sleep(0)
        all_waits._until[task] = 0
        all_waits._cancel_late(asyncio.get_running_loop())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_nobody_looks_when_nobody_waits(all_waits):
    async def main():
        await all_waits.wait(answer(0, 1), 5)
        await asyncio.sleep(0.05)
        return all_waits._next_check

    assert asyncio.run(main()) is None
