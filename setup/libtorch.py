#!/usr/bin/env python3
"""Fetches libtorch 2.11.0 into .libtorch/, once, each wheel checked by its SHA-256.

Only what the engine links is unpacked: the headers, and the libraries of the CPU half. With `--cuda` the CUDA half and
all that it needs are unpacked beside them; the same engine then finds the GPUs. A fetch that was cut short leaves
nothing behind that the next one could trip over: everything happens in a sibling folder, renamed at the end.
"""

import pathlib
import platform
import shutil
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPU = [ROOT / "setup" / "libtorch.txt"]
CUDA = [*CPU, ROOT / "setup" / "libtorch-cuda.txt"]
TARGET = ROOT / ".libtorch"
PARTIAL = ROOT / ".libtorch.partial"
STAMP = TARGET / "requirements.txt"

# What the CPU half consists of. `libtorch_cpu.so` is linked against the last two, GPU or not.
TORCH_LIBRARIES = ("libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp")
NVIDIA_LIBRARIES = ("libcudart.so", "libcupti.so")


def main() -> None:
    cuda = "--cuda" in sys.argv[1:]
    if STAMP.exists() and STAMP.read_bytes() in [wanted(CUDA)] + ([] if cuda else [wanted(CPU)]):
        return
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit(f"libtorch 2.11.0 is fetched for Linux on x86_64 only; this is {platform.system()} on "
                 f"{platform.machine()}. Unpack a libtorch 2.11.0 for this machine into .libtorch/ by hand.")
    print(f"fetching libtorch 2.11.0 ({'2.5 GB' if cuda else '540 MB'}, once)", flush=True)
    fetch(CUDA if cuda else CPU, cuda)


def wanted(requirements: "list[pathlib.Path]") -> bytes:
    return b"".join(file.read_bytes() for file in requirements)


def fetch(requirements: "list[pathlib.Path]", cuda: bool) -> None:
    shutil.rmtree(PARTIAL, ignore_errors=True)
    wheels = PARTIAL / "wheels"
    wheels.mkdir(parents=True)
    download(requirements, wheels)
    for wheel in sorted(wheels.glob("*.whl")):
        unpack(wheel, cuda)
    shutil.rmtree(wheels)
    (PARTIAL / STAMP.name).write_bytes(wanted(requirements))
    shutil.rmtree(TARGET, ignore_errors=True)
    PARTIAL.rename(TARGET)


def download(requirements: "list[pathlib.Path]", wheels: pathlib.Path) -> None:
    """The platform is spelled out, so that every Python 3 fetches the same files."""
    tags = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)] + ["--platform=manylinux2014_x86_64"]
    files = [f"--requirement={file}" for file in requirements]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
               "--python-version=3.12", "--implementation=cp", "--abi=cp312", "--abi=none", *tags, *files,
               "--dest", str(wheels)]
    if subprocess.run(command).returncode != 0:
        sys.exit("pip could not fetch libtorch; its message stands above. Run the same command again once that is mended.")


def unpack(wheel: pathlib.Path, cuda: bool) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            destination = place(member.filename, cuda)
            if destination is not None and not member.is_dir():
                destination.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(destination, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)


def place(name: str, cuda: bool) -> "pathlib.Path | None":
    """Where a file of a wheel goes under .libtorch/, or None if the engine has no use for it."""
    path = pathlib.PurePosixPath(name)
    if name.startswith("torch/include/"):
        return PARTIAL / path.relative_to("torch")
    if ".so" not in path.name or not name.startswith(("torch/lib/", "nvidia/")) or "python" in path.name:
        return None
    libraries = TORCH_LIBRARIES if name.startswith("torch/") else NVIDIA_LIBRARIES
    return PARTIAL / "lib" / path.name if cuda or path.name.startswith(libraries) else None


if __name__ == "__main__":
    main()
