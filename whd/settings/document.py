"""YAML text into plain values, each with its line: the safe loader's rules, within bounds that no file can break.

Read from the parser's events rather than through `yaml.safe_load`, because the loader keeps no lines, takes duplicate
keys, recurses as deep as the text nests and expands aliases without bound. Values hold only JSON types. Because a
webhook's key stands in such files, no fault repeats what a file holds, but for a mapping's keys where they are names.
Nothing here does I/O.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Container
from typing import Any, Final

import yaml

from ..model.snapshot import Fault

MAX_DEPTH: Final = 100
MAX_EXPANDED_BYTES: Final = 16_777_216
MAX_NUMBER_CHARACTERS: Final = 1_000
MAX_FAULTS: Final = 20

# libyaml's scanner where PyYAML was built with it, about ten times as fast; both give the same events.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers
_CONSTRUCTOR: Any = yaml.constructor.SafeConstructor()
_TAG = "tag:yaml.org,2002:"

# YAML 1.1, 5.1: the characters that a stream may hold.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_SURROGATE = re.compile("[\ud800-\udfff]")

TEXT, INT, FLOAT, BOOL, NULL, DATE, LIST, MAP, BAD = (
    "text",
    "int",
    "float",
    "bool",
    "null",
    "date",
    "list",
    "map",
    "bad",
)

KIND_WORDS: Final = {
    TEXT: "text",
    INT: "a whole number",
    FLOAT: "a number",
    BOOL: "true or false",
    NULL: "empty",
    DATE: "a date",
    LIST: "a list",
    MAP: "a mapping",
    BAD: "unreadable",
}


_JSON_KINDS: Final = {str: TEXT, int: INT, float: FLOAT, bool: BOOL, type(None): NULL}


class Node:
    """A value and where it stands. `value` is plain; `text` is a scalar as written; `line` counts from 1.

    `items` of a mapping: name -> (line of the name, node); of a list: the nodes; of a scalar: None.
    """

    __slots__ = ("items", "kind", "line", "size", "text", "value")

    def __init__(self, kind: str, value: Any, line: int, text: str = "", items: Any = None, size: int = 0) -> None:
        self.kind = kind
        self.value = value
        self.line = line
        self.text = text
        self.items = items
        self.size = size


class _Refused(Exception):
    """The text cannot be read further; carries line, what and what was expected."""

    def __init__(self, line: int, what: str, expected: str = "") -> None:
        super().__init__(what)
        self.line, self.what, self.expected = line, what, expected


def load(
    data: bytes | str, path: str, *, shown_names: Container[str] | None = None, salvage: bool = False
) -> tuple[Node | None, tuple[Fault, ...]]:
    """The one document of a file. Gives (node, ()) or (None, faults); never raises for what `data` holds.

    An empty document is a NULL node. `shown_names`: the only names that faults repeat, where any other may be a key of
    the other sort, one that nobody may read; None: all may be shown. `salvage`: gives the node beside faults, too,
    where there is one; what they are about is BAD in it.
    """
    builder = _Builder(path, shown_names)
    try:
        node = builder.build(_decode(data))
    except _Refused as error:
        builder.fault(error.line, error.what, error.expected)
        node = None
    return (None if builder.faults and not salvage else node), tuple(builder.faults)


def node_of(value: Any) -> Node:
    """The tree of a value of JSON types that nests at most MAX_DEPTH levels, as if a document held it; lines are 0."""
    if type(value) is dict:
        items = {name: (0, node_of(item)) for name, item in value.items()}
        return Node(MAP, value, 0, items=items)
    if type(value) is list:
        return Node(LIST, value, 0, items=[node_of(item) for item in value])
    return Node(_JSON_KINDS[type(value)], value, 0, "" if value is None else str(value))


def _decode(data: bytes | str) -> str:
    if isinstance(data, str):
        text = data
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            # error.object is the data less a byte order mark.
            line = bytes(error.object).count(b"\n", 0, error.start) + 1
            raise _Refused(line, "is not valid UTF-8", "text in UTF-8") from None
    if found := _FORBIDDEN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise _Refused(line, f"holds the control character U+{ord(found[0]):04X}", "printable text")
    return text


class _Open:
    """A list or mapping whose end has not come yet."""

    __slots__ = ("anchor", "is_map", "items", "key", "key_line", "line", "merges", "start_size", "tag")

    def __init__(self, *, is_map: bool, line: int, anchor: str | None, tag: str, start_size: int) -> None:
        self.is_map = is_map
        self.line = line
        self.anchor = anchor
        self.tag = tag
        self.start_size = start_size
        self.items: Any = {} if is_map else []
        self.key: Node | None = None
        self.key_line = 0
        self.merges: list[Node] = []


_OPEN = object()  # what an anchor stands for until its list or mapping has ended


class _Builder:
    """Builds the tree from events with a stack of its own, so that no nesting can exhaust the interpreter's."""

    def __init__(self, path: str, shown_names: Container[str] | None) -> None:
        self.path = path
        self.shown_names = shown_names
        self.faults: list[Fault] = []
        self.size = 0
        self.stack: list[_Open] = []
        self.anchors: dict[str, Any] = {}
        self.root: Node | None = None

    def fault(self, line: int, what: str, expected: str = "") -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(self.path, line, self._field(), what, expected))

    def _field(self) -> str:
        """Where in the document the events stand, as far as names may be shown."""
        names: list[str] = []
        for level in self.stack:
            if level.key is not None:
                if not self._may_show(level.key.text):
                    break
                names.append(level.key.text)
        return ".".join(names)

    def _may_show(self, name: str) -> bool:
        return _NAME.fullmatch(name) is not None and (self.shown_names is None or name in self.shown_names)

    def build(self, text: str) -> Node:
        try:
            loader = _Loader(text)
        except (yaml.YAMLError, ValueError) as error:
            raise _refusal(error) from None
        try:
            self._run(loader)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # ValueError and OverflowError: the scanner in Python lets those of chr() through.
            raise _refusal(error) from None
        finally:
            loader.dispose()
        return self.root if self.root is not None else Node(NULL, None, 1)

    def _run(self, loader: Any) -> None:
        next_event = loader.get_event
        documents = 0
        while True:
            event = next_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event, is_map=kind is yaml.MappingStartEvent)
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise _Refused(event.start_mark.line + 1, "holds a second document", "one document")
            elif kind is yaml.StreamEndEvent:
                return

    def _scalar(self, event: Any) -> None:
        line = event.start_mark.line + 1
        text = event.value
        kind, value = TEXT, text
        tag = event.tag
        if event.implicit[0] or (tag is not None and tag != "!"):
            tag = tag if tag is not None and tag != "!" else _implicit_tag(text)
            if tag is not None:
                kind, value = self._convert(tag, text, line)
        if _SURROGATE.search(text):
            raise _Refused(line, "holds half of a surrogate pair", "text that UTF-8 can carry")
        self._grow(line, 8 + len(text))
        node = Node(kind, value, line, text, None, 8 + len(text))
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        self._add(node, is_merge=tag == _TAG + "merge")

    def _convert(self, tag: str, text: str, line: int) -> tuple[str, Any]:
        kind = _SCALARS.get(tag)
        if kind is None:
            # The tag stays unnamed: a key that starts with "!" would be one.
            self.fault(line, "has a tag that is not known here", "plain YAML; quote a text that starts with !")
            return BAD, None
        if kind == TEXT:
            return TEXT, text
        if kind in (INT, FLOAT) and len(text) > MAX_NUMBER_CHARACTERS:
            self.fault(line, "is a number that is too long", f"at most {MAX_NUMBER_CHARACTERS} characters")
            return BAD, None
        try:
            value = _CONVERT[tag](text)
        except (ValueError, OverflowError, LookupError, AttributeError, TypeError, yaml.YAMLError):
            # What the safe loader's constructors raise for a number or date that does not exist, or a wrong tag.
            self.fault(line, f"looks like {KIND_WORDS[kind]}, but is none", "quotes around it if it is text")
            return BAD, None
        if kind == FLOAT and not math.isfinite(value):
            self.fault(line, "is NaN or infinite, which JSON does not have", "a finite number")
            return BAD, None
        return kind, value

    def _open(self, event: Any, *, is_map: bool) -> None:
        line = event.start_mark.line + 1
        if len(self.stack) >= MAX_DEPTH:
            raise _too_deep(line)
        self._grow(line, 8)
        tag = event.tag if event.tag not in (None, "!") else _TAG + ("map" if is_map else "seq")
        self.stack.append(_Open(is_map=is_map, line=line, anchor=event.anchor, tag=tag, start_size=self.size - 8))
        if event.anchor is not None:
            self.anchors[event.anchor] = _OPEN

    def _close(self) -> None:
        done = self.stack.pop()
        if done.is_map:
            node = self._mapping(done)
        else:
            items: list[Node] = done.items
            node = Node(LIST, [item.value for item in items], done.line, items=items)
            if done.tag in (_TAG + "omap", _TAG + "pairs"):
                node.value = [[key, value] for pair in node.value if type(pair) is dict for key, value in pair.items()]
            elif done.tag != _TAG + "seq":
                self.fault(done.line, "has a tag that is not known here", "a plain list")
        node.size = self.size - done.start_size
        if done.anchor is not None:
            self.anchors[done.anchor] = node
        self._add(node)

    def _mapping(self, done: _Open) -> Node:
        items: dict[str, tuple[int, Node]] = done.items
        for merged in done.merges:
            # YAML's merge type: what stands here goes first, then the earlier of several merged mappings.
            self._grow(done.line, merged.size)
            items = {**merged.items, **items}
        if done.tag == _TAG + "set":
            return Node(
                LIST, list(items), done.line, items=[Node(TEXT, name, at, name) for name, (at, _) in items.items()]
            )
        if done.tag != _TAG + "map":
            self.fault(done.line, "has a tag that is not known here", "a plain mapping")
        return Node(MAP, {name: node.value for name, (_, node) in items.items()}, done.line, items=items)

    def _alias(self, event: Any) -> None:
        line = event.start_mark.line + 1
        node = self.anchors.get(event.anchor)
        if node is None:
            raise _Refused(line, "is an alias without its anchor", "quotes around a text that starts with *")
        if node is _OPEN:
            raise _Refused(line, "is an alias inside of what it names", "a value without end cannot be read")
        self._grow(line, node.size)
        self._add(node)

    def _grow(self, line: int, size: int) -> None:
        """Counts what the values would take written out, aliases expanded: a dozen lines can stand for terabytes."""
        self.size += size
        if self.size > MAX_EXPANDED_BYTES:
            raise _Refused(line, f"expands to more than {MAX_EXPANDED_BYTES} bytes", "a smaller value")

    def _add(self, node: Node, *, is_merge: bool = False) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if not parent.is_map:
            parent.items.append(node)
        elif parent.key is None:
            self._add_key(parent, node, is_merge)
        else:
            self._add_value(parent, node)

    def _add_key(self, parent: _Open, node: Node, is_merge: bool) -> None:
        parent.key = node
        # An alias stands where it is used, not where its anchor is; for a key the mapping's next line is near enough.
        parent.key_line = node.line
        if is_merge:
            node.kind = "merge"
        elif node.kind in (LIST, MAP):
            self.fault(node.line, "a mapping's key is a list or a mapping", "text")
        elif node.kind == NULL and not node.text:
            self.fault(node.line, "a mapping's key is empty", "text")

    def _add_value(self, parent: _Open, node: Node) -> None:
        key = parent.key
        assert key is not None
        parent.key = None
        if key.kind == "merge":
            self._add_merge(parent, node)
            return
        # A key is the text that stands there: `404:` gives "404" and `on:` gives "on", as everyone expects.
        name = key.text
        if name in parent.items:
            first = parent.items[name][0]
            named = f" {name!r}" if self._may_show(name) else ""
            self.fault(parent.key_line, f"the key{named} stands here again", f"it once; it is in line {first}")
            return
        parent.items[name] = (parent.key_line, node)

    def _add_merge(self, parent: _Open, node: Node) -> None:
        sources = node.items if node.kind == LIST else [node]
        if all(source.kind == MAP for source in sources):
            parent.merges += sources
        else:
            self.fault(parent.key_line, "<< merges something else than mappings", "a mapping or a list of them")


