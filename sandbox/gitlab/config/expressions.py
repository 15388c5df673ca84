"""The expressions of `rules: if`: `$A == "b" && $C =~ /d/`.

`&&` and `||` are Ruby's: they give one of their operands, and an empty text is true to them. Only the whole expression,
and what `!` negates, is judged by whether something is there. See lib/gitlab/ci/pipeline/expression of GitLab.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sandbox.gitlab.config import ruby
from sandbox.gitlab.config.patterns import InvalidPattern, Pattern, between_slashes

_MAX_TOKENS = 100
_SPACE = re.compile(r"[ \t\r\n\f\v]+")


class InvalidExpression(Exception):
    """Text that is no expression."""


class Variables(NamedTuple):
    """What an expression can look up: CI/CD variables, and in `spec: inputs: rules` inputs."""

    variables: Mapping[str, str]
    inputs: Mapping[str, Any]


Node = Callable[[Variables], Any]


class Token(NamedTuple):
    """One lexeme; `node` is there for values alone."""

    kind: str
    text: str
    node: Node | None = None


def holds(text: str, variables: Mapping[str, str], inputs: Mapping[str, Any] | None = None) -> bool:
    """Whether the expression is true; a wrong one is not."""
    try:
        return not ruby.blank(_parsed(text)(Variables(variables, inputs or {})))
    except InvalidExpression:
        return False


def is_valid(text: Any) -> bool:
    """As GitLab checks a configuration: it can be parsed, and evaluated where no variable is set."""
    if not isinstance(text, str):
        return False
    try:
        _parsed(text)(Variables({}, {}))
    except InvalidExpression:
        return False
    return True


def inputs_of(text: str) -> set[str]:
    """The names of the inputs that an expression mentions."""
    try:
        return {_INPUT.match(token.text)[1] for token in _tokens(text) if token.kind == "input"}  # type: ignore[index]
    except InvalidExpression:
        return set()


# --- values -----------------------------------------------------------------------------------------------------------


def _text(written: str) -> Node:
    return lambda _: written[1:-1]


def _variable(written: str) -> Node:
    return lambda around: around.variables.get(written[1:])


def _input(written: str) -> Node:
    name = _INPUT.match(written)[1]  # type: ignore[index]
    return lambda around: around.inputs.get(name)


def _pattern(written: str) -> Node:
    pattern = _compiled(written)
    return lambda _: pattern


def _compiled(written: str) -> Pattern:
    try:
        return between_slashes(written.replace("\\/", "/"))
    except InvalidPattern as error:
        raise InvalidExpression("Invalid regular expression!") from error


_INPUT = re.compile(r"\$\[\[[ \t\r\n\f\v]*inputs\.([\w-]+)[ \t\r\n\f\v]*\]\]", re.ASCII)
# Tried in this order; a token needs no space after it.
_LEXEMES: tuple[tuple[str, re.Pattern[str], Callable[[str], Node] | None], ...] = (
    ("(", re.compile(r"\("), None),
    (")", re.compile(r"\)"), None),
    ("input", _INPUT, _input),
    ("variable", re.compile(r"\$\w+", re.ASCII), _variable),
    ("text", re.compile(r"\"[^\n]*?\"|'[^\n]*?'"), _text),
    ("pattern", re.compile(r"/([^/]|\\/)+[^\\]/[ismU]*"), _pattern),
    ("null", re.compile(r"null"), lambda _: lambda _: None),
    ("boolean", re.compile(r"\b(?:true|false)\b"), lambda written: lambda _: written == "true"),
    ("==", re.compile(r"=="), None),
    ("=~", re.compile(r"=~"), None),
    ("!=", re.compile(r"!="), None),
    ("!~", re.compile(r"!~"), None),
    ("&&", re.compile(r"&&"), None),
    ("||", re.compile(r"\|\|"), None),
    ("!", re.compile(r"!"), None),
)  # fmt: skip
_PRECEDENCE = {"!": 1, "==": 10, "=~": 10, "!=": 10, "!~": 10, "&&": 11, "||": 12, ")": 900, "(": 901}


# --- operators --------------------------------------------------------------------------------------------------------


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool) and {type(left), type(right)} <= {bool, str}:
        return ruby.text(left) == ruby.text(right)
    if isinstance(left, Pattern) and not isinstance(right, Pattern):
        raise InvalidExpression("a pattern cannot be compared with a text")
    return type(left) is type(right) and bool(left == right)


def _matches(text: Any, pattern: Any) -> bool:
    if isinstance(pattern, str):
        try:
            pattern = _compiled_text(pattern)
        except InvalidExpression:
            return ruby.text(text) in pattern  # Ruby's String#scan, the other way round
    if not isinstance(pattern, Pattern):
        raise InvalidExpression("not a pattern")
    return pattern.found_in("" if isinstance(text, Pattern) else ruby.text(text))


@lru_cache(maxsize=1024)
def _compiled_text(written: str) -> Pattern:
    return _compiled(written)


def _operation(operator: str, left: Node, right: Node) -> Node:
    def evaluate(around: Variables) -> Any:
        first = left(around)
        if operator == "&&":
            return first if first is None or first is False else right(around)
        if operator == "||":
            return right(around) if first is None or first is False else first
        second = right(around)
        if operator in ("==", "!="):
            return _equal(first, second) == (operator == "==")
        if second is None or second is False:
            return operator == "!~"
        return _matches(first, second) == (operator == "=~")

    return evaluate


def _negation(operand: Node) -> Node:
    return lambda around: ruby.blank(operand(around))


# --- parser -----------------------------------------------------------------------------------------------------------


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    for _ in range(_MAX_TOKENS):
        if space := _SPACE.match(text):
            text = text[space.end() :]
        if not text:
            return tokens
        for kind, pattern, build in _LEXEMES:
            if match := pattern.match(text):
                tokens.append(Token(kind, match[0], build(match[0]) if build else None))
                text = text[match.end() :]
                break
        else:
            raise InvalidExpression("Unknown lexeme found!")
    raise InvalidExpression("Too many tokens!")


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Node:
    tokens = _tokens(text)
    if not tokens:
        raise InvalidExpression("Empty expression")
    results: list[Node] = []
    for token in _postfix(tokens):
        if token.node:
            results.append(token.node)
        elif token.kind == "!":
            results.append(_negation(_operand(results)))
        elif token.kind == "(":
            raise InvalidExpression("Unprocessable token found in parse tree: parenthesis_open")
        else:
            right = _operand(results)
            results.append(_operation(token.kind, _operand(results), right))
    if len(results) != 1:
        raise InvalidExpression("Unreachable nodes in parse tree" if results else "Empty parse tree")
    return results[0]


def _operand(results: list[Node]) -> Node:
    if not results:
        raise InvalidExpression("Invalid operand")
    return results.pop()


def _postfix(tokens: Sequence[Token]) -> list[Token]:
    output: list[Token] = []
    operators: list[Token] = []
    for token in tokens:
        if token.node:
            output.append(token)
        elif token.kind in ("(", "!"):
            operators.append(token)
        else:
            while operators and _PRECEDENCE[token.kind] >= _PRECEDENCE[operators[-1].kind]:
                output.append(operators.pop())
            if token.kind != ")":
                operators.append(token)
            elif not operators:
                raise InvalidExpression("Unmatched parenthesis")
            else:
                operators.pop()
    return output + operators[::-1]
