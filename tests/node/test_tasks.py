"""How handlers are written, found and given their data."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from cluster.errors import ConfigurationError
from node.context import Context, GiveUp
from node.tasks import handlers_in, load_handlers, queues_of, task


@task("greet")
def greet(_context: Context, name: str) -> str:
    return f"Hello {name}"


@task("images.resize", queue="images", timeout=60, max_attempts=5)
async def resize(_context: Context, url: str, width_px: int = 100) -> str:
    return f"{url}@{width_px}"


@task("tick")
def tick(_context: Context) -> str:
    return "tock"


def test_calling_a_handler_just_runs_it() -> None:
    assert greet(Context(), "World") == "Hello World"


async def test_calling_an_async_handler_gives_its_coroutine() -> None:
    assert await resize(Context(), "http://a", width_px=7) == "http://a@7"


def test_a_handler_with_one_parameter_is_given_the_data_as_it_is() -> None:
    assert greet.encode("World") == "World"
    assert greet.bind({"any": "value"}) == {"name": {"any": "value"}}


def test_a_handler_with_several_parameters_is_given_members_by_name() -> None:
    payload = resize.encode("http://a", width_px=200)

    assert payload == {"url": "http://a", "width_px": 200}
    assert resize.bind(payload) == payload


def test_a_parameter_with_a_default_may_be_left_out() -> None:
    assert resize.bind({"url": "http://a"}) == {"url": "http://a"}


@pytest.mark.parametrize(
    "payload", ["http://a", None, {}, {"url": "a", "hieght": 1}, {"width_px": 1}, [1, 2]]
)
def test_data_that_does_not_fit_the_parameters_is_given_up(payload: Any) -> None:
    with pytest.raises(GiveUp, match=r"images\.resize"):
        resize.bind(payload)


def test_a_handler_without_parameters_takes_no_data() -> None:
    assert tick.bind(None) == {}
    with pytest.raises(GiveUp, match="takes an object with nothing, not str"):
        tick.bind("data")


def test_a_handler_must_name_its_parameters() -> None:
    with pytest.raises(TypeError, match="name each parameter"):

        @task("variadic")
        def variadic(_context: Context, *parts: str) -> None: ...


def test_a_handler_must_take_its_context() -> None:
    with pytest.raises(TypeError, match="takes no context"):

        @task("bare")  # type: ignore[arg-type]
        def bare() -> None: ...


def test_an_async_handler_runs_in_no_process() -> None:
    with pytest.raises(TypeError, match="one in a process must be plain"):

        @task("both", process=True)
        async def both(_context: Context) -> None: ...


def test_a_process_needs_a_handler_that_it_can_import() -> None:
    with pytest.raises(TypeError, match="a process imports it by name"):

        @task("inner", process=True)
        def inner(_context: Context) -> None: ...


def test_a_handler_keeps_the_function_s_own_name_and_text() -> None:
    assert greet.__name__ == "greet"  # type: ignore[attr-defined]
    assert resize.options == {"queue": "images", "timeout": 60, "max_attempts": 5}
    assert resize.is_async


def test_a_module_serves_the_handlers_that_it_holds() -> None:
    module = ModuleType("work")
    module.greet = greet  # type: ignore[attr-defined]
    module.same_one_again = greet  # type: ignore[attr-defined]

    assert handlers_in([module]) == {"greet": greet}


def test_a_handler_with_other_options_is_the_same_handler() -> None:
    module = ModuleType("work")
    module.greet = greet  # type: ignore[attr-defined]
    module.urgent = urgent = greet.using(priority="high")  # type: ignore[attr-defined]

    assert handlers_in([module]) == {"greet": greet}
    assert (greet.options, urgent.options) == ({}, {"priority": "high"})


def test_handlers_tasks_wait_where_they_name_and_in_the_default_queue() -> None:
    assert queues_of({"greet": greet}) == ("default",)
    assert queues_of({"greet": greet, "images.resize": resize}) == ("default", "images")


def test_an_unknown_option_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="no option timeuot"):
        task("greet", timeuot=5)  # type: ignore[call-arg]


def test_what_runs_in_a_process_is_no_coroutine() -> None:
    with pytest.raises(TypeError, match="must be plain"):

        @task("greet", process=True)
        async def greet_slowly(_context: Context) -> None: ...


def test_two_handlers_of_one_type_are_refused() -> None:
    @task("greet")
    def impostor(_context: Context, name: str) -> str:
        return name

    module = ModuleType("work")
    module.greet = greet  # type: ignore[attr-defined]
    module.impostor = impostor  # type: ignore[attr-defined]

    with pytest.raises(ConfigurationError, match="two handlers claim the task type 'greet'"):
        handlers_in([module])


def test_a_module_that_is_not_there_is_said_so() -> None:
    with pytest.raises(ConfigurationError, match="no module 'nowhere_to_be_found'"):
        load_handlers(["nowhere_to_be_found"])


@pytest.mark.parametrize("name", ["", "./work.py", "work/", ".work"])
def test_what_no_import_could_name_is_no_module(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no module {name!r} .* name it as an import"):
        load_handlers([name])


@pytest.mark.parametrize(("name", "found"), [("json", json.__file__), ("sys", "no file")])
def test_a_module_without_a_handler_is_refused_and_its_place_told(name: str, found: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_handlers([name])

    assert str(refused.value) == f"module {name!r}, found in {found}, holds no @task handler"


def test_the_built_in_types_are_a_module_like_any_other() -> None:
    assert set(load_handlers(["node.handlers"])) == {
        "process",
        "calculate",
        "echo",
        "sleep",
        "fail",
        "noop",
    }
