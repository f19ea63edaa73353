"""How work is written: the `task` decorator, what a handler is told, and what it may raise.

Knows no network and no cluster: a handler is a function, and calling it just runs it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from copy import copy
from functools import update_wrapper
from types import ModuleType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from cluster.core.model import DEFAULT_QUEUE
from cluster.errors import ConfigurationError
from gateway.submissions import Submission, SubmitOptions, TaskOptions
from node.context import Context, GiveUp

P = ParamSpec("P")
R = TypeVar("R")


class Handler(Generic[P, R]):
    """A function that runs tasks of one type. Calling it runs the function, nothing else.

    A handler with one parameter beside the context is given the task's data as it is; one with
    several is given the members of the data, an object, by name.
    """

    def __init__(
        self,
        name: str,
        function: Callable[Concatenate[Context, P], Any],
        options: SubmitOptions,
        *,
        in_process: bool = False,
    ) -> None:
        self.name = name
        self.function = function
        self.options = options  # What a submission takes where its submitter says nothing.
        self.is_async = inspect.iscoroutinefunction(function)
        self.in_process = in_process
        if in_process:
            _refuse_what_no_process_can_run(self)
        self.parameters = _parameters_after_context(name, function)
        self._signature = inspect.Signature(self.parameters)
        self._named = inspect.Signature(self._by_name())
        update_wrapper(self, function)

    def __call__(self, context: Context, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self.function(context, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<handler of {self.name!r}>"

    def using(self, **options: Unpack[SubmitOptions]) -> Self:
        """The same handler, for submissions with these options: `resize.using(priority="high")`."""
        other = copy(self)
        other.options = {**self.options, **options}
        return other

    def submission(self, *args: P.args, **kwargs: P.kwargs) -> Submission[R]:
        """The submission of a task that calls the handler so."""
        return Submission(self.name, self.encode(*args, **kwargs), **self.options)

    def encode(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Turn a call's arguments into the task's data: what `bind` turns back."""
        is_single = len(self.parameters) == 1
        if is_single and len(args) == 1 and not kwargs:
            return args[0]  # What most calls are; binding costs twenty times as much.
        bound = self._signature.bind(*args, **kwargs)
        if is_single:
            bound.apply_defaults()
            return bound.arguments[self.parameters[0].name]
        return dict(bound.arguments) or None

    def bind(self, payload: Any) -> dict[str, Any]:
        """Turn a task's data into the handler's arguments, by name.

        Raises:
            GiveUp: the data does not fit the parameters, and never will.
        """
        if len(self.parameters) == 1:
            return {self.parameters[0].name: payload}
        members = {} if payload is None else payload
        if not isinstance(members, dict):
            names = ", ".join(parameter.name for parameter in self.parameters) or "nothing"
            raise GiveUp(f"{self.name} takes an object with {names}, not {type(payload).__name__}")
        try:
            # By name only: two parameters' values are never told apart by their order.
            return dict(self._named.bind(**members).arguments)
        except TypeError as error:
            raise GiveUp(f"{self.name}: {error}") from None

    def _by_name(self) -> list[inspect.Parameter]:
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        return [parameter.replace(kind=keyword_only) for parameter in self.parameters]


class AsyncHandler(Handler[P, R]):
    """The handler that an `async def` function makes."""

    if TYPE_CHECKING:

        def __call__(
            self, context: Context, *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[Any, Any, R]: ...


class PlainHandler(Handler[P, R]):
    """The handler that a plain function makes."""

    if TYPE_CHECKING:

        def __call__(self, context: Context, *args: P.args, **kwargs: P.kwargs) -> R: ...


class Decorator(Protocol):
    """What `task` returns: it makes a handler of a function of either kind."""

    @overload  # A coroutine is a result too; mypy takes the first that fits, and so do we.
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncHandler[P, R]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> PlainHandler[P, R]: ...


def task(name: str, *, process: bool = False, **options: Unpack[TaskOptions]) -> Decorator:
    """Make a function the handler of the tasks of type *name*.

    The first parameter is the `Context`. `async def` handlers share the worker's loop, plain ones
    run on threads of their own, or, with *process*, in processes. The other options, such as
    `queue`, `timeout` (seconds) and `max_attempts`, are those of its submissions.
    """
    unknown = options.keys() - TaskOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"the task type {name!r} has no option {', '.join(sorted(unknown))}")

    def decorate(function: Callable[..., Any]) -> Any:
        kind = AsyncHandler if inspect.iscoroutinefunction(function) else PlainHandler
        return kind(name, function, cast("SubmitOptions", options), in_process=process)

    return decorate


def by_type(handlers: Iterable[Handler[..., Any]]) -> dict[str, Handler[..., Any]]:
    """Task type -> handler.

    Raises:
        ConfigurationError: two functions claim one type.
        TypeError: one is no handler.
    """
    found: dict[str, Handler[..., Any]] = {}
    for handler in handlers:
        if not isinstance(handler, Handler):
            raise TypeError(f"{handler!r} is no handler: @task makes one of it")
        # One with other options (`using`) runs the same function.
        if found.setdefault(handler.name, handler).function is not handler.function:
            raise ConfigurationError(f"two handlers claim the task type {handler.name!r}")
    return found


def queues_of(handlers: Mapping[str, Handler[..., Any]]) -> tuple[str, ...]:
    """The queues that their tasks wait in: default, and those that they name."""
    named = (handler.options.get("queue", DEFAULT_QUEUE) for handler in handlers.values())
    return tuple(sorted({DEFAULT_QUEUE, *named}))


def handlers_in(modules: Iterable[ModuleType]) -> dict[str, Handler[..., Any]]:
    """Collect what the modules define or import by name: task type -> handler.

    Raises:
        ConfigurationError: two functions claim one type.
    """
    values = (value for module in modules for value in vars(module).values())
    return by_type(value for value in values if isinstance(value, Handler))


def load_handlers(module_names: Iterable[str]) -> dict[str, Handler[..., Any]]:
    """Import the modules and collect their handlers.

    Raises:
        ConfigurationError: a module is not there, or holds no handler.
    """
    modules = []
    for name in module_names:
        missing = f"there is no module {name!r} on the path or here: name it as an import does"
        if not all(name.split(".")):
            raise ConfigurationError(missing)
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # The module is there; what *it* imports is not: its traceback says which.
            raise ConfigurationError(missing) from None
        if not handlers_in([module]):
            where = getattr(module, "__file__", None) or "no file"
            raise ConfigurationError(f"module {name!r}, found in {where}, holds no @task handler")
        modules.append(module)
    return handlers_in(modules)


def _refuse_what_no_process_can_run(handler: Handler[..., Any]) -> None:
    if handler.is_async:
        raise TypeError(f"the handler of {handler.name!r} is async: one in a process must be plain")
    if "<locals>" in handler.function.__qualname__:
        raise TypeError(
            f"the handler of {handler.name!r} is inside a function: a process imports it by name,"
            " so put it at its module's top"
        )


def _parameters_after_context(
    name: str, function: Callable[..., Any]
) -> tuple[inspect.Parameter, ...]:
    parameters = tuple(inspect.signature(function).parameters.values())
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if not parameters:
        raise TypeError(
            f"the handler of {name!r} takes no context: its first parameter must be one"
        )
    if any(parameter.kind in variadic for parameter in parameters):
        raise TypeError(f"the handler of {name!r} takes * or **: name each parameter instead")
    if any(parameter.kind is inspect.Parameter.POSITIONAL_ONLY for parameter in parameters[1:]):
        raise TypeError(f"the handler of {name!r} has positional-only parameters: data has names")
    return parameters[1:]
