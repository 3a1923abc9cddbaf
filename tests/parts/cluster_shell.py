"""A shell whose `kubectl` knows the Secrets of one cluster and the key folders of its pods.

Tests use the shell to follow deploy/k8s/README.md to the letter. The real kubectl makes each change
of a Secret (`patch --local`). Limitations: there is no API server, a pod is a folder of keys, and
`exec` runs on this machine.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.parts.local_stack import ROOT

_KUBECTL = """#!/bin/sh
exec {python} -m tests.parts.cluster_shell {state} {kubectl} "$@"
"""
_LONG_AGO = 3600.0


class Cluster:
    """The Secrets of a cluster, and the keys with which each deployment's pods were started."""

    def __init__(self, state: Path, kubectl: str) -> None:
        self.state = state
        self._kubectl = kubectl
        for folder in ("secrets", "pods", "bin"):
            (state / folder).mkdir(parents=True, exist_ok=True)

    def add(self, name: str, contents: Mapping[str, bytes], *, immutable: bool = False) -> None:
        data = {file: base64.b64encode(value).decode() for file, value in contents.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        self._save(name, secret | ({"immutable": True} if immutable else {}))

    def contents(self, name: str) -> dict[str, bytes]:
        return {file: base64.b64decode(value) for file, value in self._secret(name)["data"].items()}

    def keys(self, deployment: str) -> Path:
        """Returns the folder of keys of a deployment's pods."""
        return self.state / "pods" / deployment

    def restart(self, deployment: str) -> None:
        """Starts new pods, which have the current contents of the Secret.

        Their files are dated an hour back, as if the pods had run for a while.
        """
        folder = self.keys(deployment)
        folder.mkdir(exist_ok=True)
        for file in folder.iterdir():
            file.unlink()
        for name, value in self.contents(f"keys-{deployment}").items():
            (folder / name).write_bytes(value)
            os.utime(folder / name, (time.time() - _LONG_AGO,) * 2)

    def run(self, script: str, **environment: str) -> str:
        """Runs a script in a shell that has this `kubectl`; returns its standard output."""
        program = self.state / "bin" / "kubectl"
        program.write_text(
            _KUBECTL.format(python=sys.executable, state=self.state, kubectl=self._kubectl)
        )
        program.chmod(0o755)
        variables = {
            "PATH": f"{program.parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.state),
            **environment,
        }
        process = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.state,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, f"{script}\n{process.stdout}\n{process.stderr}"
        return process.stdout

    def execute(self, arguments: list[str]) -> int:
        """Executes the arguments of `kubectl -n enlace …`; returns the exit code."""
        assert arguments[:2] == ["-n", "enlace"], arguments
        match arguments[2:]:
            case ["patch", "secret", name, *patch]:
                return self._patch(name, patch)
            case ["get", "secret", name, "-o", "yaml"]:
                print(self._local("yaml", str(self._file(name)), "--patch={}"))
            case ["replace", "--force", "-f", "-"]:
                secret = json.loads(self._local("json", "-", "--patch={}"))
                self._save(secret["metadata"]["name"], secret)
            case ["rollout", "restart", *deployments]:
                for deployment in deployments:
                    self.restart(deployment.removeprefix("deploy/"))
            case ["rollout", "status", deployment]:
                assert self.keys(deployment.removeprefix("deploy/")).is_dir()
            case ["exec", deployment, "--", "python", *command]:
                keys = self.keys(deployment.removeprefix("deploy/"))
                return subprocess.run(
                    [sys.executable, *command],
                    cwd=ROOT,
                    env=os.environ | {"ENLACE_KEYS": str(keys)},
                ).returncode
            case _:
                raise SystemExit(f"no such command here: {arguments}")
        return 0

    def _patch(self, name: str, patch: list[str]) -> int:
        secret = json.loads(self._local("json", str(self._file(name)), *patch))
        if self._secret(name).get("immutable"):
            print("data: Forbidden: field is immutable when `immutable` is set", file=sys.stderr)
            return 1
        for file, text in secret.pop("stringData", {}).items():  # as the API server does
            secret["data"][file] = base64.b64encode(text.encode()).decode()
        self._save(name, secret)
        return 0

    def _local(self, form: str, file: str, *patch: str) -> str:
        """Returns an object that the real kubectl has patched."""
        command = [
            self._kubectl,
            "patch",
            "--local",
            f"--output={form}",
            f"--filename={file}",
            *patch,
        ]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    def _secret(self, name: str) -> dict[str, dict[str, str]]:
        secret: dict[str, dict[str, str]] = json.loads(self._file(name).read_text())
        return secret

    def _save(self, name: str, secret: object) -> None:
        self._file(name).write_text(json.dumps(secret))

    def _file(self, name: str) -> Path:
        return self.state / "secrets" / f"{name}.json"


if __name__ == "__main__":
    sys.exit(Cluster(Path(sys.argv[1]), sys.argv[2]).execute(sys.argv[3:]))
