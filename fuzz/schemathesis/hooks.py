"""Lets schemathesis meet what exists, and writes down what it met.

Half of the path parameters that it makes up are replaced by those of sagas, steps, definitions, dead letters, queues, redrives and tokens
that the server holds; when orders have used those up, new ones are started. Half of the inputs and definitions are ones
that are taken. Which are replaced follows from what was made up, so that a run can be repeated from its seed.
"""

import atexit
import collections
import json
import os
import urllib.request
import zlib

import schemathesis

BASE = os.environ["AMENDS_URL"]
MET = os.environ["AMENDS_MET"]
TOKEN = os.environ["AMENDS_TOKEN"]
POOL = 20
_calls = 0
_started = 0
_met = collections.defaultdict(collections.Counter)


def _ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data=data, method=method)
    request.add_header("content-type", "application/json")
    request.add_header("authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _items(path):
    return _ask("GET", path)["items"]


def _start(definition):
    global _started
    _started += 1
    return _ask("POST", f"/v1/sagas/{definition}", {"id": f"hook-{_started}"})["id"]


def _sagas():
    def some(status, definition, limit):
        return [saga["id"] for saga in _items(f"/v1/sagas?status={status}&definition={definition}&limit={limit}")]

    running = some("running", "waits", POOL)
    if len(running) < POOL // 2:
        running += [_start("waits") for _ in range(POOL // 2)]
    return running + some("stuck", "sticks", 2) + some("compensated", "waits", 2) + some("completed", "waits", 2)


def _dead_letters():
    open_ones = _items("/v1/dead-letters")
    if len(open_ones) < POOL // 2:
        for number in range(POOL):
            _start("doubts" if number % 3 else "sticks")
    closed = [letter for letter in _items("/v1/dead-letters?closed=true") if letter not in open_ones]
    return [letter["id"] for letter in open_ones + closed[:3]]


def _redrives():
    if not _items("/v1/queues/commands/redrives"):
        _ask("POST", "/v1/queues/commands/redrives", {"per_second": 1, "reason": "a hook"})
    return [redrive["id"] for redrive in _items("/v1/queues/commands/redrives")]


def _tokens():
    if len(_items("/v1/tokens?limit=5")) < 5:
        for _ in range(5):
            _ask("POST", "/v1/tokens", {"name": "hook", "role": "viewer"})
    return [token["id"] for token in _items("/v1/tokens?limit=5")]


def _pool(operation, name):
    path = operation.path
    if path.startswith("/v1/tokens/"):
        return _tokens()
    if name == "queue":
        return ["commands"]
    if path.startswith("/v1/queues/"):
        return _redrives()
    if name == "step":
        return ["signal", "signal", "signal", "call"]
    if name == "name":
        return ["other"] if operation.method.upper() == "PUT" else ["waits"]
    if name == "version":
        return [_ask("GET", "/v1/definitions/waits")["version"]]
    if operation.method.upper() == "POST" and path == "/v1/sagas/{definition_or_id}":
        return ["waits", "sticks", "doubts", "sends"]
    return _dead_letters() if path.startswith("/v1/dead-letters/") else _sagas()


@schemathesis.hook
def before_call(context, case, kwargs):
    # Not when the case is made up: that can be long before it is sent, and several can share what was made up.
    global _calls
    parameters = case.path_parameters
    if not parameters:
        return
    _calls += 1
    number = zlib.crc32(f"{_calls} {parameters!r}".encode(errors="replace"))
    # A definition is taken only where its own name is the address's, and few bodies have one.
    if case.operation.method.upper() != "PUT" and number % 2:
        return
    for name in parameters:
        pool = _pool(case.operation, name)
        if pool:
            parameters[name] = pool[number // 2 % len(pool)]


@schemathesis.hook
def map_body(context, body):
    number = zlib.crc32(repr(body).encode(errors="replace"))
    place = (context.operation.method.upper(), context.operation.path)
    if number % 2:
        return body
    if place == ("POST", "/v1/sagas/{definition_or_id}"):
        return {"id": f"made-up-{number % 1000}", "more": body if isinstance(body, (str, int, list, dict)) else None}
    if place == ("PUT", "/v1/definitions/{name}"):
        steps = {"signal": {"wait": f"{number % 1000 + 1}s"}}
        return {"saga": "other", "key": "{{ input.id }}", "steps": steps}
    if place == ("POST", "/v1/replies") and isinstance(body, dict) and isinstance(body.get("to"), str):
        return {**body, "to": f"{_start('sends')}.work.action.1"}
    return body


@schemathesis.hook
def after_call(context, case, response):
    _met[f"{case.operation.method.upper()} {case.operation.path}"][str(response.status_code)] += 1


@atexit.register
def _write():
    with open(MET, "w", encoding="utf-8") as file:
        json.dump(_met, file)
