"""A project's bare git repository, driven by the git program: all that the API and the pipelines do with it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

NO_COMMIT = "0" * 40

# git as it comes, without the settings of whoever runs the sandbox.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C.UTF-8",
}


class GitError(Exception):
    """git refused; the message is its own."""


class Refused(Exception):
    """A commit that GitLab's API would refuse; the message is GitLab's."""


class Commit(NamedTuple):
    id: str
    parents: list[str]
    author_name: str
    author_email: str
    authored_date: str
    committer_name: str
    committer_email: str
    committed_date: str
    message: str
    trailers: dict[str, list[str]]

    @property
    def title(self) -> str:
        return self.message.split("\n", 1)[0]


class TreeEntry(NamedTuple):
    mode: str
    type: str
    id: str
    path: str


class Annotation(NamedTuple):
    """An annotated tag's own object."""

    id: str
    message: str
    created_at: str


class Action(NamedTuple):
    """One action of GitLab's commits API; `content` is decoded, None leaves the file's content alone."""

    action: str
    path: str
    previous_path: str | None = None
    content: bytes | None = None
    executable: bool | None = None


class Repository:
    """A bare repository. Methods raise GitError when git does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._commits: dict[str, Commit] = {}  # by SHA: a commit never changes

    def create(self) -> None:
        self.path.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
        # Pipelines fetch the commit they run for, also when no branch points at it any more.
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")
        self.git("config", "receive.advertisePushOptions", "true")

    def git(self, *arguments: str, input: bytes | None = None) -> bytes:
        done = subprocess.run(["git", *arguments], cwd=self.path, input=input, env=ENVIRONMENT, capture_output=True)
        if done.returncode:
            raise GitError(done.stderr.decode(errors="replace").strip() or f"git {arguments[0]} failed")
        return done.stdout

    def refs(self) -> dict[str, str]:
        """Every branch and tag as full ref name → commit (annotated tags are followed)."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", "refs/heads", "refs/tags")
        rows = (line.split(" ") for line in lines.decode().splitlines())
        return {name: peeled or sha for name, sha, peeled in rows}

    def names(self, kind: str) -> dict[str, str]:
        """Branches (`heads`) or tags (`tags`) as name → commit."""
        prefix = f"refs/{kind}/"
        return {name.removeprefix(prefix): sha for name, sha in self.refs().items() if name.startswith(prefix)}

    def resolve(self, ref: str) -> str | None:
        """The commit of a SHA, tag or branch, in this order; None when there is none."""
        for candidate in (f"refs/tags/{ref}", f"refs/heads/{ref}", ref):
            try:
                return self.git("rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}").decode().strip()
            except GitError:
                continue
        return None

    def commits(
        self,
        ref: str | None,
        *,
        limit: int = 1000,
        path: str | None = None,
        first_parent: bool = False,
        author: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[Commit]:
        """The history of a ref or range, newest first; None stands for every branch and tag."""
        form = "%H%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x00%(trailers:only,unfold,separator=%x02)%x01"
        options = {"author": author, "since": since, "until": until}
        chosen = [f"--{name}={value}" for name, value in options.items() if value is not None]
        chosen += ["--first-parent"] if first_parent else []
        start = ["--branches", "--tags"] if ref is None else ["--end-of-options", ref]
        rows = self.git(
            "log", f"--max-count={limit}", f"--format={form}", *chosen, *start, "--", *([path] if path else [])
        )
        commits = []
        for row in rows.decode(errors="replace").split("\x01")[:-1]:
            sha, parents, *who, message, trailers = row.lstrip("\n").split("\x00")
            author, author_email, authored, committer, committer_email, committed = who
            commits.append(
                Commit(
                    sha, parents.split(), author, author_email, authored, committer, committer_email, committed,
                    message.rstrip("\n"), _trailers(trailers),
                )
            )  # fmt: skip
        return commits

    def commit(self, ref: str) -> Commit:
        commit = self._commits.get(ref) or self.commits(ref, limit=1)[0]
        self._commits[commit.id] = commit
        return commit

    def annotation(self, tag: str) -> Annotation | None:
        """None for a lightweight tag, which is the commit itself."""
        form = "%(objecttype)%00%(objectname)%00%(contents)%00%(taggerdate:iso-strict)"
        kind, sha, message, moment = (
            self.git("for-each-ref", f"--format={form}", f"refs/tags/{tag}").decode().split("\0")
        )
        return Annotation(sha, message.rstrip("\n"), moment.strip()) if kind == "tag" else None

    def tag(self, name: str, sha: str, message: str, tagger: Mapping[str, str]) -> None:
        """Make an annotated tag."""
        who = {"GIT_COMMITTER_NAME": tagger["name"], "GIT_COMMITTER_EMAIL": tagger["email"]}
        subprocess.run(
            ["git", "tag", "--annotate", "--message", message, "--", name, sha],
            cwd=self.path, env=ENVIRONMENT | who, capture_output=True, check=True,
        )  # fmt: skip

    def stats(self, sha: str) -> tuple[int, int]:
        """How many lines a commit adds and deletes, compared with its first parent."""
        rows = self.git("show", "--numstat", "--format=", "--first-parent", "-m", sha).decode(errors="replace")
        numbers = [row.split("\t")[:2] for row in rows.splitlines() if row]
        return tuple(sum(int(row[at]) for row in numbers if row[at] != "-") for at in (0, 1))  # type: ignore[return-value]

    def merge_base(self, one: str, other: str) -> str | None:
        """The commit that both come from; None if there is none."""
        try:
            return self.git("merge-base", one, other).decode().strip()
        except GitError:
            return None

    def contains(self, tip: str, sha: str) -> bool:
        """Whether `sha` is part of the history of `tip`."""
        return self.merge_base(tip, sha) == sha

    def can_merge(self, target: str, source: str) -> bool:
        try:
            self.git("merge-tree", "--write-tree", "--name-only", target, source)
        except GitError:
            return False
        return True

    def changed(self, old: str, new: str) -> int:
        """The number of files that differ."""
        return self.git("diff", "--name-only", "-z", old, new).count(b"\0")

    def diffs(self, old: str, new: str) -> list[dict[str, Any]]:
        """What differs between two commits, a row per file, as GitLab's API shows it."""
        rows = (
            self.git("diff", "--raw", "--no-abbrev", "-M", "-z", old, new).decode(errors="surrogateescape").split("\0")
        )
        diffs = []
        while len(rows) > 1:
            a_mode, b_mode, _, _, status = rows.pop(0).lstrip(":").split(" ")
            old_path = rows.pop(0)
            new_path = rows.pop(0) if status[0] in "RC" else old_path
            text = self.git("diff", "-M", old, new, "--", old_path, new_path).decode(errors="replace")
            diffs.append(
                {
                    "diff": text[text.find("@@") :] if "@@" in text else "",
                    "new_path": new_path,
                    "old_path": old_path,
                    "a_mode": a_mode,
                    "b_mode": b_mode,
                    "new_file": status == "A",
                    "renamed_file": status[0] == "R",
                    "deleted_file": status == "D",
                    "generated_file": False,
                    "collapsed": False,
                    "too_large": False,
                }
            )
        return diffs

    def tree(self, ref: str, path: str = "", *, recursive: bool = False) -> list[TreeEntry]:
        where = [f"{path.rstrip('/')}/"] if path else []
        listing = self.git("ls-tree", "-z", *(["-r", "-t"] if recursive else []), ref, "--", *where)
        return [_tree_entry(row) for row in listing.decode(errors="surrogateescape").split("\0")[:-1]]

    def entry(self, ref: str, path: str) -> TreeEntry | None:
        listing = self.git("ls-tree", "-z", ref, "--", path).decode(errors="surrogateescape")
        return _tree_entry(listing.rstrip("\0")) if listing else None

    def read(self, ref: str, path: str) -> bytes | None:
        """A file's content at a commit; None when there is no such file."""
        entry = self.entry(ref, path)
        return self.git("cat-file", "blob", entry.id) if entry and entry.type == "blob" else None

    def set_ref(self, ref: str, sha: str) -> None:
        self.git("update-ref", ref, sha)

    def delete_ref(self, ref: str) -> None:
        self.git("update-ref", "-d", ref)

    def write(
        self, branch: str, parent: str | None, actions: Iterable[Action], message: str, author: Mapping[str, str]
    ) -> str:
        """Commit `actions` on top of `parent` and point `branch` at the new commit. Returns its SHA.

        One `git fast-import` for any number of files. Raises Refused as GitLab's API does; nothing is changed then.
        """
        with self.lock:
            files = {e.path: e for e in self.tree(parent, recursive=True) if e.type != "tree"} if parent else {}
            who = f"{author['name']} <{author['email']}> now"
            lines = [f"commit refs/heads/{branch}\nauthor {who}\ncommitter {who}\n".encode(), _data(message.encode())]
            if parent:
                lines.append(f"from {parent}\n".encode())
            for action in actions:
                lines.extend(_import(action, files))
            self.git("fast-import", "--quiet", "--force", "--date-format=now", input=b"".join([*lines, b"\n"]))
            return self.git("rev-parse", f"refs/heads/{branch}").decode().strip()

    def merge(self, target: str, source: str, message: str, author: Mapping[str, str]) -> str:
        """Merge branch `source` into branch `target`. Raises GitError on conflicts."""
        with self.lock:
            tree = self.git("merge-tree", "--write-tree", target, source).decode().split()[0]
            who = {f"GIT_{role}_{part.upper()}": author[part] for role in ("AUTHOR", "COMMITTER") for part in author}
            done = subprocess.run(
                ["git", "commit-tree", tree, "-p", target, "-p", source, "-m", message],
                cwd=self.path, env=ENVIRONMENT | who, capture_output=True, text=True, check=True,
            )  # fmt: skip
            self.set_ref(f"refs/heads/{target}", done.stdout.strip())
            return done.stdout.strip()


def _trailers(text: str) -> dict[str, list[str]]:
    trailers: dict[str, list[str]] = {}
    for line in filter(None, text.split("\x02")):
        name, _, value = line.partition(": ")
        trailers.setdefault(name.strip(), []).append(value.strip())
    return trailers


def _tree_entry(row: str) -> TreeEntry:
    meta, path = row.split("\t", 1)
    mode, kind, sha = meta.split(" ")
    return TreeEntry(mode, kind, sha, path)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode(errors="surrogateescape")


def _import(action: Action, files: dict[str, TreeEntry]) -> list[bytes]:
    """The fast-import commands of one action; `files` is kept up to date so that later actions see earlier ones."""
    path, kind = action.path, action.action
    if not path or path.startswith("/") or ".." in path.split("/") or ".git" in path.split("/"):
        raise Refused("path is invalid")
    if kind == "create" and path in files:
        raise Refused("A file with this name already exists")
    old_path = (action.previous_path if kind == "move" else path) or ""
    if kind in ("update", "delete", "move", "chmod") and old_path not in files:
        raise Refused("A file with this name doesn't exist")
    if kind == "move" and path in files:
        raise Refused("A file with this name already exists")
    commands = []
    old = files.get(old_path)
    if kind in ("delete", "move"):
        del files[old_path]
        commands.append(b"D " + _quoted(old_path) + b"\n")
    if kind == "delete":
        return commands
    was_executable = old is not None and old.mode == "100755"
    mode = "100755" if (was_executable if action.executable is None else action.executable) else "100644"
    if action.content is None and old is not None:
        commands.append(f"M {mode} {old.id} ".encode() + _quoted(path) + b"\n")
    else:
        commands.append(f"M {mode} inline ".encode() + _quoted(path) + b"\n" + _data(action.content or b""))
    # The blob's id is not known before git has run; only an action on the same path twice in one commit would miss it.
    files[path] = TreeEntry(mode, "blob", old.id if old else NO_COMMIT, path)
    return commands
