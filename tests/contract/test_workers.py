"""Workers register, hold jobs, are told to stop, and leave."""

from datetime import datetime

import pytest

from queuectl.engine.domain.models import StopOrder
from queuectl.engine.store.base import Change, JobStore, WorkerRow
from tests.contract.steps import add, end, take, take_one
from tests.factories import NOW, make_new_job


async def register(store: JobStore, token: str = "a1b2", *, now: datetime = NOW) -> int:  # noqa: S107
    return await store.register_worker(
        token=token,
        host="here",
        pid=4242,
        boot_id="boot",
        pid_namespace="",
        lock_file=None,
        pipe=None,
        can_restart=False,
        concurrency=4,
        now=now,
    )


async def test_a_worker_is_listed_as_it_registered(store: JobStore) -> None:
    number = await register(store)

    assert await store.workers() == [
        WorkerRow(
            number=number,
            token="a1b2",  # noqa: S106
            host="here",
            pid=4242,
            boot_id="boot",
            pid_namespace="",
            lock_file=None,
            pipe=None,
            can_restart=False,
            concurrency=4,
            started_at=NOW,
            stop=None,
            restart=False,
            busy=0,
        )
    ]


async def test_a_worker_is_listed_with_what_others_need_to_look_at_it(store: JobStore) -> None:
    await store.register_worker(
        token="a1b2",  # noqa: S106
        host="here",
        pid=4242,
        boot_id="boot",
        concurrency=4,
        now=NOW,
        pid_namespace="pid:[4026531836]",
        lock_file="2049:77",
        pipe="c3d4",
        can_restart=True,
    )

    [row] = await store.workers()

    assert (row.pid_namespace, row.lock_file) == ("pid:[4026531836]", "2049:77")
    assert (row.pipe, row.can_restart) == ("c3d4", True)


async def test_workers_are_listed_by_number_with_what_they_hold(store: JobStore) -> None:
    first, second = await register(store, "a"), await register(store, "b")
    await add(store, *(make_new_job(id=f"j{n}") for n in range(5)))
    await take(store, second, limit=3)
    await take(store, first, limit=1)

    rows = await store.workers()

    assert [(row.number, row.busy) for row in rows] == [(first, 1), (second, 3)]
    assert [job.id for job in await store.held_jobs(second)] == ["j0", "j1", "j2"]
    assert [job.id for job in await store.held_jobs(first)] == ["j3"]


async def test_a_number_is_never_used_again(store: JobStore) -> None:
    first = await register(store)
    await store.unregister_worker(first)

    second = await register(store)

    assert second > first


async def test_a_worker_that_holds_jobs_stays(store: JobStore) -> None:
    number = await register(store)
    await add(store, make_new_job())
    job = await take_one(store, number)

    refused = await store.unregister_worker(number)
    await end(store, job)
    done = await store.unregister_worker(number)

    assert (refused, done) == (False, True)
    assert await store.workers() == []


async def test_a_worker_that_gave_its_jobs_back_may_leave(store: JobStore) -> None:
    number = await register(store)
    await add(store, make_new_job())
    await store.release(await take(store, number), now=NOW)

    assert await store.unregister_worker(number)


async def test_jobs_of_others_keep_nobody(store: JobStore) -> None:
    first, second = await register(store, "a"), await register(store, "b")
    await add(store, make_new_job())
    await take(store, second)

    assert await store.unregister_worker(first)
    assert [row.number for row in await store.workers()] == [second]


async def test_a_worker_leaves_once(store: JobStore) -> None:
    number = await register(store)

    assert await store.unregister_worker(number)
    assert not await store.unregister_worker(number)


@pytest.mark.parametrize("stop", StopOrder)
async def test_only_who_is_asked_is_to_stop(store: JobStore, stop: StopOrder) -> None:
    asked, other = await register(store, "a"), await register(store, "b")

    await store.ask_to_stop([asked], stop=stop)

    assert ((await store.orders(asked)).stop, (await store.orders(other)).stop) == (stop, None)
    assert [row.stop for row in await store.workers()] == [stop, None]


async def test_several_are_asked_at_once_and_missing_ones_do_no_harm(store: JobStore) -> None:
    numbers = [await register(store, token) for token in "abc"]

    await store.ask_to_stop([*numbers[:2], 99], stop=StopOrder.DRAIN)

    assert [row.stop for row in await store.workers()] == [StopOrder.DRAIN, StopOrder.DRAIN, None]


async def test_now_can_follow_drain_but_drain_does_not_soften_now(store: JobStore) -> None:
    number = await register(store)

    await store.ask_to_stop([number], stop=StopOrder.DRAIN)
    await store.ask_to_stop([number], stop=StopOrder.NOW)
    await store.ask_to_stop([number], stop=StopOrder.DRAIN)

    assert (await store.orders(number)).stop is StopOrder.NOW


async def test_a_worker_that_is_gone_has_no_orders(store: JobStore) -> None:
    orders = await store.orders(99)

    assert (orders.stop, orders.restart, orders.cancels) == (None, False, {})


async def test_only_who_is_asked_is_to_restart(store: JobStore) -> None:
    numbers = [await register(store, token) for token in "abc"]

    await store.ask_to_restart([numbers[0], numbers[2], 99])

    asked = [(await store.orders(number)).restart for number in numbers]
    assert asked == [True, False, True]


async def test_who_is_to_restart_may_be_told_to_stop_as_well(store: JobStore) -> None:
    number = await register(store)

    await store.ask_to_restart([number])
    await store.ask_to_stop([number], stop=StopOrder.DRAIN)

    orders = await store.orders(number)
    assert (orders.restart, orders.stop) == (True, StopOrder.DRAIN)


async def test_an_order_is_hinted_at(store: JobStore) -> None:
    number = await register(store)
    hints: list[Change] = []
    store.on_commit(hints.append)

    await store.ask_to_restart([number])
    await store.ask_to_stop([number], stop=StopOrder.NOW)

    assert [Change.ORDERS in hint for hint in hints] == [True, True]
