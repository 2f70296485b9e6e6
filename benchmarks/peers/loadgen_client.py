"""Send requests to a server at a given mean rate, with the load generator MLPerf LoadGen.

    loadgen_client.py PORT RATE REQUESTS SEED FOLDER

LoadGen sends the requests at random times (its "Server" scenario). The script prints percentiles of
the latency as a JSON object: ``{"95.0": 0.2}`` says that the 95th percentile is 0.2 seconds.
"""

import http.client
import json
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlperf_loadgen as loadgen

THREADS = 256
NS_PER_S = 1_000_000_000
MINUTE_NS = 60 * NS_PER_S
kept = threading.local()


def send(port: int, sample: loadgen.QuerySample) -> None:
    """Send one request and report its end to LoadGen."""
    connection = getattr(kept, "connection", None)
    if connection is None:
        connection = kept.connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/", b"x")
    connection.getresponse().read()
    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0)])


def main() -> None:
    """Send the requests, and print the percentiles."""
    port, rate, requests = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    folder = Path(sys.argv[5])
    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.server_target_latency_ns = MINUTE_NS  # the caller evaluates the latencies
    settings.server_target_latency_percentile = 0.95
    settings.min_query_count = settings.max_query_count = requests
    settings.min_duration_ms = 0
    settings.schedule_rng_seed = int(sys.argv[4])
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    log = loadgen.LogSettings()
    log.log_output = output
    with ThreadPoolExecutor(THREADS) as pool:
        sut = loadgen.ConstructSUT(
            lambda samples: [pool.submit(send, port, one) for one in samples], lambda: None
        )
        qsl = loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)
        loadgen.StartTestWithLogSettings(sut, qsl, settings, log)
        loadgen.DestroyQSL(qsl)
        loadgen.DestroySUT(sut)
    summary = (folder / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    found = re.findall(r"([\d.]+) percentile latency \(ns\)\s*:\s*(\d+)", summary)
    lowest, highest = (
        re.search(rf"{name} latency \(ns\)\s*:\s*(\d+)", summary)[1] for name in ("Min", "Max")
    )
    rows = [(0, lowest), *found, (100, highest)]
    print(json.dumps({float(percent): int(ns) / NS_PER_S for percent, ns in rows}))


if __name__ == "__main__":
    main()
