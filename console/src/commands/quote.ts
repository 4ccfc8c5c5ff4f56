// Values as the languages of other programs write them.

/** A word of a POSIX shell. */
export const shellWord = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

export const shellLine = (words: readonly string[]): string => words.map(shellWord).join(" ");

/** A literal of Python. */
export function python(value: unknown, indent = ""): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  // Every string of JSON is one of Python: half of a surrogate pair is not among them, and no name has one.
  if (typeof value !== "object") return JSON.stringify(value);
  const deeper = `${indent}    `;
  if (Array.isArray(value)) return `[${value.map((one) => python(one, indent)).join(", ")}]`;
  const lines = Object.entries(value).map(([key, one]) => `${deeper}${JSON.stringify(key)}: ${python(one, deeper)},\n`);
  return lines.length === 0 ? "{}" : `{\n${lines.join("")}${indent}}`;
}

/** A string of Terraform's language, where `${` and `%{` begin something. */
export const hcl = (text: string): string => JSON.stringify(text).replaceAll(/[$%]\{/g, (found) => `${found[0] ?? ""}${found}`);

/** A string of TOML: those of JSON are, but for one character. */
export const toml = (text: string): string => JSON.stringify(text).replaceAll("\u007f", "\\u007F");
