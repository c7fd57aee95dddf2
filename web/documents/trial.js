// Trying an endpoint: a form of its parameters, the command that asks the same, and the answer.

import { h } from "../dashboard/dom.js";
import { choices, limits } from "./schema.js";

const SHOWN = 20000; // characters of an answer

/** The form of an operation. */
export function trial(root, path, parameters) {
  const given = parameters.filter((one) => one.in !== "header");
  const inputs = new Map(given.map((one) => [one, input(root, path, one)]));
  const command = h("code");
  const answer = h("div", { class: "answer", role: "status" });
  const address = () => target(path, inputs);
  const retell = () => command.replaceChildren(`curl ${quoted(new URL(address(), document.baseURI).href)}`);
  const ask = async (event) => {
    event.preventDefault();
    answer.replaceChildren(h("p", { class: "muted" }, "Asking…"));
    answer.replaceChildren(...(await fetched(address())));
  };
  const form = h(
    "form",
    { class: "trial", on: { submit: ask, input: retell } },
    given.length ? h("div", { class: "fields" }, [...inputs].map(([one, field]) => labelled(one, field))) : null,
    h("div", { class: "ask" }, h("button", { type: "submit" }, "Send"), h("pre", { tabindex: "0" }, command)),
    answer,
  );
  retell();
  return h("details", {}, h("summary", {}, "Try it"), form);
}

function labelled(parameter, field) {
  return h("label", {}, h("span", {}, parameter.name, parameter.required ? " *" : ""), field);
}

function input(root, path, parameter) {
  const id = `${path}:${parameter.name}`;
  const common = { name: parameter.name, id, required: Boolean(parameter.required) };
  const values = choices(root, parameter.schema);
  if (values && parameter.schema.type !== "array") {
    const options = ["", ...values].map((value) => h("option", { value }, value === "" ? "–" : String(value)));
    return h("select", common, options);
  }
  return h("input", {
    ...common,
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: limits(root, parameter.schema),
  });
}

function target(path, inputs) {
  let place = path;
  const query = new URLSearchParams();
  for (const [parameter, field] of inputs) {
    if (parameter.in === "path") {
      const value = field.value || `{${parameter.name}}`;
      const escaped = parameter.name === "path" ? value.split("/").map(encodeURIComponent).join("/") : encodeURIComponent(value);
      place = place.replace(`{${parameter.name}}`, field.value ? escaped : value);
    } else if (field.value) query.append(parameter.name, field.value);
  }
  const text = query.toString();
  return `.${place}${text ? `?${text}` : ""}`;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

async function fetched(address) {
  const begin = performance.now();
  try {
    const reply = await fetch(address, { cache: "no-store" });
    const type = reply.headers.get("Content-Type") ?? "";
    const body = await shown(reply, type);
    const seconds = Math.round(performance.now() - begin);
    const line = `${reply.status} ${reply.statusText}`;
    const kind = reply.ok ? "good" : "bad";
    return [h("p", {}, h("span", { class: kind }, line), ` ${type}, ${seconds} ms`), body];
  } catch (error) {
    return [h("p", {}, h("span", { class: "bad" }, "No answer"), ` ${error.message}`)];
  }
}

async function shown(reply, type) {
  if (/json$/.test(type.split(";")[0])) return block(JSON.stringify(await reply.json(), null, 2));
  if (/^(text|application\/x-ndjson)/.test(type)) return block(await reply.text());
  const size = (await reply.arrayBuffer()).byteLength;
  return h("p", {}, `${size} bytes, which are no text.`);
}

function block(text) {
  const cut = text.length > SHOWN ? `${text.slice(0, SHOWN)}\n…` : text;
  return h("pre", { class: "body", tabindex: "0" }, h("code", {}, cut));
}
