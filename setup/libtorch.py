#!/usr/bin/env python3
"""Fetches libtorch 2.11.0 into .libtorch/, once, each wheel checked by its SHA-256.

Only what the engine links is unpacked: the headers, and the libraries of the CPU half. A fetch that was cut short
leaves nothing behind that the next one could trip over: everything happens in a sibling folder, renamed at the end.
"""

import pathlib
import platform
import shutil
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "setup" / "libtorch.txt"
TARGET = ROOT / ".libtorch"
PARTIAL = ROOT / ".libtorch.partial"
STAMP = TARGET / "requirements.txt"

TORCH_LIBRARIES = ("libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp")
CUDA_LIBRARIES = ("libcudart.so", "libcupti.so")


def main() -> None:
    if STAMP.exists() and STAMP.read_bytes() == REQUIREMENTS.read_bytes():
        return
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit(f"libtorch 2.11.0 is fetched for Linux on x86_64 only; this is {platform.system()} on {platform.machine()}. "
                 "Unpack a libtorch 2.11.0 for this machine into .libtorch/ by hand.")
    print("fetching libtorch 2.11.0 (540 MB, once)", flush=True)
    shutil.rmtree(PARTIAL, ignore_errors=True)
    wheels = PARTIAL / "wheels"
    wheels.mkdir(parents=True)
    download(wheels)
    for wheel in sorted(wheels.glob("*.whl")):
        unpack(wheel)
    shutil.rmtree(wheels)
    shutil.copy(REQUIREMENTS, PARTIAL / STAMP.name)
    shutil.rmtree(TARGET, ignore_errors=True)
    PARTIAL.rename(TARGET)


def download(wheels: pathlib.Path) -> None:
    """The platform is spelled out, so that every Python 3 fetches the same three files."""
    tags = [f"--platform=manylinux_{glibc}_x86_64" for glibc in ("2_28", "2_27", "2_25", "2_17")] + ["--platform=manylinux2014_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
               "--python-version=3.12", "--implementation=cp", "--abi=cp312", "--abi=none", *tags,
               "--requirement", str(REQUIREMENTS), "--dest", str(wheels)]
    if subprocess.run(command).returncode != 0:
        sys.exit("pip could not fetch libtorch; its message stands above. Run the same command again once that is mended.")


def unpack(wheel: pathlib.Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            destination = place(member.filename)
            if destination is not None and not member.is_dir():
                destination.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(destination, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)


def place(name: str) -> "pathlib.Path | None":
    """Where a file of a wheel goes under .libtorch/, or None if the engine has no use for it."""
    path = pathlib.PurePosixPath(name)
    if name.startswith("torch/include/"):
        return PARTIAL / path.relative_to("torch")
    libraries = TORCH_LIBRARIES if name.startswith("torch/lib/") else CUDA_LIBRARIES if name.startswith("nvidia/") else ()
    if path.name.startswith(libraries) and ".so" in path.name:
        return PARTIAL / "lib" / path.name
    return None


if __name__ == "__main__":
    main()