def _implicit_tag(text: str) -> str | None:
    """The tag that YAML 1.1 reads from a plain scalar, None for text."""
    for tag, pattern in _RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            # "=" is YAML 1.1's default value: a type that nobody uses, and a text that people write.
            return None if tag == _TAG + "value" else str(tag)
    return None


_LEAKS = re.compile(r"""(?<=found|acter|andle) ('.*'|".*")""")


def _refusal(error: Exception) -> _Refused:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else 0
    # The scanner in Python names the character that it met, and it may be a key's.
    problem = _LEAKS.sub("", str(getattr(error, "problem", None) or "an escape sequence names no character"))
    context = str(getattr(error, "context", None) or "")
    if "nesting depth" in problem:
        # libyaml from 0.2.6 on has a limit of its own, which it meets while it reads ahead.
        return _too_deep(line)
    expected = "valid YAML"
    if "alias" in context:
        expected = 'quotes around a text that starts with *, as in "*"'
    elif "cannot start any token" in problem:
        expected = "spaces instead of tabs, and quotes around a text that starts with @, ` or %"
    elif "mapping values are not allowed" in problem:
        expected = "quotes around a text that holds a colon and a space, or the indentation of the lines before"
    elif "expected ':'" in problem:
        expected = "a name, a colon, a space and a value"
    return _Refused(line, f"is not YAML: {problem}", expected)


