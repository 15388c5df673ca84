"""`make release VERSION=1.2.3`: the commit that makes this project that version. All of it or nothing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from release import changelog, consumers, versions
from release.versions import ReleaseError, git

CHANGELOG = Path("CHANGELOG.md")


def prepare(root: Path, version: str, day: date) -> None:
    """Commit the release. Raises ReleaseError and leaves everything as it was when it cannot be."""
    refuse(root, version)
    changed = contents(root, version, day)
    before = {path: (root / path).read_bytes() if (root / path).exists() else None for path in changed}
    names = [str(path) for path in changed]
    try:
        for path, text in changed.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(text.encode())
        check(root, version)
        git(root, "add", "--", *names)
        git(root, "commit", "--quiet", "--message", f"Release {version}", "--", *names)
    except BaseException:  # also Ctrl-C: a half-written release must not stay
        git(root, "reset", "--quiet", "--", *names)
        for path, content in before.items():
            if content is None:
                (root / path).unlink(missing_ok=True)
            else:
                (root / path).write_bytes(content)
        raise
    print(f"Committed the release of {version}: {len(changed)} files. When it is on the default branch:")
    print(f"  git tag {version} && git push origin {version}")


def check(root: Path, version: str) -> None:
    """Raise ReleaseError unless everything in the project says that it is `version`, and the changelog describes it."""
    versions.key(version)
    wrong = [mention for mention in versions.mentions(root) if mention.version != version]
    if wrong:
        places = "\n".join(f"  {mention.path}:{mention.line}: {mention.version}" for mention in wrong)
        raise ReleaseError(f"this is not {version} everywhere; `make release VERSION={version}` prepares it\n{places}")
    changelog.section((root / CHANGELOG).read_text(encoding="utf-8"), version)


def refuse(root: Path, version: str) -> None:
    """Raise ReleaseError if `version` cannot follow what has been released, or the tree is dirty."""
    requested, now = versions.key(version), versions.current(root)
    if changes := git(root, "status", "--porcelain").rstrip():
        raise ReleaseError(f"the tree has changes that are not committed\n{changes}")
    released = [tag for tag in git(root, "tag", "--list").split() if _is_version(tag)]
    if version in released:
        raise ReleaseError(f"version {version} exists: there is a tag of this name")
    newest = max(released, key=versions.key, default=None)
    if newest and requested < versions.key(newest):
        raise ReleaseError(f"version {version} is not newer than {newest}, the newest release")
    if requested < versions.key(now):
        raise ReleaseError(f"version {version} is not newer than {now}, the version in {versions.SOURCE}")


def contents(root: Path, version: str, day: date) -> dict[Path, str]:
    """The files that the release changes, as they will be. Raises ReleaseError."""
    changed = {}
    for path in {mention.path for mention in versions.mentions(root)}:
        old = (root / path).read_bytes().decode()
        if (new := versions.replaced(old, version)) != old:
            changed[path] = new
    changed[CHANGELOG] = changelog.released((root / CHANGELOG).read_text(encoding="utf-8"), version, day)
    if "-" not in version:  # a pre-release promises nothing yet
        path = consumers.FOLDER / f"{version}.yml"
        changed[path] = consumers.text(
            root, lambda each: changed.get(each) or (root / each).read_text(encoding="utf-8")
        )
    return changed


def _is_version(tag: str) -> bool:
    try:
        versions.key(tag)
    except ReleaseError:
        return False
    return True
