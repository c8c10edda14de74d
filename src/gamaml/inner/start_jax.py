"""Starting JAX for one rank: the CPU, one thread, a compilation cache on disk."""

# pyright: reportUnknownMemberType=false, reportAttributeAccessIssue=false
# JAX declares the entries of `jax.config` at run time.

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from gamaml.errors import LaunchError
from gamaml.job.host_facts import cpu_lines

IMPORTED = time.time()
"""When this process imported gamaml; source that changed later is not what it runs."""

_ENVIRONMENT = {"NPROC": "1", "JAX_PLATFORMS": "cpu"}
"""XLA sizes its thread pool by NPROC; measurements showed no effect of its own thread flags."""

_POOL_THREAD = "tf_XLAEigen"
"""Name of the threads in XLA's CPU pool."""


def prepare_environment() -> None:
    """Set the variables that JAX reads when its backend starts. A backend that exists already ignores them."""
    os.environ.update(_ENVIRONMENT)


@functools.cache
def start_jax() -> None:
    """Start JAX on the CPU with one thread and a compilation cache on disk; if it runs already, verify it.

    Raises:
        LaunchError: JAX was started earlier in this process, on another platform or with more threads.
    """
    prepare_environment()
    import jax

    jax.config.update("jax_platforms", "cpu")
    _use_cache(jax.__version__)
    platform = jax.default_backend()
    if platform != "cpu":
        raise LaunchError(
            f"JAX platform: expected 'cpu', got {platform!r}, because JAX was used before gamaml; "
            "set JAX_PLATFORMS=cpu in the environment, or compute with JAX after the run"
        )
    threads = _pool_threads()
    if threads > 1:
        raise LaunchError(
            f"XLA threads: expected 1 per rank, got {threads}, because JAX was used before gamaml; "
            "set NPROC=1 in the environment, or compute with JAX after the run"
        )


def cache_folder(environment: Mapping[str, str], jax_version: str) -> Path:
    """Return the compilation cache's folder, one per JAX version and CPU type.

    Args:
        environment: XDG_CACHE_HOME and HOME are read.
        jax_version: such as "0.10.2".
    """
    base = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/nonexistent")) / ".cache")
    return Path(base) / "gamaml" / f"jax-{jax_version}-{_cpu_digest()}"


def _use_cache(jax_version: str) -> None:
    import jax

    if jax.config.jax_compilation_cache_dir is not None:
        return
    folder = cache_folder(os.environ, jax_version)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a read-only home costs compilation time, not the run
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _cpu_digest() -> str:
    lines = cpu_lines()
    if not lines:
        return "unknown"
    described = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:12]


def _pool_threads() -> int:
    names: list[str] = []
    for path in Path("/proc/self/task").glob("*/comm"):
        try:
            names.append(path.read_text().strip())
        except OSError:
            continue  # the thread ended between listing and reading
    return names.count(_POOL_THREAD)