def _too_deep(line: int) -> _Refused:
    return _Refused(line, f"nests deeper than {MAX_DEPTH} levels", "a flatter value")


def _from_safe_loader(name: str) -> Callable[[str], Any]:
    construct = getattr(_CONSTRUCTOR, f"construct_yaml_{name}")
    return lambda text: construct(yaml.ScalarNode(_TAG + name, text))


def _date(text: str) -> str:
    value: datetime.date = _from_safe_loader("timestamp")(text)
    return value.isoformat()


def _binary(text: str) -> str:
    # JSON has no bytes; base64 is their usual form there, and the one in which they came.
    _from_safe_loader("binary")(text)
    return "".join(text.split())


_CONVERT: dict[str, Callable[[str], Any]] = {
    _TAG + "int": _from_safe_loader("int"),
    _TAG + "float": _from_safe_loader("float"),
    _TAG + "bool": _from_safe_loader("bool"),
    _TAG + "null": lambda text: None,
    _TAG + "timestamp": _date,
    _TAG + "binary": _binary,
}
_SCALARS = {
    _TAG + "str": TEXT,
    _TAG + "merge": TEXT,
    _TAG + "int": INT,
    _TAG + "float": FLOAT,
    _TAG + "bool": BOOL,
    _TAG + "null": NULL,
    _TAG + "timestamp": DATE,
    _TAG + "binary": TEXT,
}
