SwaggerUIBundle({
  url: "/docs/openapi.yaml",
  dom_id: "#page",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  // Otherwise swagger.io would be asked whether the document is valid.
  validatorUrl: "none",
});
