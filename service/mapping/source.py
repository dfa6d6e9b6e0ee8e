"""The files of a mapping set as located strings, and how their problems are told."""

from __future__ import annotations

from service.errors import MappingInvalid
from service.located import Language, Located, Tree, near

__all__ = ["Located", "Tree", "as_mapping", "known_keys", "near", "problem", "read_yaml", "refuse"]

# How deep the language itself goes (rows in a file: 2; lists in `requires`: 3), with room for nothing else.
_FILES = Language("mapping", "docs/mapping-language.md", MappingInvalid, deepest=5)

read_yaml = _FILES.read
problem = _FILES.problem
refuse = _FILES.refuse
as_mapping = _FILES.as_mapping
known_keys = _FILES.known_keys
