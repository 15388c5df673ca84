"""What a template comes to: conditions, functions applied to values, the resources in the order of their making.

Nothing here calls AWS. changes.py evaluates against what a stack has, operations.py against what it has just made.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.functions import SUBSTITUTION
from sandbox.aws.cloudformation.parameters import typed
from sandbox.aws.cloudformation.references import depends_on, ordered, raise_unresolved, references
from sandbox.aws.cloudformation.template import is_function, text
from sandbox.aws.lacking import Lacking

UNKNOWN = "{{changeSet:KNOWN_AFTER_APPLY}}"
"""What a change set shows for a value that exists only after it is executed."""

_NO_VALUE = object()


class Evaluator:
    """Evaluates parts of one template.

    `ref` and `attribute` answer for resources (physical id, attribute value), `imported` for exports of other stacks.
    """

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, str],
        pseudo: Mapping[str, Any],
        ref: Callable[[str], str],
        attribute: Callable[[str, str], Any],
        imported: Callable[[str], str],
    ) -> None:
        self._template = template
        self._pseudo = {"AWS::NoValue": _NO_VALUE, **pseudo}
        self._parameters = {
            name: typed(rule["Type"], parameters[name]) for name, rule in (template.get("Parameters") or {}).items()
        }
        self._ref, self._attribute, self._imported = ref, attribute, imported
        self._conditions: dict[str, bool | None] = {}  # None: being found out

    # --- what is active ---------------------------------------------------------------------------------------------

    def resources(self) -> dict[str, Any]:
        """The resources whose condition holds, dependencies first. Raises ValidationError when there is no order."""
        for name in self._template.get("Conditions") or {}:
            self.condition(name)
        active = self._active("Resources")
        graph: dict[str, set[str]] = {}
        unresolved: list[str] = []
        for name, resource in active.items():
            used = self._used((resource.get("Properties") or {}, resource.get("Metadata") or {}))
            unresolved += sorted(used - active.keys())
            # A DependsOn on a resource whose condition is false is ignored by the service.
            graph[name] = (used | set(depends_on(resource))) & active.keys()
        raise_unresolved(unresolved, "Resources", "Template format error: ")
        return {name: active[name] for name in ordered(graph)}

    def outputs(self) -> dict[str, Any]:
        """The outputs whose condition holds. Raises ValidationError for references to resources that are off."""
        active = self._active("Outputs")
        used = set().union(*(self._used(output["Value"]) for output in active.values()))
        raise_unresolved(sorted(used - self._active("Resources").keys()), "Outputs", "")
        return active

    def _active(self, section: str) -> dict[str, Any]:
        return {
            name: member
            for name, member in (self._template.get(section) or {}).items()
            if "Condition" not in member or self.condition(member["Condition"])
        }

    def _used(self, node: Any) -> set[str]:
        names = {reference.name for reference in references(self.chosen(node))}
        return names - self._parameters.keys() - self._pseudo.keys()

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            conditions = self._template.get("Conditions") or {}
            if name not in conditions:
                raise ValidationError(f"Template error: unresolved condition dependency {name} in Condition")
            self._conditions[name] = None
            self._conditions[name] = self._holds(conditions[name])
        holds = self._conditions[name]
        if holds is None:
            raise ValidationError(f"Template format error: Circular dependency between conditions: [{name}]")
        return holds

    def _holds(self, node: Any) -> bool:
        """A boolean function, or the name of a condition: only conditions can refer to conditions so."""
        if isinstance(node, dict) and list(node) == ["Condition"] and isinstance(node["Condition"], str):
            return self.condition(node["Condition"])
        return bool(self.value(node))

    def chosen(self, node: Any) -> Any:
        """The node with every Fn::If replaced by its chosen branch: only that branch makes dependencies."""
        if isinstance(node, list | tuple):
            return [self.chosen(item) for item in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1 and "Fn::If" in node:
            name, yes, no = node["Fn::If"]
            return self.chosen(yes if self.condition(name) else no)
        return {key: self.chosen(value) for key, value in node.items()}

    # --- values -----------------------------------------------------------------------------------------------------

    def value(self, node: Any) -> Any:
        """The node with every function applied; members that are AWS::NoValue disappear."""
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(key, argument)] = node.items()
            if is_function(node, key):
                return self._apply(key, argument)
        values = {key: self.value(value) for key, value in node.items()}
        return {key: value for key, value in values.items() if value is not _NO_VALUE}

    def _apply(self, function: str, argument: Any) -> Any:
        method = getattr(self, "fn_" + function.removeprefix("Fn::").lower(), None)
        if method is None:
            raise Lacking(f"the function {function} here")
        return method(argument)

    def fn_ref(self, name: str) -> Any:
        for values in (self._pseudo, self._parameters):
            if name in values:
                return values[name]
        return self._ref(name)

    def fn_getatt(self, argument: Any) -> Any:
        name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
        return self._attribute(name, self.value(attribute))

    def fn_sub(self, argument: Any) -> str:
        template, own = (argument, {}) if isinstance(argument, str) else argument

        def replace(variable: re.Match[str]) -> str:
            literal, name = variable.groups()
            if literal:
                return "${" + name + "}"
            value = self.value(own[name]) if name in own else self.fn_getatt(name) if "." in name else self.fn_ref(name)
            if isinstance(value, list | dict):
                raise ValidationError(
                    f"Template error: variable {name} in Fn::Sub expression does not resolve to a string"
                )
            return "" if value is _NO_VALUE else text(value)

        return SUBSTITUTION.sub(replace, template)

    def fn_join(self, argument: Any) -> str:
        items = self.value(argument[1])
        if not isinstance(items, list):
            return str(items)  # known after it is executed
        return str(argument[0]).join(text(item) for item in items)

    def fn_split(self, argument: Any) -> Any:
        whole = self.value(argument[1])
        return whole if UNKNOWN in str(whole) else str(whole).split(argument[0])

    def fn_select(self, argument: Any) -> Any:
        index, items = self.value(argument[0]), self.value(argument[1])
        if items == UNKNOWN or (isinstance(items, str) and UNKNOWN in items):
            return UNKNOWN
        if not isinstance(items, list) or not re.fullmatch(r"\d+", str(index)):
            raise ValidationError(
                "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"
            )
        if int(index) >= len(items):
            raise ValidationError(f"Template error: Fn::Select cannot select nonexistent value at index {index}")
        return items[int(index)]

    def fn_if(self, argument: Any) -> Any:
        name, yes, no = argument
        return self.value(yes if self.condition(name) else no)

    def fn_equals(self, argument: Any) -> bool:
        left, right = (self.value(item) for item in argument)
        return text(left) == text(right)

    def fn_not(self, argument: Any) -> bool:
        return not self._holds(argument[0])

    def fn_and(self, argument: Any) -> bool:
        return all(map(self._holds, argument))

    def fn_or(self, argument: Any) -> bool:
        return any(map(self._holds, argument))

    def fn_findinmap(self, argument: Any) -> Any:
        name, first, second = (text(self.value(item)) for item in argument)
        attributes = (self._template.get("Mappings") or {}).get(name, {}).get(first, {})
        if second not in attributes:
            raise ValidationError(f"Template error: Unable to get mapping for {name}::{first}::{second}")
        return attributes[second]

    def fn_base64(self, argument: Any) -> str:
        return base64.b64encode(text(self.value(argument)).encode()).decode()

    def fn_cidr(self, argument: Any) -> list[str]:
        block, count, bits = [self.value(item) for item in [*argument, 8][:3]]
        try:
            network = ipaddress.ip_network(str(block), strict=False)
            subnets = network.subnets(new_prefix=network.max_prefixlen - int(bits))
            return [str(next(subnets)) for _ in range(int(count))]
        except (ValueError, StopIteration) as error:
            raise ValidationError(
                f"Template error: Fn::Cidr cannot take {count} blocks of {bits} bits from {block}"
            ) from error

    def fn_importvalue(self, argument: Any) -> str:
        return self._imported(text(self.value(argument)))
