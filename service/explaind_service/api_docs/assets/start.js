// Shows openapi.json in Swagger UI. Its reader of OpenAPI 3.1 takes several times as long as that of 3.0 for a document
// of this size, so the page shows what the document says in the words of 3.0; the link leads to the document itself.
"use strict";

// A schema of 3.1: null as a type, const, several examples, bounds that are numbers.
function schema30(value) {
  if (Array.isArray(value)) return value.map(schema30);
  if (value === null || typeof value !== "object") return value;
  const made = {};
  for (const [name, inner] of Object.entries(value)) {
    if (name === "default" || name === "example" || name === "examples" || name === "enum") made[name] = inner;
    else made[name] = schema30(inner);
  }
  if (Array.isArray(made.anyOf)) {
    const others = made.anyOf.filter((each) => each.type !== "null");
    if (others.length < made.anyOf.length) {
      made.nullable = true;
      delete made.anyOf;
      if (others.length !== 1) made.anyOf = others;
      else if (others[0].$ref) made.allOf = others;
      else Object.assign(made, { ...others[0], ...made });
    }
  }
  if ("const" in made && typeof made.const !== "object") {
    made.enum = [made.const];
    delete made.const;
  }
  if (Array.isArray(made.examples)) {
    if (!("example" in made)) made.example = made.examples[0];
    delete made.examples;
  }
  for (const bound of ["Minimum", "Maximum"]) {
    if (typeof made[`exclusive${bound}`] === "number") {
      made[bound.toLowerCase()] = made[`exclusive${bound}`];
      made[`exclusive${bound}`] = true;
    }
  }
  return made;
}

fetch("openapi.json")
  .then((answer) => answer.json())
  .then((document31) => {
    SwaggerUIBundle({
      spec: { ...schema30(document31), openapi: "3.0.4" },
      dom_id: "#docs",
      deepLinking: true,
      docExpansion: "none",
      defaultModelsExpandDepth: -1,
      defaultModelExpandDepth: 2,
      defaultModelRendering: "example",
      displayRequestDuration: true,
      filter: true,
      validatorUrl: null,
    });
  })
  .catch(() => {
    window.document.getElementById("docs").textContent = "openapi.json could not be read; reload the page to try again.";
  });
