"""A bridge as a Lambda function behind a function URL, here to Qdrant.

AWS checks who calls it (`AuthType: AWS_IAM`).

    # template.yaml of the function, for the SAM CLI; the folder has this file, bridge.py,
    # qdrant_bridge.py and qdrant-client
    Bridge:
      Type: AWS::Serverless::Function
      Properties:
        Runtime: python3.13
        Handler: lambda_bridge.handler
        Timeout: 9
        Environment: {Variables: {QDRANT_URL: "https://qdrant.example.com:6333"}}
        FunctionUrlConfig: {AuthType: AWS_IAM}

    VECTOR_STORES='{"*": "https://ID.lambda-url.REGION.on.aws/qdrant?auth=sigv4&service=lambda&region=REGION"}'

Add the function's ARN to the parameter VectorStoreInvokeArns of the deletion service, so that its
worker may call the URL. No delete begins in the last three seconds before its `not_after`, and
every call ends after nine seconds at most.
"""

from __future__ import annotations

import os

from qdrant_client import QdrantClient

from bridge import STORE_SECONDS, function_url
from qdrant_bridge import Qdrant

client = QdrantClient(url=os.environ["QDRANT_URL"], api_key=os.environ.get("QDRANT_API_KEY"), timeout=STORE_SECONDS)
handler = function_url(Qdrant(client, os.environ.get("QDRANT_FIELD")))
