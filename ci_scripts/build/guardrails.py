"""What `Deployment` of a stage configuration becomes: the endpoint's DeploymentConfig, and the alarms that guard it.

Called by exporter.py. Values in, problems or a template out. It is put into whichever template the stage has, so that
one of the repository's own needs no word of it. The service's rules:
https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ci_scripts import documents
from ci_scripts.build.template import Problem, Template
from ci_scripts.documents import Malformed
from ci_scripts.export import Shift
from ci_scripts.hosting import Hosting

Values = Mapping[str, Any]

_PERIOD = 60  # seconds: SageMaker writes an endpoint's metrics once a minute
_MOST_ALARMS = 10  # AutoRollbackConfig, as are the limits below of their types
_LONGEST = 28_800
_ENDPOINT = "AWS::SageMaker::Endpoint"


class _Strategy(NamedTuple):
    """What the service asks of a way to shift, and what a configuration that says no more gets."""

    size: str
    """The field that says how much moves at a time; empty where all does."""
    least: int
    """Percent of the instances."""
    usual: str
    wait: int
    """Seconds; the usual WaitIntervalInSeconds."""
    fields: frozenset[str]


_BOTH = frozenset({"Strategy", "Alarms", "MaximumExecutionTimeoutInSeconds"})
_FINAL, _WAIT = "TerminationWaitInSeconds", "WaitIntervalInSeconds"
_STRATEGIES = {
    "canary": _Strategy("CanarySize", 1, "10%", 600, _BOTH | {"CanarySize", _WAIT, _FINAL}),
    "linear": _Strategy("LinearStepSize", 10, "25%", 300, _BOTH | {"LinearStepSize", _WAIT, _FINAL}),
    "rolling": _Strategy(
        "MaximumBatchSize", 5, "50%", 300, _BOTH | {"MaximumBatchSize", "RollbackMaximumBatchSize", _WAIT}
    ),
    "all-at-once": _Strategy("", 0, "", 0, _BOTH | {_FINAL}),
}
_USUAL_FINAL = 300
_START = {"rolling": 900}  # seconds for instances to start, for each batch of them
_USUAL_START = 1800
_USUAL_ALARMS: Values = {"Invocation5XXErrorsPercent": 1}
# https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html: a rate is an average of 0 and 1, a latency
# is counted in microseconds.
_FACTORS = {"Percent": 0.01, "Milliseconds": 1000}


def problems(file: str, deployment: Values, kind: Hosting, parameters: Mapping[str, str]) -> list[Problem]:
    """What SageMaker would refuse, or ignore, of a well-shaped `Deployment`; `parameters` as they come to."""
    problems = [("", reason) for reason in ([kind.unguarded] if kind.unguarded else [])]
    problems += _field_problems(deployment)
    problems += _size_problems(deployment, parameters)
    problems += _wait_problems(deployment, parameters)
    problems += _hosting_problems(deployment, kind, parameters)
    alarms = _alarms(deployment)
    if len(alarms) + len(_names(deployment)) > _MOST_ALARMS:
        problems.append(("Alarms", f"{len(alarms) + len(_names(deployment))} alarms, SageMaker takes {_MOST_ALARMS}"))
    return [Problem(file, ".".join(["Deployment", path] if path else ["Deployment"]), text) for path, text in problems]


def _field_problems(deployment: Values) -> Iterator[tuple[str, str]]:
    strategy = deployment["Strategy"]
    for field in sorted(deployment.keys() - _STRATEGIES[strategy].fields):
        others = [name for name, each in _STRATEGIES.items() if field in each.fields]
        yield field, f"belongs to {', '.join(others)}, not to {strategy}"


def _size_problems(deployment: Values, parameters: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    strategy = deployment["Strategy"]
    rule, (least, most) = _STRATEGIES[strategy], _instances(parameters)
    if not rule.size:
        return
    if least is not None and least < 2:
        yield (
            "Strategy",
            f"{strategy} takes 2 instances or more: SageMaker shifts whole ones, at most half of them at a time, and "
            f"the stage has {least}. all-at-once watches the alarms, too",
        )
        return
    size = _size(deployment)
    if isinstance(size, str):
        if not rule.least <= int(size[:-1]) <= 50:
            yield rule.size, f"{size} is not from {rule.least}% to 50%"
    elif least is not None and size > least / 2:
        yield rule.size, f"{size} is more than half of {least} instances"
    elif most is not None and size < rule.least * most / 100:
        yield rule.size, f"{size} is less than {rule.least}% of {most} instances"
    back = deployment.get("RollbackMaximumBatchSize")
    if isinstance(back, str) and not 5 <= int(back[:-1]) <= 100:
        yield "RollbackMaximumBatchSize", f"{back} is not from 5% to 100%"


def _wait_problems(deployment: Values, parameters: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for field in (_WAIT, _FINAL):
        seconds = deployment.get(field)
        if seconds is not None and seconds < _PERIOD and (field == _WAIT or deployment["Strategy"] == "all-at-once"):
            yield field, f"{seconds} is less than the {_PERIOD} seconds after which an alarm sees anything"
    waits = _waits(deployment, parameters)
    limit = deployment.get("MaximumExecutionTimeoutInSeconds")
    if waits >= (limit or _LONGEST):
        what = f"{limit} is not more than" if limit else f"SageMaker takes at most {_LONGEST} seconds, and there are"
        yield "MaximumExecutionTimeoutInSeconds", f"{what} the {waits} seconds of waiting alone"


def _hosting_problems(deployment: Values, kind: Hosting, parameters: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html."""
    if parameters.get("EndpointInstanceType", "").startswith("ml.inf1."):
        yield "", "SageMaker has no deployment guardrails for Inf1 instances: it would replace them all at once"
    second = [name for name in kind.package_parameters if parameters.get(name) and kind.package_parameters[name]]
    if deployment["Strategy"] == "rolling" and second:
        yield "Strategy", f"SageMaker has no rolling deployment of several production variants, and {second[0]} is set"


