"""moto's server on a port of loopback, which serves one call at a time.

When moto cancels a transaction, it restores the whole table to its state at the start of the
transaction. This undoes what other calls have written meanwhile (`transact_write_items` in
`moto/dynamodb/models`). AWS documents that transactions are serializable.
"""

import sys
import threading

from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

moto = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()


def one_at_a_time(environ, start_response):
    """moto's application, one call after the other."""
    with turn:
        return list(moto(environ, start_response))


run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True, request_handler=MotoRequestHandler)
