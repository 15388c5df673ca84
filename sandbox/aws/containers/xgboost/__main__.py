"""The image's programs, `train` and `serve`: images.py names this folder, and Python runs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Only for the imports that follow: an image knows nothing of this checkout, and a user's script shall not find it.
sys.path.insert(0, str(Path(__file__).parents[4]))
# xgboost imports scikit-learn where it finds it, which takes longer than a small training: who needs it lifts this.
sys.modules["sklearn"] = None  # type: ignore[assignment]


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["serve"]:
        from sandbox.aws.containers.xgboost import serving

        sys.path.pop(0)
        return serving.serve(int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))
    if arguments[:1] == ["train"]:
        from sandbox.aws.containers.xgboost import training

        sys.path.pop(0)
        return training.train("--before-1.3" in arguments)
    print("usage: xgboost train [--before-1.3] | serve", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
