"""Start Ray on this machine for one job, or connect to the user's Ray cluster.

Ray runs whatever Python code reaches its ports. A session that is started here therefore listens
only on the loopback interface, requires a token that no other user can read, and keeps its files in
a folder that only this user can enter. It has no dashboard, and Ray's usage statistics are off.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from drdeploy.errors import ClinicError, InvalidInput
from drdeploy.hosting.container_engine.ports import find_free_port
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER_PREFIX = "drdeploy-ray-"
_OBJECT_STORE_BYTES = 128 * MIB
"""The size of Ray's object store, which holds only paths and rows. Ray's default is a third of
RAM."""
MOST_UNREAD_RESULTS = 256
"""While this many results wait to be written to disk, no new task starts."""
_STARTS = 3
"""The largest number of attempts to start Ray. An attempt fails if another program takes its port
first."""
_PATIENCE_S = 300
"""How long a process of Ray may take until it answers. On a busy machine a start takes a minute,
and Ray's own limits of 5 to 30 seconds would end a process that is only slow."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}
_PATIENT = {
    "RAY_gcs_server_port_wait_time_s": f"{_PATIENCE_S}",
    "RAY_gcs_rpc_server_connect_timeout_s": "60",  # for each attempt
    "RAY_gcs_server_request_timeout_seconds": f"{_PATIENCE_S}",
    "RAY_py_gcs_connect_timeout_s": f"{_PATIENCE_S}",
    "RAY_raylet_start_wait_time_s": f"{_PATIENCE_S}",
    "RAY_raylet_client_num_connect_attempts": f"{_PATIENCE_S}",  # one attempt per second
    "RAY_worker_register_timeout_seconds": f"{_PATIENCE_S}",
    "RAY_agent_register_timeout_ms": f"{_PATIENCE_S * 1000}",
    "RAY_health_check_timeout_ms": f"{_PATIENCE_S * 1000}",
}
"""Settings that make Ray wait longer for slow processes. Ray still notices at once if a process
ends."""
_CONNECTION_TIMEOUT_S = 10
"""How long the head node of a cluster may take to accept a connection."""
_BOUNDED = {
    # Ray makes this many attempts to join a cluster. If a program that is not Ray listens at the
    # address, each attempt takes 40 seconds, and Ray would make 20 attempts.
    "RAY_gcs_server_port_wait_time_s": "2",
}
"""Settings that end Ray's attempts to join a cluster after a minute and a half."""
_LOOPBACK = {
    # If clusters are possible on a system, Ray replaces 127.0.0.1 by an address that other machines
    # can reach.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def start_or_join_ray(cluster: str | None, workers: int) -> Iterator[Any]:
    """Start or join Ray, and yield the module ``ray``.

    Ray may read its environment variables at any time, so they are set for the whole process.

    Args:
        cluster: The ``HOST:PORT`` of a cluster; with None, Ray is started on this machine.
        workers: The number of worker processes on this machine.

    Raises:
        InvalidInput: The address of the cluster is not ``HOST:PORT``.
        ClinicError: Ray does not start, or the cluster does not answer.
    """
    os.environ.update(_QUIET)
    if cluster is not None:
        _check_that_cluster_answers(cluster)  # before the import of Ray, which takes seconds
        for name, value in _BOUNDED.items():
            os.environ.setdefault(name, value)
    else:
        os.environ.update(_LOOPBACK)
        for name, value in _PATIENT.items():
            os.environ.setdefault(name, value)
        # Ray reads the token once in a process.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.pop("RAY_ADDRESS", None)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray = _import_and_quieten_ray()
    try:
        if cluster is not None:
            _connect_to_ray_cluster(ray, cluster)
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set its own
            yield ray
            return
        with _make_folder_of_session() as folder:
            node = _start_ray_and_connect(ray, workers, folder)
            signal.signal(signal.SIGTERM, on_sigterm)
            try:
                yield ray
            finally:
                _end_ray_session(ray, node)
    finally:
        ray.shutdown()


def count_workers(ray: Any) -> int:
    """Return how many workers grade at once: one for each processor that Ray has."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _import_and_quieten_ray() -> Any:
    import ray
    import ray.data

    # These warnings are for programmers. Importing Ray makes them visible, so they are hidden after
    # the import.
    warnings.filterwarnings("ignore", message=".*is deprecated")

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # Ray leaves a block whose worker died out of the result. Its photographs are then graded again,
    # one by one.
    context.max_errored_blocks = -1
    context.execution_options.preserve_order = False
    _allow_waiting_tasks(context)
    return ray


def _allow_waiting_tasks(context: Any) -> None:
    """Let Ray Data hand more tasks to Ray than there are processors.

    Ray keeps the additional tasks, and starts one as soon as a processor is free. By default, Ray
    Data hands over the next task only after it has noticed that a task has ended. It looks for
    ended tasks only ten times a second, which left the processors idle for a quarter of the time.
    """
    from ray.data._internal.execution.backpressure_policy import (
        ENABLED_BACKPRESSURE_POLICIES,
        ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
        ResourceBudgetBackpressurePolicy,
    )

    class UnreadResultsPolicy(ResourceBudgetBackpressurePolicy):  # type: ignore[misc]  # no types
        """Lets Ray Data start new tasks, unless too many results wait to be read.

        Busy processors do not stop new tasks. The size of the worker pool also limits the number of
        tasks.
        """

        def can_add_input(self, op: object) -> bool:
            """Return whether Ray Data may hand over another task to Ray."""
            unread: int = self._topology[op].total_enqueued_output_blocks()
            return unread < MOST_UNREAD_RESULTS

    context.set_config(
        ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
        [
            UnreadResultsPolicy if policy is ResourceBudgetBackpressurePolicy else policy
            for policy in ENABLED_BACKPRESSURE_POLICIES
        ],
    )


def _start_ray_and_connect(ray: Any, workers: int, folder: Path) -> Any:
    """Start the processes of Ray and connect to them; return Ray's object for this node."""
    for attempt in range(1, _STARTS + 1):
        node = None
        try:
            node = _start_ray_processes_on_this_machine(workers, folder / str(attempt))
            ray.init(address=node.gcs_address, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:  # Ray raises Exception itself
            _end_ray_session(ray, node)
            if attempt == _STARTS:
                raise ClinicError(
                    f"Ray does not start: {' '.join(str(error).split())[:300]}",
                    remedy="Run the command again when this machine is less busy",
                ) from error
        else:
            return node
    return None


def _start_ray_processes_on_this_machine(workers: int, folder: Path) -> Any:
    """Start the processes of Ray.

    ``ray.init`` is not used, because it would let Ray's agent choose its ports. It would also give
    up if the agent needs more than 15 seconds to start, as happens on a busy machine.
    """
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    class NodeWithoutDashboard(Node):  # type: ignore[misc]  # Ray has no types here
        """The processes of Ray, except the dashboard.

        Ray starts the dashboard's server even with ``include_dashboard=False``.
        """

        def __init__(self, parameters: RayParams) -> None:
            # With the reaper, Ray's processes end with this process, even if this process is
            # killed.
            try:
                super().__init__(parameters, head=True, shutdown_at_exit=False, spawn_reaper=True)
            except BaseException:  # stop the processes that did start before the next attempt
                self.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
                raise

        def start_api_server(self, **_: object) -> None:
            """Do nothing: the server that Ray would start here is needed only for the dashboard."""

        def start_ray_processes(self) -> None:
            """Start Ray's processes, and wait for the node longer than Ray's own 30 seconds."""
            super().start_ray_processes()
            _wait_until_node_is_known(self)

    parameters = RayParams(
        # If Ray chose the port itself, it would wait for the process that should listen on it, even
        # if that process has ended. Ctrl-C would have no effect meanwhile.
        gcs_server_port=find_free_port(),
        num_cpus=workers,
        num_gpus=0,
        object_store_memory=_OBJECT_STORE_BYTES,
        node_ip_address="127.0.0.1",
        temp_dir=str(folder),
        include_dashboard=False,
        include_log_monitor=False,
        no_monitor=True,
        metrics_agent_port=find_free_port(),
        metrics_export_port=find_free_port(),
        dashboard_agent_listen_port=find_free_port(),
        runtime_env_agent_port=find_free_port(),
        _system_config={
            # By default, Ray repeats a task forever if the task fills the memory.
            "task_oom_retries": 2,
        },
    )
    return NodeWithoutDashboard(parameters)


def _wait_until_node_is_known(node: Any) -> None:
    """Wait until the processes of a node have registered.

    Raises:
        RuntimeError: A process has ended, or the processes take longer than :data:`_PATIENCE_S`.
    """
    from ray._private.services import get_node

    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            get_node(node.gcs_address, node.node_id)
        except RuntimeError:  # not yet
            ended = [name for name, _ in node.dead_processes()]
            if ended:
                raise RuntimeError(f"the process {ended[0]} has ended") from None
            if time.monotonic() > until:
                raise RuntimeError(f"the node has not answered for {_PATIENCE_S} seconds") from None
            time.sleep(0.1)
        else:
            return


def _end_ray_session(ray: Any, node: Any) -> None:
    ray.shutdown()
    if node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)


def _check_that_cluster_answers(cluster: str) -> None:
    """Connect to the head node of a cluster, and close the connection.

    Ray itself would try for many minutes to reach an address at which nothing listens.
    """
    try:
        address = urlsplit(f"//{cluster}")
        host, port = address.hostname, address.port
    except ValueError:  # the port is not a number
        host, port = None, None
    if "://" in cluster or not host or not port:
        raise InvalidInput(
            "The address of a cluster has the form HOST:PORT",
            where=cluster,
            remedy="Run the command on a node of the cluster, and give the address of its head "
            "node, for example 10.0.0.1:6379",
        )
    try:
        socket.create_connection((host, port), _CONNECTION_TIMEOUT_S).close()
    except OSError as error:
        raise ClinicError(
            f"No Ray cluster answers at this address: {error.strerror or error}",
            where=cluster,
            remedy="Give the address that `ray start --head` has printed, and check that the head "
            "node is running",
        ) from error


def _connect_to_ray_cluster(ray: Any, cluster: str) -> None:
    try:
        ray.init(address=cluster, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise ClinicError(
            f"The Ray cluster cannot be joined: {' '.join(str(error).split())[:300]}",
            where=cluster,
            remedy="Give the address that `ray start --head` has printed. Run the command on a "
            "node of the cluster, with the same versions of Python, Ray and drdeploy, and with "
            "RAY_AUTH_TOKEN if the cluster asks for one",
        ) from error


@contextmanager
def _make_folder_of_session() -> Iterator[Path]:
    """Make a folder for the session; delete folders that killed programs left behind."""
    root = Path(tempfile.gettempdir())
    for left_behind in root.glob(f"{_FOLDER_PREFIX}*"):
        with suppress(OSError):
            # The lock of another user may be a link, through which a file would be made, or a pipe.
            if left_behind.lstat().st_uid == os.getuid():
                _delete_folder_unless_in_use(left_behind)
    folder, lock = _make_locked_folder()
    try:
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _delete_folder_unless_in_use(folder: Path) -> None:
    with (folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if its owner lives
        shutil.rmtree(folder, ignore_errors=True)


def _make_locked_folder() -> tuple[Path, IO[bytes]]:
    """Make a folder that only this user can enter, and lock it to show that it is in use.

    Ray lets every user read and write its own folder, so it is put into this one.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
        # Another program that starts Ray may delete the folder before it is locked.
        with suppress(FileNotFoundError):
            lock = (folder / "lock").open("ab")
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / "lock").exists():
                return folder, lock
            lock.close()
