SwaggerUIBundle({
  url: "/docs/openapi.yaml",
  dom_id: "#page",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  // Otherwise Swagger UI would ask swagger.io whether the document is valid.
  validatorUrl: "none",
});
