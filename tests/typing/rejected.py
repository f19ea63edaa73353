"""Calls that mypy must refuse: each such line ends with the error's code. Never run."""

from __future__ import annotations

from gateway import BlockingClient, Client
from node import Context, task
from tests.typing.work import add, resize, tick


async def submitting(client: Client) -> None:
    await client.submit(resize)  # E: call-overload
    await client.submit(resize, 3)  # E: call-overload
    await client.submit(resize, "http://a", "200")  # E: call-overload
    await client.submit(resize, "http://a", width=200)  # E: call-arg
    await client.submit(add, ["1"])  # E: call-overload
    await client.submit(tick, None)  # E: call-overload
    await client.submit(Context())  # E: call-overload
    resize.submission(3)  # E: arg-type
    resize.using(priorty="high")  # E: call-arg


async def submitting_by_type(client: Client) -> None:
    await client.submit("any", 1, priorty="high")  # E: call-overload
    await client.submit("any", 1, priority="urgent")  # E: call-overload
    await client.submit("any", 1, delay="5")  # E: call-overload
    await client.submit("any", data=1)  # E: call-overload


async def results(client: Client) -> None:
    handle = await client.submit(resize, "http://a")
    text: str = await handle.result()  # E: assignment
    text = handle.result()  # E: assignment
    await handle.result(60)  # E: call-arg
    many = await client.submit_many([add.submission([1])])
    text = await many[0].result()  # E: assignment
    client.tasks(state="failed")  # E: call-arg
    client.tasks(status="fialed")  # E: arg-type
    async for listed in await client.tasks():  # E: misc
        listed.clear()


def blocking(client: BlockingClient) -> None:
    client.submit(resize)  # E: call-overload
    client.submit(add, [1], queue="q")  # E: call-arg
    text: str = client.submit(resize, "http://a").result()  # E: assignment
    client.task(3)  # E: arg-type
    client.cancel()  # E: call-arg
    client.tasks(state="failed")  # E: call-arg
    client.tasks_page(status="fialed")  # E: arg-type


@task("a", timeuot=5)  # E: call-arg
def wrong_option(_context: Context) -> None: ...


@task("b")  # E: arg-type
def no_context(number: int) -> int:
    return number


async def calling_handlers_themselves() -> None:
    add(Context(), "12")  # E: arg-type
    await resize(Context())  # E: call-arg
