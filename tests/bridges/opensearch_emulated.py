"""A bridge to osmem, an emulator of OpenSearch 3 that this process starts:
`opensearch_emulated.py PORT OPENSEARCH_PORT [FIELD]`."""

import pathlib
import sys

import opensearchpy
import osmem_server

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples/bridges"))
from bridge import serve  # noqa: E402
from opensearch_bridge import OpenSearch, connect  # noqa: E402


class Transport(opensearchpy.Transport):
    """Removes `preference=_primary` from searches. OpenSearch has it since 2.8, but the emulator,
    which has no replicas, does not."""

    def perform_request(self, method, url, params=None, body=None, **options):
        if url.endswith("/_search") and params.pop("preference", None) != b"_primary":
            raise AssertionError("a search that a replica may carry out")
        return super().perform_request(method, url, params, body, **options)


def main():
    port, opensearch_port, field = int(sys.argv[1]), int(sys.argv[2]), (sys.argv[3:] or [None])[0]
    with osmem_server.OsmemServer.start(addr=f"127.0.0.1:{opensearch_port}", japanese=False) as server:
        serve(OpenSearch(connect(server.url, transport_class=Transport), field), port)


if __name__ == "__main__":
    main()
