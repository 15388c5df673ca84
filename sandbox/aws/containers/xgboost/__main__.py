"""The image's programs, `train` and `serve`: images.py names this folder, and Python runs it.

Script mode where the job or the model names a script, else the algorithm.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

# Only for the imports that follow: an image knows nothing of this checkout, and a user's script shall not find it.
_CHECKOUT = str(Path(__file__).parents[4])


def _hyperparameters() -> dict[str, object]:
    folder = Path(os.environ.get("SM_INPUT_DIR", "/opt/ml/input"))
    texts: dict[str, object] = json.loads((folder / "config" / "hyperparameters.json").read_text())
    return texts


def _serve(port: int) -> int:
    if os.environ.get("SAGEMAKER_PROGRAM"):
        from sandbox.aws.containers.framework import serving as framework
        from sandbox.aws.containers.xgboost import script

        sys.path.remove(_CHECKOUT)
        return framework.serve(script.DEFAULTS, port)
    from sandbox.aws.containers.xgboost import slow_imports

    slow_imports.hide()
    from sandbox.aws.containers.xgboost import serving

    return serving.serve(port)


def _train(before_1_3: bool) -> int:
    if "sagemaker_program" in _hyperparameters() or os.environ.get("SAGEMAKER_PROGRAM"):
        from sandbox.aws.containers.framework import training as framework

        return framework.main()
    from sandbox.aws.containers.xgboost import slow_imports

    slow_imports.hide()
    from sandbox.aws.containers.xgboost import training

    return training.train(before_1_3)


def main(arguments: list[str]) -> int:
    sys.path.insert(0, _CHECKOUT)
    if arguments == ["serve"]:
        return _serve(int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))
    if arguments in (["train"], ["train", "--before-1.3"]):
        return _train("--before-1.3" in arguments)
    print("usage: xgboost train [--before-1.3] | serve", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
