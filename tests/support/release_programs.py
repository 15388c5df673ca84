"""Stand-ins for what a release needs a container engine or Sigstore for: they write down how they were called."""

from __future__ import annotations

import sys
from pathlib import Path

# Every build makes another image, as real ones do. `--metadata-file` is what buildx writes there.
_DOCKER = """
import json
if arguments[:2] == ["buildx", "build"]:
    number = sum(" buildx build " in line for line in log.read_text().splitlines())
    metadata = {"containerimage.config.digest": "sha256:config", "containerimage.digest": f"sha256:{number:064x}"}
    Path(arguments[arguments.index("--metadata-file") + 1]).write_text(json.dumps(metadata, indent=2))
"""
_COSIGN = """
for option in ("--bundle", "--out"):
    if option in arguments:
        Path(arguments[arguments.index(option) + 1]).write_text("{}")
"""


def write(folder: Path) -> Path:
    """Put `docker`, `cosign` and `apk` into a folder; the file that will list their calls, one a line."""
    folder.mkdir(exist_ok=True)
    log = folder / "calls"
    log.touch()
    for name, does in (("docker", _DOCKER), ("cosign", _COSIGN), ("apk", "")):
        start = f"import sys\nfrom pathlib import Path\nlog, arguments = Path({str(log)!r}), sys.argv[1:]\n"
        call = f"with log.open('a') as file:\n    print({name!r}, *arguments, file=file)\n"
        (folder / name).write_text(f"#!{sys.executable}\n{start}{call}{does}")
        (folder / name).chmod(0o755)
    return log
