#!/usr/bin/env python3
"""Fetches Fashion-MNIST into data/fashion-mnist/, once, what each file holds checked by its SHA-256.

Where apt is there, Debian's package of the data set is downloaded and unpacked, which needs no root and installs
nothing. Elsewhere, or where apt knows no such package, the files come from the data set's publisher. A fetch that was
cut short leaves nothing behind that the next one could trip over: a file has its name only once its digest is right.
"""

import gzip
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zlib

TARGET = pathlib.Path(__file__).resolve().parent.parent / "data" / "fashion-mnist"
PACKAGE = "dataset-fashion-mnist"
PUBLISHER = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
# Of what the files hold: the two sources' gzip headers differ, the images and labels within do not.
DIGESTS = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
SECONDS_MAX = 120


def main() -> None:
    if complete(TARGET):
        return
    print("fetching Fashion-MNIST (30 MB, once)", flush=True)
    TARGET.mkdir(parents=True, exist_ok=True)
    problems = []
    for source in (from_debian, from_publisher):
        with tempfile.TemporaryDirectory(dir=TARGET.parent) as folder:
            try:
                source(pathlib.Path(folder))
                accept(pathlib.Path(folder))
                return
            except (OSError, subprocess.SubprocessError, ValueError) as problem:
                problems.append(f"  {source.__doc__}: {problem}")
    sys.exit("Fashion-MNIST could not be fetched:\n" + "\n".join(problems) +
             f"\nPut the four files into {TARGET} by hand, or run the same command again once that is mended.")


def complete(folder: pathlib.Path) -> bool:
    return all((folder / name).exists() and digest(folder / name) == expected for name, expected in DIGESTS.items())


def digest(path: pathlib.Path) -> str:
    """The SHA-256 of what a gzip file holds; a damaged one has none that anybody expects."""
    try:
        return hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
    except (EOFError, OSError, zlib.error) as problem:
        return f"none ({problem})"


def from_debian(folder: pathlib.Path) -> None:
    """Debian's package"""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise ValueError("apt-get and dpkg are not there")
    try:
        run(["apt-get", "download", PACKAGE], folder)
    except OSError:
        run(["apt-get", *own_lists(folder), "update"], folder)
        run(["apt-get", *own_lists(folder), "download", PACKAGE], folder)
    package = next(folder.glob(f"{PACKAGE}_*.deb"))
    run(["dpkg", "-x", str(package), str(folder / "unpacked")], folder)
    for name in DIGESTS:
        found = next((folder / "unpacked").rglob(name), None)
        if found is None:
            raise ValueError(f"{package.name} holds no {name}")
        found.rename(folder / name)


def own_lists(folder: pathlib.Path) -> "list[str]":
    """Options that keep apt's package lists in `folder`: only root may write the system's own, and a container has none."""
    for kind in ("state/lists/partial", "cache/archives/partial"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State={folder}/state", "-o", "Dir::State::status=/var/lib/dpkg/status",
            "-o", f"Dir::Cache={folder}/cache", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="]


def run(command: "list[str]", folder: pathlib.Path) -> None:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS_MAX)
    if done.returncode != 0:
        last_words = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise OSError(f"{command[0]} {command[-1]}: {' '.join(last_words)}")


def from_publisher(folder: pathlib.Path) -> None:
    """the publisher"""
    for name in DIGESTS:
        with urllib.request.urlopen(PUBLISHER + name, timeout=SECONDS_MAX) as answer, open(folder / name, "wb") as sink:
            shutil.copyfileobj(answer, sink)


def accept(folder: pathlib.Path) -> None:
    """Checks the four files and gives them their place."""
    for name, expected in DIGESTS.items():
        found = digest(folder / name)
        if found != expected:
            raise ValueError(f"{name} has the SHA-256 {found}, not {expected}")
    for name in DIGESTS:
        (folder / name).replace(TARGET / name)


if __name__ == "__main__":
    main()
