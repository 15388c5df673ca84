"""BuildKit's place in the sandbox: a `buildctl-daemonless.sh` that makes images as own.py does and pushes them to ECR.

`install` writes the program into a folder for PATH. It takes the words that the component gives BuildKit, and refuses
others. It follows of a Dockerfile what own.py follows, and pushes a manifest of Docker's version 2 with its layer and
its configuration, by ECR's API, as the holder of the authorization token in Docker's config.json. `once` lets its next
run end in another way. https://github.com/moby/buildkit/blob/master/README.md
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import json
import os
import stat
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.aws.containers import own
from sandbox.aws.ground import REGION
from sandbox.aws.lacking import Lacking
from sandbox.processes import ROOT

PROGRAM = "buildctl-daemonless.sh"
_NEXT, _RUNS = "next.json", "runs.jsonl"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_SECRETS = ("AWS_", "CI_JOB_TOKEN", "DOCKER_AUTH_CONFIG")


class Request(NamedTuple):
    """A build that is asked for."""

    context: Path
    options: dict[str, str]
    output: dict[str, str]
    cache: str
    """Where the cache goes; empty for nowhere."""
    metadata: Path | None


def install(folder: Path, state: Path, url: str) -> Path:
    """Write the program; `state` and `url` are those of the sandbox's AWS. Give the folder to a job's PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / PROGRAM
    words = f"'{sys.executable}' -m sandbox.aws.containers.buildkit '{folder}' '{state}' '{url}'"
    program.write_text(f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec {words} \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    return folder


def once(folder: Path, **how: str) -> None:
    """Let the next run fail with `error`, say another `digest`, push under a tag that is taken (`taken`), or `hang`."""
    (folder / _NEXT).write_text(json.dumps(how), encoding="utf-8")


def runs(folder: Path) -> list[dict[str, Any]]:
    """Every run so far: its process, its words, the files and registries that it saw, secrets among its variables."""
    path = folder / _RUNS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read(words: list[str]) -> Request:
    """The request. Exits as BuildKit does for words that it does not take."""
    parser = argparse.ArgumentParser(prog="buildctl", allow_abbrev=False)
    parser.add_argument("command", choices=["build"])
    parser.add_argument("--progress", choices=["plain"])
    parser.add_argument("--frontend", choices=["dockerfile.v0"], required=True)
    parser.add_argument("--metadata-file", type=Path)
    for name in ("local", "opt", "output", "import-cache", "export-cache"):
        parser.add_argument(f"--{name}", action="append", default=[])
    arguments = parser.parse_args(words)
    local = dict(each.split("=", 1) for each in arguments.local)
    if local["context"] != local["dockerfile"]:
        raise Lacking("a Dockerfile outside the context")
    outputs = [_pairs(each) for each in arguments.output]
    caches = [_pairs(each) for each in arguments.export_cache]
    options = dict(each.split("=", 1) for each in arguments.opt)
    return Request(
        Path(local["context"]),
        options,
        outputs[0] if outputs else {},
        caches[0]["ref"] if caches else "",
        arguments.metadata_file,
    )


def _pairs(text: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in text.split(","))


def main(folder: Path, state: Path, url: str, words: list[str]) -> int:
    """One run; the exit code."""
    request = read(words)
    how: dict[str, str] = {}
    if (folder / _NEXT).exists():
        how = json.loads((folder / _NEXT).read_text())
        (folder / _NEXT).unlink()
    _note(folder, request, words)
    print("#1 [internal] load build definition from Dockerfile", flush=True)
    if "hang" in how:
        print(how["hang"], flush=True)
        time.sleep(600)
    if "error" in how:
        print(f"ERROR: {how['error']}", flush=True)
        return 1
    if not request.output:
        own.read(request.context)
        print("#2 DONE 0.1s", flush=True)
        return 0
    name, _, tag = request.output["name"].rpartition(":")
    try:
        registry = _Registry(url, name)
    except (OSError, KeyError, ValueError):
        print("ERROR: failed to push: no basic auth credentials", flush=True)
        return 1
    if request.output.get("oci-mediatypes") != "false":
        raise Lacking("images with OCI's media types")
    if "taken" in how:
        registry.put(registry.blob(how["taken"].encode()), tag)
    try:
        digest = registry.put(registry.layer(request), tag)
    except registry.ecr.exceptions.ClientError as error:
        print(f"ERROR: failed to push {name}:{tag}: {error}", flush=True)
        return 1
    for address in (f"{name}@{digest}", f"{name}:{tag}"):
        own.push(state, address, request.context)
    if request.cache:
        registry.put(registry.blob(digest.encode()), request.cache.rpartition(":")[2])
    if request.metadata:
        metadata = {"containerimage.digest": how.get("digest", digest)}
        request.metadata.write_text(json.dumps(metadata), encoding="utf-8")
    print(f"#3 pushing manifest for {name}:{tag}@{digest} done", flush=True)
    return 0


class _Registry:
    """The registry, as the holder of a token sees it. Raises KeyError, OSError or ValueError without one."""

    def __init__(self, url: str, repository: str) -> None:
        import boto3

        host, _, self._name = repository.partition("/")
        path = Path(os.environ["DOCKER_CONFIG"]) / "config.json"
        if stat.S_IMODE(path.stat().st_mode) != 0o600:
            raise ValueError(f"{path} can be read by others")
        token = json.loads(path.read_text())["auths"][host]["auth"]
        password = base64.b64decode(token).decode().partition(":")[2]
        holder = json.loads(base64.b64decode(password))
        self.ecr: Any = boto3.client(
            "ecr",
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id=holder["key"],
            aws_secret_access_key="of-the-token",  # noqa: S106 - signatures are not checked here
            aws_session_token=holder["session"] or None,
        )

    def layer(self, request: Request) -> dict[str, Any]:
        """The context as a layer, the same for the same files."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path in sorted(each for each in request.context.rglob("*") if not each.is_dir()):
                information = archive.gettarinfo(path, str(path.relative_to(request.context)))
                information.mtime = information.uid = information.gid = 0
                information.uname = information.gname = ""
                archive.addfile(information, path.open("rb") if information.isreg() else None)
        return self.blob(gzip.compress(buffer.getvalue(), mtime=0))

    def blob(self, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        where = {"repositoryName": self._name}
        available = self.ecr.batch_check_layer_availability(**where, layerDigests=[digest])["layers"]
        if not available:
            upload = self.ecr.initiate_layer_upload(**where)["uploadId"]
            part = {"uploadId": upload, "partFirstByte": 0, "partLastByte": len(content) - 1, "layerPartBlob": content}
            self.ecr.upload_layer_part(**where, **part)
            self.ecr.complete_layer_upload(**where, uploadId=upload, layerDigests=[digest])
        return {
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "size": len(content),
            "digest": digest,
        }

    def put(self, layer: dict[str, Any], tag: str) -> str:
        """Push an image of one layer; its digest."""
        configuration = self.blob(json.dumps({"architecture": "amd64", "os": "linux"}).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": configuration | {"mediaType": "application/vnd.docker.container.image.v1+json"},
            "layers": [layer],
        }
        text = json.dumps(manifest)
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        try:
            self.ecr.put_image(
                repositoryName=self._name, imageManifest=text, imageManifestMediaType=_MANIFEST, imageTag=tag
            )
        except self.ecr.exceptions.ImageAlreadyExistsException:
            return digest
        return digest


def _note(folder: Path, request: Request, words: list[str]) -> None:
    seen = sorted(str(path.relative_to(request.context)) for path in request.context.rglob("*") if path.is_file())
    secrets = [name for name in os.environ if name.startswith(_SECRETS)]
    row = {"pid": os.getpid(), "words": words, "secrets": secrets, "files": seen, "registries": _registries()}
    with (folder / _RUNS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _registries() -> list[str]:
    try:
        return sorted(json.loads((Path(os.environ["DOCKER_CONFIG"]) / "config.json").read_text())["auths"])
    except (OSError, KeyError, ValueError):
        return []


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:]))
