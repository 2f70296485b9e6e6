"""The environment variables that a model may set if its instances are processes.

In a container, a model may set any variable, because the variable affects only the container. An
instance that is a process runs as the service's user, and can use all files of this user. Many
variables make a program load a library, run a file or write a file, for example ``LD_PRELOAD``,
``PYTHONSTARTUP``, ``GCONV_PATH`` and ``OMP_TOOL_LIBRARIES``. No list of all dangerous variables
exists, so this module lists the allowed variables. The allowed variables hold only numbers and
words: settings of the server, of the runtimes that run the model, and of the memory allocator. When
a model is created, a variable that is not on the list is refused, and the error names the variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.hosting.serving.settings import list_setting_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OWN_VARIABLES: Mapping[str, str] = {
    "SAGEMAKER_BIND_TO_PORT": "the service chooses where an instance listens",
    "DRDEPLOY_BIND_HOST": "the service chooses where an instance listens",
    "DRDEPLOY_MODEL_DIR": "the service chooses the model's folder",
    "DRDEPLOY_STATE_DIR": "the service chooses where an instance may write",
}
"""The settings of the server that only the service may set, each with the reason."""

ALLOWED_PREFIXES = ("SAGEMAKER_", "MODEL_SERVER_")
"""The prefixes of SageMaker's variables; its SDK sets some of these variables for every model."""

RUNTIME_VARIABLES = frozenset(
    {
        "KMP_AFFINITY",
        "KMP_BLOCKTIME",
        "MALLOC_ARENA_MAX",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TOP_PAD_",
        "MALLOC_TRIM_THRESHOLD_",
        "MKL_NUM_THREADS",
        "OMP_DYNAMIC",
        "OMP_NUM_THREADS",
        "OMP_PLACES",
        "OMP_PROC_BIND",
        "OMP_WAIT_POLICY",
        "ONEDNN_MAX_CPU_ISA",
        "OPENBLAS_NUM_THREADS",
        "PYTHONHASHSEED",
        "PYTHONUNBUFFERED",
        "TF_CPP_MIN_LOG_LEVEL",
        "TF_ENABLE_ONEDNN_OPTS",
        "TF_NUM_INTEROP_THREADS",
        "TF_NUM_INTRAOP_THREADS",
    }
)
"""The variables for threads, logs and memory of Python, the C library and the runtimes. Whole names
are listed instead of prefixes. A prefix would also allow dangerous variables, such as
``OMP_TOOL_LIBRARIES``, ``PYTHONPATH`` and ``TF_XLA_FLAGS``."""


def explain_refused_variables(names: Iterable[str]) -> str | None:
    """Return why a model may not set the given environment variables, or None if it may."""
    settings = {setting.variable for setting in list_setting_facts()}
    for name in sorted(names):
        if name in OWN_VARIABLES:
            return f"Environment sets {name}, but {OWN_VARIABLES[name]}"
        is_allowed = name in settings | RUNTIME_VARIABLES or name.startswith(ALLOWED_PREFIXES)
        if not is_allowed:
            return (
                f"Environment sets {name}, which is not among the variables that a model may set "
                "if its instances are processes"
            )
    return None
