"""The errors that flows meet and raise: `flow_api`'s tree, and the flow's end, which is no error.

Their `__module__` is flow_api, which is how a flow knows them.
"""

from __future__ import annotations


class CloudomationException(Exception):  # the platform's name, which flows catch
    """Root of the API's errors."""


class PermissionDenied(CloudomationException):
    """The execution's user may not do this."""


class ResourceNotFoundError(CloudomationException):
    """There is no such setting, file, flow or execution."""


class DependencyFailedError(CloudomationException):
    """A child execution failed: `execution` is the first that did, `executions` are all."""

    execution: object = None
    executions: tuple[object, ...] = ()


class TimeoutExceededError(CloudomationException):
    """Waiting took longer than asked for."""


class InvalidInputError(CloudomationException):
    """An argument that the API cannot work with."""


class MissingInputError(CloudomationException):
    """An argument is missing."""


ERRORS: dict[str, type[CloudomationException]] = {
    kind.__name__: kind
    for kind in (
        CloudomationException,
        PermissionDenied,
        ResourceNotFoundError,
        DependencyFailedError,
        TimeoutExceededError,
        InvalidInputError,
        MissingInputError,
    )
}
for _kind in ERRORS.values():
    _kind.__module__ = "flow_api"


class FlowEnd(BaseException):
    """Leaves the flow: how it ended stands in its Run. No handler of a flow sees it (policy.visit_Try)."""

    __module__ = "flow_api"

    def __init_subclass__(cls) -> None:
        raise TypeError("the end of a flow cannot be subclassed")
