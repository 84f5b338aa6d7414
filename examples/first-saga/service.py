"""A travel agency in one file: hotels and flights over HTTP. It remembers keys, so repeating a call is safe."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

bookings, answers = {}, {}


class Agency(BaseHTTPRequestHandler):
    def do_POST(self):
        trip = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        key = self.headers["Idempotency-Key"]
        if key not in answers:
            answers[key] = self.perform(self.path, trip)
        status, body = answers[key]
        print(f"{self.path:22} {status}  {json.dumps(body)}", flush=True)
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def perform(self, path, trip):
        _, kind, trip_id, *cancel = path.split("/")
        if cancel:
            return 200, {"cancelled": bookings.pop((kind, trip_id), None)}
        if kind == "flights" and trip.get("to") == "Atlantis":
            return 409, {"detail": "no airline flies to Atlantis"}
        bookings[kind, trip_id] = f"{kind}-{len(bookings) + 1}"
        return 201, {"booking": bookings[kind, trip_id]}

    def log_message(self, *_):
        pass


print("the travel agency is open on http://127.0.0.1:7200", flush=True)
ThreadingHTTPServer(("127.0.0.1", 7200), Agency).serve_forever()