def _instances(parameters: Mapping[str, str]) -> tuple[int | None, int | None]:
    """The least and the largest number of instances that a variant has; None where the parameters do not tell."""

    def number(name: str) -> int | None:
        value = parameters.get(name, "")
        return int(value) if value.isdecimal() else None

    if number("MaxInstanceCount"):
        return number("MinInstanceCount"), number("MaxInstanceCount")
    return number("EndpointInstanceCount"), number("EndpointInstanceCount")


def _size(deployment: Values) -> str | int:
    rule = _STRATEGIES[deployment["Strategy"]]
    size: str | int = deployment.get(rule.size, rule.usual)
    return size


def _steps(deployment: Values, parameters: Mapping[str, str]) -> int:
    """Into how many steps all the instances fall."""
    rule, size = _STRATEGIES[deployment["Strategy"]], _size(deployment)
    if isinstance(size, str):
        return math.ceil(100 / max(int(size[:-1]), 1)) if size else 1
    most = _instances(parameters)[1]
    return math.ceil(most / size) if most else math.ceil(100 / max(rule.least, 1))


def _wait(deployment: Values) -> int:
    return int(deployment.get(_WAIT, _STRATEGIES[deployment["Strategy"]].wait))


def _final(deployment: Values) -> int:
    return int(deployment.get(_FINAL, _USUAL_FINAL)) if deployment["Strategy"] != "rolling" else 0


def _waits(deployment: Values, parameters: Mapping[str, str]) -> int:
    """Seconds for which the alarms watch, all steps together."""
    steps = _steps(deployment, parameters)
    times = {"canary": 1, "linear": steps - 1, "rolling": steps, "all-at-once": 0}[deployment["Strategy"]]
    return times * _wait(deployment) + _final(deployment)


def _longest(deployment: Values, parameters: Mapping[str, str]) -> int:
    strategy = deployment["Strategy"]
    starts = _START[strategy] * _steps(deployment, parameters) if strategy in _START else _USUAL_START
    usual = min(max(_waits(deployment, parameters) + starts, 600), _LONGEST)
    return int(deployment.get("MaximumExecutionTimeoutInSeconds", usual))


def _alarms(deployment: Values) -> Values:
    alarms = deployment.get("Alarms", _USUAL_ALARMS)
    return {name: limit for name, limit in alarms.items() if name != "Names"}


def _names(deployment: Values) -> list[str]:
    return list(deployment.get("Alarms", {}).get("Names", []))


# --- the template ---------------------------------------------------------------------------------------------------


def applied(
    template: Template, deployment: Values, parameters: Mapping[str, str], stack: str, endpoint: str
) -> tuple[str, Shift, list[Problem]]:
    """The template's text with what `deployment` asks for, and what the job that deploys it has to know.

    What the template does not allow for comes as problems, and its text as it was.
    """
    shift = Shift(deployment["Strategy"], _longest(deployment, parameters), [])
    try:
        logical_id, configuration = _endpoint(template)
        alarms = _resources(template, configuration, _alarms(deployment), stack, endpoint)
        guards: list[dict[str, Any]] = [{"AlarmName": {"Ref": each}} for each in alarms]
        guards += [{"AlarmName": name} for name in _names(deployment)]
        config = _deployment_config(deployment, shift.longest_seconds) | {
            "AutoRollbackConfiguration": {"Alarms": guards}
        }
        text = _with(template.text, logical_id, config, alarms)
    except Malformed as error:
        return template.text, shift, [Problem(template.file, "", f"cannot take Deployment: {error}")]
    names = [each["Properties"]["AlarmName"] for each in alarms.values()] + _names(deployment)
    return text, shift._replace(alarms=names), []


