"""Renders the templates as CloudFormation would: parameters, conditions, functions and nested stacks."""

import base64
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.cloudformation.fabricated import attributes_of

TEMPLATES = Path(__file__).resolve().parents[2] / "cloudformation"
ROOT = "astronomy-stack.yml"
ACCOUNT, REGION = "123456789012", "us-east-1"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "sky-survey-stack",
}
STACK = "AWS::CloudFormation::Stack"
#: Gives Ref and the attributes of a rendered resource: path, resource -> {"Ref": ..., "Arn": ...}.
Maker = Callable[[str, dict[str, Any]], Mapping[str, str]]
_NOTHING = object()


class RenderError(Exception):
    """A template that CloudFormation would refuse."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML with CloudFormation's short functions."""


def _short(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short)


def load_template(path: Path) -> dict[str, Any]:
    """Return a template with every function in its long form."""
    return _parsed(path.read_text(encoding="utf-8"))


@cache
def _parsed(text: str) -> dict[str, Any]:
    return yaml.load(text, _Loader)


def rendered_resources(
    parameters: Mapping[str, str], folder: Path = TEMPLATES, template: str = ROOT
) -> dict[str, dict[str, Any]]:
    """Return every resource of the stack by its logical path, ``Storage/SurveyImages``, ready to be created.

    References are to fabricated identifiers of account 123456789012 in us-east-1; nested stacks are
    replaced by what is in them.
    """
    return Rendering(folder, template, parameters).resources()


def rendered_outputs(parameters: Mapping[str, str], folder: Path = TEMPLATES) -> dict[str, str]:
    """Return the outputs of the root stack."""
    return Rendering(folder, ROOT, parameters).outputs()


