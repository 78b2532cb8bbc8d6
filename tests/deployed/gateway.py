"""Adds what MiniStack ignores when it imports a REST API's definition: gateway responses, and
methods with a mock integration.

This module takes them from the template, sets them with API Gateway's own calls, and deploys the
stage again. So the tests see each response with its body, but do not show that API Gateway reads it
from the definition.
"""

import json

STAGE = "live"
ANY = "x-amazon-apigateway-any-method"


def complete(client, api_id, template):
    """Adds the gateway responses and the mock methods."""
    api = template["Resources"]["Api"]["Properties"]
    for response_type, response in api["GatewayResponses"].items():
        headers = response["ResponseParameters"]["Headers"]
        client.put_gateway_response(
            restApiId=api_id,
            responseType=response_type,
            statusCode=response["StatusCode"],
            responseParameters={f"gatewayresponse.header.{name}": value for name, value in headers.items()},
            responseTemplates=response["ResponseTemplates"],
        )
    resources = {item["path"]: item["id"] for item in client.get_resources(restApiId=api_id, limit=500)["items"]}
    for path, methods in api["DefinitionBody"]["paths"].items():
        if path not in resources:
            created = client.create_resource(restApiId=api_id, parentId=resources["/"], pathPart=path[1:])
            resources[path] = created["id"]
        mock(client, {"restApiId": api_id, "resourceId": resources[path], "httpMethod": "ANY"}, methods[ANY])
    client.create_deployment(restApiId=api_id, stageName=STAGE)


def set_policy(client, api_id, policy):
    """Sets the API's resource policy, which MiniStack drops when it imports the definition."""
    operation = {"op": "replace", "path": "/policy", "value": json.dumps(policy) if policy else ""}
    client.update_rest_api(restApiId=api_id, patchOperations=[operation])
    client.create_deployment(restApiId=api_id, stageName=STAGE)


def mock(client, method, operation):
    """Adds one method with a mock integration."""
    client.put_method(**method, authorizationType="AWS_IAM")
    integration = operation["x-amazon-apigateway-integration"]
    client.put_integration(
        **method,
        type="MOCK",
        requestTemplates=integration["requestTemplates"],
        passthroughBehavior=integration["passthroughBehavior"].upper(),
    )
    response = integration["responses"]["default"]
    client.put_method_response(
        **method,
        statusCode=response["statusCode"],
        responseParameters={name: False for name in response["responseParameters"]},
    )
    client.put_integration_response(
        **method,
        statusCode=response["statusCode"],
        responseParameters=response["responseParameters"],
        responseTemplates=response["responseTemplates"],
    )
