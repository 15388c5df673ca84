"""What this AWS holds, as bytes and back: moto's backends, and what our own modules keep beside them.

server.py reads it at a start and writes it at an end, where it is told to keep its state. Processes and threads do not
outlast an end: models serve anew, and what was under way has failed.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from botocore.client import BaseClient
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from moto.core.base_backend import BackendDict

from sandbox import keeping

OWN = (
    "cloudformation.stack:STACKS cloudformation.drift:DETECTIONS cloudwatch:_values cloudwatch:_held "
    "cloudwatch:_history sagemaker.autoscaling:_policies sagemaker.autoscaling:_tags sagemaker.autoscaling:_targets "
    "sagemaker.code_repositories:_repositories sagemaker.jobs:_jobs sagemaker.projects:_projects "
    "sagemaker.quotas:_granted sagemaker.quotas:_sizes servicecatalog:_artifacts servicecatalog:_constraints "
    "servicecatalog:_portfolios servicecatalog:_principals"
).split()
"""The dictionaries of this package that are part of the account."""
NOT_KEPT = {
    "cloudformation.resources.handler:HANDLERS": "code",
    "functions.invocation:_idle": "processes; a function starts anew",
    "sagemaker.asynchronous:_queues": "requests that nobody has answered are lost",
    "sagemaker.capture:_lines": "written within a second",
    "sagemaker.capture:_roles": "written within a second",
}
"""Those that are not, and why."""
_TO_RESUME = ("sagemaker.jobs", "sagemaker.executions", "cloudformation.stack", "sagemaker.endpoints", "functions")
"""Modules whose `resume()` makes out of what was read what can go on without the process that wrote it."""


def write(folder: Path) -> None:
    """Keep everything."""
    content = {"moto": _backends(), "own": {name: dict(_own(name)) for name in OWN}}
    keeping.write(folder / keeping.FILE, content, _REDUCERS)


def read(folder: Path) -> None:
    """Take up what was kept, if anything was; this server answers already, and nobody else asks it yet."""
    if not (folder / keeping.FILE).exists():
        return
    content = keeping.read(folder / keeping.FILE)
    for name, value in content["own"].items():
        _own(name).update(value)
    dicts = _dicts()
    for service, accounts in content["moto"].items():
        for account, regions in accounts.items():
            for region, backend in regions.items():
                dict.__setitem__(dicts[service][account], region, backend)
    for name in _TO_RESUME:
        importlib.import_module(f"sandbox.aws.{name}").resume()


def _own(name: str) -> dict[Any, Any]:
    module, _, variable = name.partition(":")
    records: dict[Any, Any] = getattr(importlib.import_module(f"sandbox.aws.{module}"), variable)
    return records


def _dicts() -> dict[str, BackendDict[Any]]:
    """What moto keeps, by service, as far as it is loaded."""
    modules = [each for name, each in list(sys.modules.items()) if name.startswith("moto.")]
    backends = [value for module in modules for value in vars(module).values() if isinstance(value, BackendDict)]
    return {str(each.service_name): each for each in backends}


def _backends() -> dict[str, dict[str, dict[str, Any]]]:
    # By the methods of dict: moto's own make a backend of what is only looked for.
    return {
        service: {account: dict(dict.items(regions)) for account, regions in dict.items(each)}
        for service, each in _dicts().items()
    }


def _key(text: bytes) -> Any:
    return load_pem_private_key(text, None)


_REDUCERS: keeping.Reducers = (
    (BaseClient, lambda _: (keeping.nothing, ())),
    (WeakValueDictionary, lambda value: (WeakValueDictionary, (dict(value),))),
    (RSAPrivateKey, lambda value: (_key, (value.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),))),
)
