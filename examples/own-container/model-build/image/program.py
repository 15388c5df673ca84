"""A linear model in an image of its own: everything that SageMaker asks of a container.

    train   read hyperparameters and rows, leave the model in /opt/ml/model
    serve   answer GET /ping and POST /invocations

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import json
import os
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy

# A machine that cannot give a process an /opt/ml of its own says where it is.
MODEL = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
INPUT = Path(os.environ.get("SM_INPUT_DIR", "/opt/ml/input"))
OUTPUT = Path(os.environ.get("SM_OUTPUT_DIR", "/opt/ml/output"))
FILE = "weights.json"
LONGEST = 6 * 1024 * 1024  # bytes: what a real-time endpoint lets through


def train() -> None:
    """Ridge regression: the label comes first in each row."""
    settings = json.loads((INPUT / "config" / "hyperparameters.json").read_text())
    alpha = float(settings.get("alpha", 1.0))
    files = sorted((INPUT / "data" / "train").glob("*.csv"))
    if not files:
        raise ValueError("the channel train has no CSV file")
    rows = numpy.vstack([numpy.loadtxt(file, delimiter=",", ndmin=2) for file in files])
    labels, features = rows[:, 0], _with_constant(rows[:, 1:])
    penalty = alpha * numpy.eye(features.shape[1])
    penalty[0, 0] = 0  # the constant is free
    weights = numpy.linalg.solve(features.T @ features + penalty, features.T @ labels)
    MODEL.mkdir(parents=True, exist_ok=True)
    (MODEL / FILE).write_text(json.dumps(weights.tolist()))
    error = float(numpy.mean((features @ weights - labels) ** 2))
    print(f"trained on {len(labels)} rows, alpha {alpha:g}; train:mse={error:.4f};")


def load(folder: Path = MODEL) -> numpy.ndarray:
    return numpy.array(json.loads((folder / FILE).read_text()))


def predict(weights: numpy.ndarray, rows: numpy.ndarray) -> numpy.ndarray:
    """One number for each row. Raises ValueError for rows of another width."""
    if rows.shape[1] + 1 != len(weights):
        raise ValueError(f"rows have {rows.shape[1]} columns, the model has {len(weights) - 1}")
    return _with_constant(rows) @ weights


def _with_constant(rows: numpy.ndarray) -> numpy.ndarray:
    return numpy.hstack([numpy.ones((len(rows), 1)), rows])


def serve() -> None:
    weights = load()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200 if self.path == "/ping" else 404, "")

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            if length > LONGEST:
                self.close_connection = True
                self.answer(413, "too long\n")
                return
            body = self.rfile.read(length).decode("utf-8", "replace")
            kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
            if self.path != "/invocations":
                self.answer(404, "")
            elif kind != "text/csv":
                self.answer(415, f"{kind or 'no content type'}: this model takes text/csv\n")
            else:
                try:
                    rows = numpy.loadtxt(body.splitlines(), delimiter=",", ndmin=2)
                    self.answer(200, "".join(f"{each:.6f}\n" for each in predict(weights, rows)))
                except ValueError as error:
                    self.answer(400, f"{error}\n")

        def answer(self, status: int, text: str) -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/csv" if status == 200 else "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            if self.path != "/ping":  # it is asked every few seconds
                super().log_request(code, size)

    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    # SageMaker asks from outside of the container, which nobody else reaches.
    ThreadingHTTPServer(("", port), Handler).serve_forever()


def main() -> int:
    work = {"train": train, "serve": serve}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if work is None:
        print("usage: program.py train|serve", file=sys.stderr)
        return 2
    try:
        work()
    except Exception as error:  # noqa: BLE001 - whatever it is, SageMaker is told
        traceback.print_exc()
        if work is train:  # what SageMaker shows as the reason of the failed job
            OUTPUT.mkdir(parents=True, exist_ok=True)
            (OUTPUT / "failure").write_text(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
