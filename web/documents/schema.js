// What a JSON schema says, in few words. Pure: nothing here touches the page.

/** Follow references; `name` is that of the last one, null where there was none. */
export function resolve(root, part) {
  let name = null;
  while (part && part.$ref) {
    const keys = part.$ref.replace(/^#\//, "").split("/");
    name = keys[keys.length - 1];
    part = keys.reduce((place, key) => place[key], root);
  }
  return { name, part: part ?? {} };
}

/** The alternatives of a schema; one that has none is its only one. */
function alternatives(part) {
  return part.anyOf ?? part.oneOf ?? [part];
}

/** The type in words: `string`, `integer or null`, `list of VideoItem`. */
export function typeText(root, schema) {
  const { name, part } = resolve(root, schema);
  if (part.anyOf || part.oneOf) return alternatives(part).map((one) => typeText(root, one)).join(" or ");
  if (part.enum) return part.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in part) return JSON.stringify(part.const);
  if (part.type === "array") return `list of ${part.items ? typeText(root, part.items) : "anything"}`;
  if (part.type === "object" || part.properties) return name ?? "object";
  return [part.type ?? "anything"].flat().join(" or ");
}

/** What a value must satisfy besides its type: `0 to 1000`, `default 20`. */
export function limits(root, schema) {
  const { part } = resolve(root, schema);
  const found = [];
  const { minimum } = part;
  const maximum = part.maximum > Number.MAX_SAFE_INTEGER ? undefined : part.maximum; // read inexactly, and no matter
  if (minimum !== undefined && maximum !== undefined) found.push(`${minimum} to ${maximum}`);
  else if (minimum !== undefined) found.push(`at least ${minimum}`);
  else if (maximum !== undefined) found.push(`at most ${maximum}`);
  if (part.pattern) found.push(`fits ${part.pattern}`);
  if (part.default !== undefined && part.default !== null) found.push(`default ${JSON.stringify(part.default)}`);
  return found.join(", ");
}

/** The values that may be chosen from, or null where any may be given. */
export function choices(root, schema) {
  const { part } = resolve(root, schema);
  if (part.enum) return part.enum.filter((value) => value !== null);
  if (part.type === "array" && part.items) return choices(root, part.items);
  return null;
}

/** The object that a schema is about, looking through lists and null; null where there is none. */
export function objectOf(root, schema) {
  for (const one of alternatives(schema.$ref ? schema : resolve(root, schema).part)) {
    const { name, part } = resolve(root, one);
    if (part.properties) return { name, part };
    if (part.type === "array" && part.items) {
      const found = objectOf(root, part.items);
      if (found) return found;
    }
  }
  return null;
}
