"""How values of a parameter node are kept in a vtkMRMLScriptedModuleNode, and which values a type allows."""

import enum
import pathlib
import types
import typing
from dataclasses import dataclass
from typing import Any

import slicer

PATHS = (pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePath)


class Validator:
    """Says whether a value is allowed: ``validate`` raises ValueError where it is not."""

    def validate(self, value: Any) -> None:
        raise NotImplementedError


@dataclass
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass
class Minimum(Validator):
    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclass
class Maximum(Validator):
    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


@dataclass
class Choice(Validator):
    choices: list[Any]

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be one of {self.choices}")


@dataclass
class Default:
    value: Any


@dataclass
class Decimals:
    value: int


@dataclass
class SingleStep:
    value: float


class ParameterType:
    """One annotation, such as ``Annotated[float, WithinRange(0, 1), Default(0.5)]``, and how its values are stored."""

    def __init__(self, annotation: Any):
        is_annotated = typing.get_origin(annotation) is typing.Annotated
        self.annotation = annotation
        self.extras = list(annotation.__metadata__) if is_annotated else []
        self.kind, self.is_optional = _without_none(annotation.__origin__ if is_annotated else annotation)
        self.is_node = isinstance(self.kind, type) and issubclass(self.kind, slicer.vtkMRMLNode)
        self.is_enum = isinstance(self.kind, type) and issubclass(self.kind, enum.Enum)
        if not (self.is_node or self.is_enum or self.kind in (str, int, float, bool, *PATHS)):
            raise TypeError(f"Unable to create serializer for type: {annotation}")

    def extra(self, kind: type) -> Any:
        """The first annotation of a kind, or None."""
        return next((extra for extra in self.extras if isinstance(extra, kind)), None)

    def default(self) -> Any:
        given = self.extra(Default)
        if given is not None:
            return given.value
        if self.is_node or self.is_optional:
            return None
        return next(iter(self.kind)) if self.is_enum else self.kind()

    def is_in(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        """Checks the value, then stores it; nodes are stored as references."""
        self._check(value)
        if self.is_node:
            node.SetParameter(name, "")
            node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(name, self._text(value))

    def read(self, node: Any, name: str) -> Any:
        if self.is_node:
            return node.GetNodeReference(name)
        return self._value(node.GetParameter(name))

    def _check(self, value: Any) -> None:
        if value is None:
            if not (self.is_node or self.is_optional):
                raise ValueError("Value must not be None")
            return
        kinds = (int, float) if self.kind is float else self.kind
        if not isinstance(value, kinds):
            raise TypeError(f"Value must be of type '{self.kind}', is type '{type(value)}' value '{value}'")
        for extra in self.extras:
            if isinstance(extra, Validator):
                extra.validate(value)

    def _text(self, value: Any) -> str:
        if value is None:
            return "None"
        return value.name if self.is_enum else str(value)

    def _value(self, text: str) -> Any:
        if self.is_optional and text == "None":
            return None
        if self.is_enum:
            return self.kind[text]
        return text == "True" if self.kind is bool else self.kind(text)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """``(int, True)`` for ``int | None``."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    if len(kinds) != 1:
        raise TypeError(f"the stand-in has no unions but with None: {annotation}")
    return kinds[0], True
