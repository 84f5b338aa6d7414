"""Starts LocalStack's SQS for the tests, on the port of the loopback that is the one argument. It ends with its standard input."""

import os
import sys
import threading

os.environ |= {
    "SERVICES": "sqs",
    "EAGER_SERVICE_LOADING": "1",
    "GATEWAY_LISTEN": f"127.0.0.1:{sys.argv[1]}",
    "GATEWAY_SERVER": "hypercorn",
    # It asks nobody for anything: no statistics, no certificate, no name server.
    "DISABLE_EVENTS": "1",
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "DNS_ADDRESS": "0",
}

from localstack.services.sqs import constants

# The bound that SQS has had since August 2025; this version of LocalStack has the one before.
constants.DEFAULT_MAXIMUM_MESSAGE_SIZE = 1024 * 1024


def end_with_parent():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_parent, daemon=True).start()

from localstack.runtime.main import main

main()
