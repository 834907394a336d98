"""Timeouts of waits: late waits are cancelled, others are not, and no state is left behind."""

import asyncio

import pytest
from ioto_tools.cloud.http import timeouts


@pytest.fixture
def all_waits(monkeypatch):
    monkeypatch.setattr(timeouts, "CHECK_INTERVAL_S", 0.01)
    made = timeouts.Timeouts()
    yield made
    assert not made._until and not made._late


async def answer(seconds, value):
    await asyncio.sleep(seconds)
    return value


def test_only_late_waits_time_out(all_waits):
    async def main():
        many = [all_waits.wait(answer(0 if n % 3 else 30, n), 0.1 if n % 2 else 60) for n in range(60)]
        tasks = [asyncio.create_task(each) for each in many]
        await asyncio.sleep(0.3)
        for task in tasks[::6]:  # these would end within their limit, but too late for this test
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    for n, found in enumerate(asyncio.run(main())):
        if n % 3:
            assert found == n
        else:
            assert type(found) is (TimeoutError if n % 2 else asyncio.CancelledError), n


def test_late_awaitable_is_cancelled_and_the_task_continues(all_waits):
    async def main():
        events = []

        async def stubborn():
            try:
                await asyncio.sleep(30)
            finally:
                events.append("ended")

        for _ in range(3):
            with pytest.raises(TimeoutError):
                await all_waits.wait(stubborn(), 0.01)
        await asyncio.sleep(0)
        return events, await all_waits.wait(answer(0.05, "continues"), 5), asyncio.current_task().cancelling()

    assert asyncio.run(main()) == (["ended"] * 3, "continues", 0)


def test_error_is_raised_in_the_caller(all_waits):
    async def fails():
        raise KeyError("a")

    async def main():
        with pytest.raises(KeyError):
            await all_waits.wait(fails(), 5)

    asyncio.run(main())


def test_cancellation_by_other_code_is_not_a_timeout(all_waits):
    """A task that is cancelled by its limit and by other code at the same time counts as cancelled, not as late."""

    async def main():
        task = asyncio.create_task(all_waits.wait(asyncio.sleep(30), 0.01))
        await asyncio.sleep(0)
        all_waits._until[task] = 0
        all_waits._cancel_late(asyncio.get_running_loop())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_checks_stop_when_nothing_waits(all_waits):
    async def main():
        await all_waits.wait(answer(0, 1), 5)
        await asyncio.sleep(0.05)
        return all_waits._next_check

    assert asyncio.run(main()) is None