class Rendering:
    """One template with values for its parameters; resources are rendered when something needs them."""

    def __init__(
        self,
        folder: Path,
        template: str,
        parameters: Mapping[str, str],
        path: str = "",
        maker: Maker | None = None,
    ) -> None:
        self.folder, self.path = folder, path
        self.maker = maker or attributes_of
        self.template = load_template(folder / template)
        self.parameters = self._parameters(parameters)
        self.nested: dict[str, Rendering] = {}
        self._made: dict[str, Mapping[str, str]] = {}
        self._rendered: dict[str, dict[str, Any]] = {}
        self._open: set[str] = set()

    def resources(self) -> dict[str, dict[str, Any]]:
        """Render everything and return the resources by path, nested ones included."""
        found: dict[str, dict[str, Any]] = {}
        for name in self.template["Resources"]:
            if not self._is_made(name):
                continue
            self._make(name)
            if name in self.nested:
                found |= self.nested[name].resources()
            else:
                found[self.path + name] = self._rendered[name]
        return found

    def outputs(self) -> dict[str, str]:
        """Return the outputs whose condition holds."""
        return {
            name: self._value(output["Value"])
            for name, output in self.template.get("Outputs", {}).items()
            if "Condition" not in output or self._condition(output["Condition"])
        }

    def _parameters(self, given: Mapping[str, str]) -> dict[str, Any]:
        declared = self.template.get("Parameters", {})
        if unknown := set(given) - set(declared):
            raise RenderError(f"{self.path or 'root'}: no parameters {sorted(unknown)}")
        values: dict[str, Any] = {}
        for name, spec in declared.items():
            if name not in given and "Default" not in spec:
                raise RenderError(f"{self.path or 'root'}: parameter {name} has no value")
            value = str(given.get(name, spec.get("Default")))
            _check_parameter(self.path + name, spec, value)
            is_list = spec["Type"].startswith("List<") or spec["Type"] == "CommaDelimitedList"
            values[name] = value.split(",") if is_list else value
        return values

    def _is_made(self, name: str) -> bool:
        condition = self.template["Resources"][name].get("Condition")
        return condition is None or self._condition(condition)

    def _condition(self, name: str) -> bool:
        if name not in self.template.get("Conditions", {}):
            raise RenderError(f"{self.path or 'root'}: no condition {name}")
        return bool(self._value(self.template["Conditions"][name]))

    def _make(self, name: str) -> Mapping[str, str]:
        where = self.path + name
        if name in self._made:
            return self._made[name]
        if name not in self.template["Resources"]:
            raise RenderError(f"{self.path or 'root'}: no resource {name}")
        if name in self._open:
            raise RenderError(f"{where} depends on itself")
        if not self._is_made(name):
            raise RenderError(f"{where} is referred to although its condition does not hold")
        self._open.add(name)
        resource = self.template["Resources"][name]
        needed = resource.get("DependsOn", [])
        for other in [needed] if isinstance(needed, str) else needed:
            if other not in self.template["Resources"] or self._is_made(other):
                self._make(other)
        rendered = {
            "Type": resource["Type"],
            "Properties": self._value(resource.get("Properties", {})),
            **{key: resource[key] for key in ("Metadata", "DeletionPolicy") if key in resource},
        }
        self._rendered[name] = rendered
        self._made[name] = (
            self._nest(name, rendered) if rendered["Type"] == STACK else self.maker(where, rendered)
        )
        return self._made[name]

    def _nest(self, name: str, resource: dict[str, Any]) -> Mapping[str, str]:
        properties = resource["Properties"]
        file = properties["TemplateURL"].rsplit("/", 1)[-1]
        parameters = {key: str(value) for key, value in properties.get("Parameters", {}).items()}
        nested = Rendering(self.folder, file, parameters, f"{self.path}{name}/", self.maker)
        self.nested[name] = nested
        nested.resources()
        outputs = {f"Outputs.{key}": value for key, value in nested.outputs().items()}
        return {"Ref": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/1", **outputs}

    def _value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [item for item in map(self._value, node) if item is not _NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (key, argument), *_ = node.items()
            if key == "Ref" or key == "Condition" or key.startswith("Fn::"):
                return self._function(key, argument)
        values = {key: self._value(value) for key, value in node.items()}
        return {key: value for key, value in values.items() if value is not _NOTHING}

    def _function(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._ref(argument)
            case "Condition":
                return self._condition(argument)
            case "Fn::GetAtt":
                return self._attribute(argument[0], argument[1])
            case "Fn::Sub":
                return self._sub(argument)
            case "Fn::If":
                return self._value(argument[1] if self._condition(argument[0]) else argument[2])
            case "Fn::Equals":
                left, right = map(self._value, argument)
                return str(left) == str(right)
            case "Fn::Not":
                return not self._value(argument[0])
            case "Fn::And":
                return all(map(self._value, argument))
            case "Fn::Or":
                return any(map(self._value, argument))
            case "Fn::Join":
                return argument[0].join(self._value(argument[1]))
            case "Fn::Select":
                return self._value(argument[1])[int(argument[0])]
            case "Fn::Base64":
                return base64.b64encode(self._value(argument).encode()).decode()
        raise RenderError(f"{self.path or 'root'}: unknown function {name}")

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        return self._attribute(name, "Ref")

    def _attribute(self, name: str, attribute: str) -> str:
        found = self._make(name)
        if attribute not in found:
            raise RenderError(f"{self.path}{name} has no attribute {attribute}; it has {sorted(found)}")
        return found[attribute]

    def _sub(self, argument: Any) -> str:
        text, extra = (argument, {}) if isinstance(argument, str) else argument

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in extra:
                return str(self._value(extra[name]))
            resource, dot, attribute = name.partition(".")
            return str(self._attribute(resource, attribute) if dot else self._ref(name))

        return re.sub(r"\$\{([^}]*)\}", fill, text)


def _check_parameter(where: str, spec: Mapping[str, Any], value: str) -> None:
    if "AllowedValues" in spec and value not in map(str, spec["AllowedValues"]):
        raise RenderError(f"{where}: {value!r} is not one of {spec['AllowedValues']}")
    if "AllowedPattern" in spec and not re.fullmatch(spec["AllowedPattern"], value):
        raise RenderError(f"{where}: {value!r} does not match {spec['AllowedPattern']}")
    if spec["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            raise RenderError(f"{where}: {value!r} is not a number") from None
        if not float(spec.get("MinValue", number)) <= number <= float(spec.get("MaxValue", number)):
            raise RenderError(f"{where}: {value} is out of bounds")
