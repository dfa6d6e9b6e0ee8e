"""A compiled expression, and the cache of them."""

from __future__ import annotations

from functools import lru_cache

from service.validate.fhirpath.compiler import is_condition, path_of, test_of
from service.validate.fhirpath.context import Context, Env
from service.validate.fhirpath.hoist import hoisted
from service.validate.fhirpath.model import Items, Node
from service.validate.fhirpath.parser import parse


class Path:
    """An expression, ready to run on any node, by any number of threads."""

    __slots__ = ("_run", "_test", "text")

    def __init__(self, text: str) -> None:
        """Raises PathSyntaxError."""
        expr = hoisted(parse(text))
        self.text = text
        self._run = path_of(expr)
        self._test = test_of(expr) if is_condition(expr) else None

    def __repr__(self) -> str:
        return f"Path({self.text!r})"

    def evaluate(self, node: Node, context: Context | None = None, *, strict: bool = False) -> Items:
        """The items: each a Node, or a System value (bool, int, Decimal, str, FPDate, FPDateTime, FPTime, Quantity).

        Without a context the node is its own resource. Raises PathError; where `strict`, also for an element that the type
        which is met does not have.
        """
        return list(self._run([node], Env(context or Context(node, node), node, strict)))

    def is_true(self, node: Node, context: Context | None = None) -> bool:
        """Whether it holds as an invariant: empty is false, one boolean is its value, anything else is true.

        So decides HL7's Java validator (convertToBoolean in its FHIRPathEngine). Raises PathError.
        """
        env = Env(context or Context(node, node), node)
        if self._test:
            return self._test([node], env) is True
        items = self._run([node], env)
        if len(items) != 1:
            return bool(items)
        item = items[0]
        value = item.value if type(item) is Node and item.type.name == "boolean" else item
        return value is not False and value is not None


@lru_cache(maxsize=4096)
def compile_path(text: str) -> Path:
    """The expression, compiled once for each text. Raises PathSyntaxError."""
    return Path(text)
