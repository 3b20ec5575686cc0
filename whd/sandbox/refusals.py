"""What the compiler says about what it refuses: the reason, and the way to do it instead.

Pure text. A sandbox that only says no is replaced by one that does not (SANDBOX, trap 13).
"""

from __future__ import annotations

from .names import CLASS_METHODS

# Builtins that flows do not have, unless they bind the name themselves.
MISSING_BUILTINS = {
    "exec": "put the code into a function and call it",
    "eval": "use json.loads for data, or a dict of functions for choices",
    "compile": "put the code into a function and call it",
    "open": "keep data in a setting (system.setting) or a file record (system.file); for text in memory io.StringIO",
    "input": "what the caller sent is this.get('input_value')",
    "globals": "keep what you need in a dict of your own",
    "locals": "keep what you need in a dict of your own",
    "vars": "keep what you need in a dict of your own",
    "dir": "name the attributes that you need, or ask hasattr(x, 'name')",
    "breakpoint": "use this.log to see values",
    "help": "read the documentation of flows",
    "memoryview": "slice the bytes themselves",
    "exit": "use this.success() or this.error() to end the flow",
    "quit": "use this.success() or this.error() to end the flow",
    "reload": "imports are fresh in each execution",
}

_HTTP = "use this.task('REST', url=…)"
_PARALLEL = "use this.flow(name, wait=False) and this.wait_for"
_MODULES = {
    **dict.fromkeys(("requests", "httpx", "http", "urllib", "urllib3", "aiohttp", "socket", "ssl"), _HTTP),
    **dict.fromkeys(("threading", "multiprocessing", "concurrent", "asyncio", "queue"), _PARALLEL),
    **dict.fromkeys(("logging", "pprint", "warnings"), "use this.log"),
    **dict.fromkeys(("pickle", "marshal", "shelve"), "use json"),
    **dict.fromkeys(("subprocess", "sys", "ctypes", "signal"), "a flow has no operating system around it"),
    **dict.fromkeys(
        ("pathlib", "shutil", "tempfile", "glob"), "use file records (system.file), os.path for their names"
    ),
    "pytz": "use zoneinfo",
    "cloudomation": "use flow_api",
    "dateutil": "use datetime, and calendar.monthrange for the length of a month",
    **dict.fromkeys(("pystache", "jinja2", "chevron", "mako"), "use an f-string or string.Template, and html.escape"),
    "xmltodict": "use re for what is simple",
    "lxml": "use re for what is simple",
    "bs4": "use re for what is simple",
    "simplejson": "use json",
    "traceback": "an error that is not caught shows its lines in the message; repr(error) is its text",
}

_ATTRIBUTES = {
    "__class__": "use isinstance(x, …) or type(x)",
    "__dict__": "keep what you need in a dict of your own",
    "__name__": "use repr(x), or type(x) in a text",
    "__doc__": "write the text where it is needed",
    "__traceback__": "repr(error) has type and text; an error that is not caught shows its lines in the message",
    "_asdict": "name the fields: {'x': point.x, 'y': point.y}; a dataclass has dataclasses.asdict",
    "_replace": "make a new one from its fields; a dataclass has dataclasses.replace",
    "_fields": "name the fields; a dataclass has dataclasses.fields",
    "__init__": "call the class, or super().__init__(…) within a method of a class",
}

_NODES = {
    "Match": ("`match` is not available", "use if / elif"),
    "AsyncFunctionDef": (
        "`async def` is not available",
        "use def; children run in parallel with this.flow(…, wait=False)",
    ),
    "AsyncFor": ("`async for` is not available", "use for"),
    "AsyncWith": ("`async with` is not available", "use with"),
    "Await": ("`await` is not available", "call it directly: this.sleep, this.flow and the others wait by themselves"),
    "TryStar": (
        "`except*` is not available",
        "use except ExceptionGroup as group, and group.split(ValueError) for its parts",
    ),
    "TypeAlias": ("a `type` statement is not available", "leave it out, or assign: Name = …"),
    "TypeVar": ("type parameters are not available", "leave out the square brackets"),
    "ParamSpec": ("type parameters are not available", "leave out the square brackets"),
    "TypeVarTuple": ("type parameters are not available", "leave out the square brackets"),
}  # fmt: skip


BARE_LIB = ("`import lib` names no module", "write `from lib import name` or `import lib.name`")


def lib_package(name: str) -> tuple[str, str]:
    """`import lib.a.b`."""
    _lib, module, *_rest = name.split(".")
    return f"there is no package in lib: `{name}`", f"put the file into lib itself, and import `lib.{module}`"


def private_name(name: str) -> tuple[str, str]:
    """A variable, function, argument or class whose name starts with an underscore."""
    if name in ("__name__", "__file__", "__main__"):
        return f"`{name}` is not available", "a flow is started by its handler; put the code there"
    if name == "__import__":
        return "`__import__` is not available", "use an import statement"
    if name.startswith("__") and name.endswith("__"):
        return (
            f"`{name}` is not available",
            f"of the special names a class may define {', '.join(sorted(CLASS_METHODS))}",
        )
    return f"the name `{name}` starts with an underscore", f"call it `{name.strip('_') or 'value'}`"


def private_attribute(name: str) -> tuple[str, str]:
    """An attribute whose name starts with an underscore."""
    instead = _ATTRIBUTES.get(name, "use the object's public attributes and methods")
    return f"the attribute `{name}` starts with an underscore", instead


def internal_attribute(name: str) -> tuple[str, str]:
    """An attribute of frames, code, tracebacks, generators; or a window on the bytes of a BytesIO."""
    if name == "getbuffer":
        return "`getbuffer` is not available", "getvalue() gives the bytes"
    return f"the attribute `{name}` belongs to the interpreter", "use this.log to see values while the flow runs"


def careful_assignment(name: str) -> tuple[str, str]:
    """`x.format += y` and its kin."""
    return f"`{name}` cannot be read and changed in one statement", f"write x.{name} = x.{name} + y"


def missing_builtin(name: str) -> tuple[str, str]:
    """A builtin that flows do not have."""
    return f"`{name}` is not available", MISSING_BUILTINS[name]


def module_instead(name: str) -> str:
    """What to do instead of importing a module that flows do not have, "" where nothing special comes to mind."""
    return _MODULES.get(name.partition(".")[0], "")


_MODULE_NAMES = {
    "os.environ": "keep it in a setting: system.setting(name).get('value')",
    "os.getenv": "keep it in a setting: system.setting(name).get('value')",
    "os.listdir": "file records are listed by system.files()",
    "os.remove": "file records are deleted by system.file(name).delete()",
    "os.system": "a flow has no operating system around it",
    "yaml.load": "use yaml.safe_load",
    "yaml.dump": "use yaml.safe_dump",
    "operator.attrgetter": "use a lambda: lambda x: x.name",
    "operator.methodcaller": "use a lambda: lambda x: x.method()",
}


def module_name_instead(module: str, name: str) -> str:
    """What to do instead of a name that a module does not have for flows, "" where nothing special comes to mind."""
    return _MODULE_NAMES.get(f"{module}.{name}", "")


def node(kind: str) -> tuple[str, str]:
    """A construct that is refused as a whole."""
    return _NODES.get(kind, (f"`{kind}` is not available", "write it with the statements of Python 3.8"))
