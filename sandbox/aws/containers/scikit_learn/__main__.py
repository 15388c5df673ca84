"""The image's programs, `train` and `serve`: images.py names this folder, and Python runs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

# Only for the imports that follow: an image knows nothing of this checkout, and a user's script shall not find it.
sys.path.insert(0, str(Path(__file__).parents[4]))

from sandbox.aws.containers.encoding import TEXTS, decode
from sandbox.aws.containers.framework import serving, training

sys.path.pop(0)


def input_fn(body: str | bytes, content_type: str) -> Any:
    array = decode(body, content_type)
    return array.astype("float32") if content_type in TEXTS else array


DEFAULTS = {
    "input_fn": input_fn,
    "predict_fn": lambda data, model: model.predict(data),
    "output_fn": serving.output_fn,
}


def main(arguments: list[str]) -> int:
    if arguments == ["serve"]:
        return serving.serve(DEFAULTS, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))
    if arguments == ["train"]:
        return training.main()
    print("usage: scikit_learn train | serve", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
