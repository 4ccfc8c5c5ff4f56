// Writes src/api/types.ts from api.json, the server's own description of its API. `--check` only compares.
import { readFileSync, writeFileSync } from "node:fs";

const root = new URL("..", import.meta.url);
const target = new URL("src/api/types.ts", root);
const PLAIN = { string: "string", integer: "number", number: "number", boolean: "boolean", any: "unknown" };

function typeOf(field) {
  let type = field.enum ? field.enum.map((value) => JSON.stringify(value)).join(" | ") : (PLAIN[field.type] ?? field.type);
  if (field.list) type = `readonly ${/[ |]/.test(type) ? `(${type})` : type}[]`;
  return field.nullable ? `${type} | null` : type;
}

function structure(fields) {
  if (fields.length === 0) return "Record<never, never>";
  const lines = fields.map((field) => `  readonly ${field.name}${field.required ? "" : "?"}: ${typeOf(field)};`);
  return `{\n${lines.join("\n")}\n}`;
}

const indented = (text) => text.replaceAll("\n", "\n    ");

export function typesOf(description) {
  const parts = ["// Generated from api.json by `npm run generate`; a test fails if it drifts."];
  for (const [name, fields] of Object.entries(description.structures)) {
    parts.push(`export type ${name} = ${structure(fields)};`);
  }
  const services = description.services.map((service) => {
    const actions = service.actions.map(
      (action) =>
        `    ${action.name}: { changes: ${String(action.changes)}; parameters: ${indented(structure(action.parameters))} };`,
    );
    return `  ${service.name}: {\n${actions.join("\n")}\n  };`;
  });
  parts.push("/** Each action of each service, and what it takes. */", `export type Services = {\n${services.join("\n")}\n};`);
  for (const service of description.services) {
    for (const action of service.actions) {
      // What an answer leaves out is null or absent; the fields that the server names are always there.
      if (action.answer) {
        const fields = action.answer.map((field) => ({ ...field, required: true }));
        parts.push(`export type ${service.name === "cbs" ? "" : "Drystone"}${action.name}Answer = ${structure(fields)};`);
      }
    }
  }
  return `${parts.join("\n\n")}\n`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const types = typesOf(JSON.parse(readFileSync(new URL("api.json", root), "utf8")));
  if (!process.argv.includes("--check")) writeFileSync(target, types);
  else if (readFileSync(target, "utf8") !== types) {
    console.error("src/api/types.ts is not what api.json says: run `npm run generate`");
    process.exit(1);
  }
}
