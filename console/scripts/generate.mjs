// Writes src/api/types.ts from api.json, the server's own description of its API. `--check` only compares.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

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

const indented = (text) => text.replaceAll("\n", "\n      ");

export function typesOf(description) {
  const parts = ["// Generated from api.json by `npm run generate`; a test fails if it drifts."];
  for (const [name, fields] of Object.entries(description.structures)) {
    parts.push(`export type ${name} = ${structure(fields)};`);
  }
  const services = description.services.map((service) => {
    const actions = service.actions.map(
      (action) =>
        `    ${action.name}: {\n      changes: ${String(action.changes)};\n      parameters: ${indented(structure(action.parameters))};\n` +
        `      answer: ${indented(structure(action.answer))};\n    };`,
    );
    return `  ${service.name}: {\n${actions.join("\n")}\n  };`;
  });
  parts.push("/** Each action of each service, what it takes and what it answers. */", `export type Services = {\n${services.join("\n")}\n};`);
  parts.push(
    "/** What a disk of a type may do per second: a base, what each GiB of its size adds, and the most. */",
    `export const DISK_TYPES: Readonly<Record<string, Readonly<Record<"iops" | "mib_per_s", readonly [number, number, number]>>>> = {\n${Object.entries(
      description.disk_types,
    )
      .map(([name, { iops, mib_per_s }]) => `  ${name}: { iops: [${iops.join(", ")}], mib_per_s: [${mib_per_s.join(", ")}] },`)
      .join("\n")}\n};`,
  );
  return `${parts.join("\n\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const types = typesOf(JSON.parse(readFileSync(new URL("api.json", root), "utf8")));
  if (!process.argv.includes("--check")) writeFileSync(target, types);
  else if (readFileSync(target, "utf8") !== types) {
    console.error("src/api/types.ts is not what api.json says: run `npm run generate`");
    process.exit(1);
  }
}
