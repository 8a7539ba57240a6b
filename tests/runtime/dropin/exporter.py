"""One process that exports, at /SETUP, what each serving system exports: 20 req/s of 0.2 s. It prints its port."""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RPS, LATENCY_S, RUNNING, WAITING = 20.0, 0.2, 4, 1
STARTED_S = time.time() - 100.0
EDGES_S = (0.05, 0.1, 0.25, 0.5, 1.0)

# By system: counters of requests, histogram of latencies and its units in a second, gauges; all with these labels.
SYSTEMS = {
    "vllm": ('model_name="m"', ["vllm:request_success_total"], ("vllm:e2e_request_latency_seconds", 1),
             {"vllm:num_requests_running": RUNNING, "vllm:num_requests_waiting": WAITING, "vllm:kv_cache_usage_perc": 0.4}),
    "sglang": ('model_name="m"', ["sglang:num_requests_total"], ("sglang:e2e_request_latency_seconds", 1),
               {"sglang:num_running_reqs": RUNNING, "sglang:num_queue_reqs": WAITING, "sglang:token_usage": 0.4}),
    "tensorrt-llm": ('model_name="m"', ["trtllm_request_success_total"], ("trtllm_e2e_request_latency_seconds", 1),
                     {"trtllm_kv_cache_utilization": 0.4}),
    "triton": ('model="m"', ["nv_inference_request_success", "nv_inference_request_failure"], None,
               {"nv_inference_pending_request_count": WAITING}),
    "ray-serve": ('application="a",deployment="d",replica="r"', ["ray_serve_deployment_request_counter_total"],
                  ("ray_serve_deployment_processing_latency_ms", 1e3),
                  {"ray_serve_deployment_replica_healthy": 1, "ray_serve_num_ongoing_requests_at_replicas": RUNNING,
                   "ray_serve_deployment_queued_queries": WAITING}),
    "kserve": ('model_name="m"', [], ("request_predict_seconds", 1), {}),
    "seldon": ('model="m"', ["model_infer_request_success_total"], ("rest_server_requests_duration_seconds", 1), {}),
    "tf-serving": ('model_name="m",status="OK"', [":tensorflow:serving:request_count"],
                   (":tensorflow:serving:request_latency", 1e6), {}),
    "tidal": ('application="classify"', ["tidal_requests_offered_total"], ("tidal_request_latency_seconds", 1),
              {"tidal_device_held_units": 2, "tidal_service_queue_requests": WAITING}),
    "http": ('code="200"', ["http_requests_total"], ("http_request_duration_seconds", 1), {}),
}

# By broken set-up: of which system, and what is not there.
BROKEN = {
    "no-counter": ("vllm", "vllm:request_success_total"), "no-latency": ("vllm", "vllm:e2e_request_latency_seconds"),
    "no-running": ("sglang", "sglang:num_running_reqs"), "no-queue": ("sglang", "sglang:num_queue_reqs"),
    "no-times": ("tensorrt-llm", "trtllm_e2e_request_latency_seconds"),
    "only-gauges": ("triton", "nv_inference_request_success"), "no-durations": ("triton", "nv_inference_request_duration_us"),
    "no-histogram": ("ray-serve", "ray_serve_deployment_processing_latency_ms"),
    "no-buckets": ("kserve", "request_predict_seconds_bucket"),
    "no-rest": ("seldon", "rest_server_requests_duration_seconds"),
    "no-requests": ("tf-serving", ":tensorflow:serving:request_count"),
    "no-replicas": ("tidal", "tidal_kind_replicas"),
}


def lines_of(system):
    """Its page now."""
    labels, counters, histogram, gauges = SYSTEMS[system]
    count = int(RPS * (time.time() - STARTED_S))
    yield from (f"{name}{{{labels}}} {0 if name.endswith('failure') else count}" for name in counters)
    if system == "triton":
        yield from (f"nv_inference_{part}_duration_us{{{labels}}} {1e6 * LATENCY_S * share * count:.0f}"
                    for part, share in (("request", 1), ("compute_infer", 0.8)))
    if histogram:
        name, unit = histogram
        for edge in (*EDGES_S, float("inf")):
            le = "+Inf" if edge == float("inf") else f"{edge * unit:g}"
            yield f'{name}_bucket{{{labels},le="{le}"}} {count if edge > LATENCY_S else 0}'
        yield f"{name}_count{{{labels}}} {count}"
        yield f"{name}_sum{{{labels}}} {LATENCY_S * unit * count:g}"
    yield from (f"{name}{{{labels}}} {value}" for name, value in gauges.items())
    if system == "tidal":
        yield 'tidal_kind_replicas{kind="k",state="ready"} 1'


def page(setup):
    """Its text."""
    if setup in BROKEN:
        system, left_out = BROKEN[setup]
        return "\n".join(line for line in lines_of(system) if not line.startswith(left_out)) + "\n"
    if setup == "nobody":
        return "node_cpu_seconds_total 7\n"
    if setup == "milliseconds":
        return "\n".join(_times_thousand(line) for line in lines_of("http")) + "\n"
    if setup == "percent":
        return "\n".join(lines_of("vllm")).replace("perc{model_name=\"m\"} 0.4", "perc{model_name=\"m\"} 40") + "\n"
    return "\n".join(lines_of(setup)) + "\n"


def _times_thousand(line):
    name, _, value = line.rpartition(" ")
    return f"{name} {5e3 * float(value)}" if "_sum{" in name else line


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = page(self.path.strip("/")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    sys.exit(server.serve_forever())