def _with(before: str, endpoint: str, config: Values, alarms: Values) -> str:
    """The text with both in it, and nothing else changed. Raises Malformed, also where an alias repeats a place."""
    text = documents.with_entries(before, ["Resources", endpoint, "Properties"], {"DeploymentConfig": config})
    text = documents.with_entries(text, ["Resources"], alarms) if alarms else text
    after = json.loads(json.dumps(documents.parse_template(text)))  # what an alias repeats is one object before that
    parsed = documents.parse_template(json.dumps({"config": config, "alarms": alarms}))
    actual = after["Resources"][endpoint]["Properties"].pop("DeploymentConfig")
    added = {name: after["Resources"].pop(name) for name in alarms}
    if (actual, added, after) != (parsed["config"], parsed["alarms"], documents.parse_template(before)):
        raise Malformed(f"Resources.{endpoint} shares its Properties with something else")
    return text


def _endpoint(template: Template) -> tuple[str, str]:
    """The logical ids of the one endpoint and of its configuration. Raises Malformed."""
    resources = documents.parse_template(template.text).get("Resources")
    if not isinstance(resources, dict):
        raise Malformed("its resources come from a macro")
    endpoints = [name for name, each in resources.items() if isinstance(each, dict) and each.get("Type") == _ENDPOINT]
    if len(endpoints) != 1:
        raise Malformed(f"it declares {len(endpoints) or 'no'} endpoints, not one")
    properties = resources[endpoints[0]].get("Properties") or {}
    if "DeploymentConfig" in properties:
        raise Malformed(f"Resources.{endpoints[0]} has a DeploymentConfig of its own; leave one of the two out")
    reference = documents.long_form(template.text, "Resources", endpoints[0], "Properties", "EndpointConfigName")
    values = list(reference.values()) if isinstance(reference, dict) else [None]
    configuration = values[0][0] if isinstance(values[0], list) and values[0] else values[0]
    if not isinstance(resources.get(str(configuration)), dict):
        raise Malformed(f"the EndpointConfigName of Resources.{endpoints[0]} is not !GetAtt NAME.EndpointConfigName")
    return endpoints[0], str(configuration)


def _resources(
    template: Template, configuration: str, alarms: Values, stack: str, endpoint: str
) -> dict[str, dict[str, Any]]:
    """The alarms by logical id. They look at the instances of the new configuration alone. Raises Malformed."""
    variants = documents.long_form(template.text, "Resources", configuration, "Properties", "ProductionVariants")
    first = variants[0] if isinstance(variants, list) and variants else None
    if not isinstance(first, dict) or "VariantName" not in first:
        raise Malformed(f"Resources.{configuration} does not begin its ProductionVariants with one that has a name")
    dimensions = {
        "EndpointName": endpoint,
        "VariantName": first["VariantName"],
        "EndpointConfigName": {"Fn::GetAtt": [configuration, "EndpointConfigName"]},
    }
    declared = documents.parse_template(template.text)["Resources"]
    condition = {"Condition": declared[configuration]["Condition"]} if "Condition" in declared[configuration] else {}
    resources = {}
    for name, limit in alarms.items():
        unit = next(each for each in _FACTORS if name.endswith(each))
        metric = name.removesuffix(unit)
        if (logical_id := f"{metric}Alarm") in declared:
            raise Malformed(f"Resources.{logical_id} is there already")
        resources[logical_id] = {
            "Type": "AWS::CloudWatch::Alarm",
            **condition,
            "Properties": {
                "AlarmName": f"{stack}-{metric}",
                "AlarmDescription": f"Takes a deployment of {endpoint} back: {metric} above {limit} "
                f"{unit.lower()} in a minute.",
                "Namespace": "AWS/SageMaker",
                "MetricName": metric,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                "Statistic": "Average",
                "Period": _PERIOD,
                "EvaluationPeriods": 1,
                "ComparisonOperator": "GreaterThanThreshold",
                "Threshold": round(limit * _FACTORS[unit], 6),
                "TreatMissingData": "notBreaching",
            },
        }
    return resources


def _deployment_config(deployment: Values, longest: int) -> dict[str, Any]:
    strategy = deployment["Strategy"]
    size = _STRATEGIES[strategy].size
    if strategy == "rolling":
        policy = {"MaximumBatchSize": _capacity(_size(deployment)), _WAIT: _wait(deployment)}
        if "RollbackMaximumBatchSize" in deployment:
            policy["RollbackMaximumBatchSize"] = _capacity(deployment["RollbackMaximumBatchSize"])
        return {"RollingUpdatePolicy": policy | {"MaximumExecutionTimeoutInSeconds": longest}}
    routing: dict[str, Any] = {"Type": strategy.upper().replace("-", "_"), _WAIT: _wait(deployment)}
    if size:
        routing[size] = _capacity(_size(deployment))
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            _FINAL: _final(deployment),
            "MaximumExecutionTimeoutInSeconds": longest,
        }
    }


def _capacity(size: str | int) -> dict[str, Any]:
    if isinstance(size, str):
        return {"Type": "CAPACITY_PERCENT", "Value": int(size[:-1])}
    return {"Type": "INSTANCE_COUNT", "Value": size}
