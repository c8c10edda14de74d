"""Finished programs of ready-made tasks and learners, kept on disk from one process to the next.

JAX's own compilation cache spares a process XLA's part alone. Tracing and lowering, which come first, take Python
longer than everything else that a rank does at its start but importing JAX.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportAttributeAccessIssue=false
# JAX declares the entries of `jax.config` at run time, and leaves the types of trees partly unknown.

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import jax
import jaxlib.version
import numpy as np
from jax.experimental import serialize_executable
from jax.stages import Compiled

from gamaml.inner.start_jax import IMPORTED, cache_folder

_PACKAGE = Path(__file__).parents[1]
_DIGEST_SIZE = hashlib.sha256().digest_size


def kept(description: str | None, compile_program: Callable[[], Compiled]) -> Compiled:
    """Return a program from the cache folder of `start_jax`, or compile it and keep it there.

    A file is named by a digest of all that its program depends on: the description, the source of gamaml, the versions
    and settings of JAX and NumPy; the folder is named by the CPU. A file that is damaged, or that anyone but the user
    could have written, is not used. Nor is a program written that JAX has in its own cache, which outlives changes of
    gamaml's source: JAX would write it without some of the machine code.

    Reading a file unpickles it: whoever can write files in this user's name could have code executed by it.

    Args:
        description: tells the program from all others of this source; None if it depends on the code of a user.
        compile_program: compiles it.
    """
    path = None if description is None else _path(description)
    if path is None:
        return compile_program()
    program = _read(path)
    if program is None:
        with _cache_hits() as hits:
            program = compile_program()
        if not hits:
            _write(path, program)
    return program


@contextlib.contextmanager
def _cache_hits() -> Generator[list[str]]:
    """Collect the events of JAX that a program was found in its compilation cache."""
    hits: list[str] = []

    def listen(event: str, **_: str | int) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield hits
    finally:
        jax.monitoring.unregister_event_listener(listen)


def _path(description: str) -> Path | None:
    """Return the file of a program, or None if it cannot be kept."""
    folder = cache_folder(os.environ, jax.__version__)
    # In a folder that the user chose, other types of CPU may keep theirs too.
    if jax.config.jax_compilation_cache_dir != str(folder):
        return None
    settings = {name: getattr(jax.config, name, value) for name, value in jax.config.values.items()}
    del settings["jax_compilation_cache_dir"]
    versions = jax.__version__, jaxlib.version.__version__, np.__version__, platform.python_version()
    digest = hashlib.sha256(repr((description, versions, settings, os.environ.get("XLA_FLAGS"))).encode())
    for source in sorted(_PACKAGE.rglob("*.py")):
        if source.stat().st_ctime > IMPORTED:
            return None  # this process may run the source of before the change
        digest.update(f"{source.relative_to(_PACKAGE)}\n".encode() + source.read_bytes())
    return folder / f"{digest.hexdigest()}.program"


def _read(path: Path) -> Compiled | None:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                return None
            content = file.read()
    except OSError:
        return None
    digest, pickled = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    if hashlib.sha256(pickled).digest() != digest:
        return None
    try:
        return serialize_executable.deserialize_and_load(*pickle.loads(pickled))
    except jax.errors.JaxRuntimeError:
        return None  # XLA refuses machine code of another CPU, which a virtual machine may show under one name


def _write(path: Path, program: Compiled) -> None:
    try:
        pickled = pickle.dumps(serialize_executable.serialize(program))
    except NotImplementedError:
        return  # JAX cannot keep a program with large constants
    # A full or read-only disk costs the next process time, not this one its run.
    with contextlib.suppress(OSError):
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(pickled).digest() + pickled)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
