"""A small server that keeps the published contract of the subresource `scale`, as far as an autoscaler meets it.

`GET` and `PUT /apis/GROUP/VERSION/namespaces/N/TYPE/NAME/scale`: a `resourceVersion` that is not the newest is 409 with a
Status, a count of 0 is left out, and every change of the object, its status too, is a new version. No real API server.
"""

import json
from http.server import BaseHTTPRequestHandler


class Objects:
    """What there is, by path. `before_put` is called before a PUT is judged, as if somebody came first."""

    def __init__(self, **replicas):
        self.found = {f"/apis/apps/v1/namespaces/serving/deployments/{name}/scale": [n, 1] for name, n in replicas.items()}
        self.before_put, self.answer = lambda: None, None
        self.puts = []

    def of(self, name):
        return next(pair for path, pair in self.found.items() if f"/{name}/" in path)

    def set(self, name, replicas=None):
        """Somebody else's change; of the status alone where no number is given."""
        pair = self.of(name)
        pair[:] = [pair[0] if replicas is None else replicas, pair[1] + 1]


class ScaleApi(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    objects: Objects

    def do_GET(self):
        self._say(200, self._scale()) if self._known() else self._fail(404, "NotFound", "not found")

    def do_PUT(self):
        objects, body = self.objects, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        objects.puts.append(body)
        objects.before_put()
        if objects.answer:
            return self._fail(*objects.answer)
        assert (body["apiVersion"], body["kind"]) == ("autoscaling/v1", "Scale")
        pair = objects.found[self.path]
        if body["metadata"]["resourceVersion"] != str(pair[1]):
            return self._fail(409, "Conflict", "the object has been modified")
        pair[:] = [body["spec"]["replicas"], pair[1] + 1]
        self._say(200, self._scale())

    def _known(self):
        return self.path in self.objects.found

    def _scale(self):
        replicas, version = self.objects.found[self.path]
        name = self.path.split("/")[-2]
        return {"apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": name, "namespace": "serving", "resourceVersion": str(version)},
                "spec": {"replicas": replicas} if replicas else {},
                "status": {"replicas": replicas, "selector": f"app={name}"}}

    def _fail(self, code, reason, message):
        self._say(code, {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
                         "message": message})

    def _say(self, code, value):
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass
