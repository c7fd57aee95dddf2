// The OpenAPI document as a page: what there is on the left, each endpoint with all it takes and answers.

import { h } from "../dashboard/dom.js";
import { limits, objectOf, resolve, typeText } from "./schema.js";
import { trial } from "./trial.js";

const DEEP = 4; // how far objects within objects are unfolded

const state = document.getElementById("state");
try {
  const reply = await fetch("openapi.json");
  if (!reply.ok) throw new Error(`the sidecar answers ${reply.status}`);
  show(await reply.json());
} catch (error) {
  state.replaceChildren(`The document cannot be read: ${error.message}.`);
  state.className = "bad";
}

function show(root) {
  const operations = Object.entries(root.paths).map(([path, item]) => ({ path, ...item.get }));
  document.title = `${root.info.title}: the interface`;
  state.remove();
  document.getElementById("main").append(
    h("h1", {}, root.info.title, h("small", {}, root.info.version)),
    h("div", { class: "about" }, paragraphs(root.info.description), links()),
    ...operations.map((one) => operation(root, one)),
  );
  document.getElementById("contents").append(...contents(operations));
  toFragment();
}

function links() {
  const here = new URL("./", document.baseURI);
  const link = (href, text) => h("a", { href: new URL(href, here).href }, text);
  return h("p", {}, link("./", "Dashboard"), " · ", link("openapi.json", "openapi.json"));
}

/** What a link to an endpoint named did not exist when the page was opened. */
function toFragment() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named) named.scrollIntoView();
}

// --- what there is ---------------------------------------------------------------------------------

function contents(operations) {
  const items = operations.map((one) =>
    h("li", {}, h("a", { href: `#${one.operationId}` }, h("span", {}, breakable(one.path)), h("small", {}, one.summary))),
  );
  const nothing = h("p", { class: "muted", hidden: true }, "No endpoint fits.");
  const narrow = (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(wanted);
    nothing.hidden = items.some((item) => !item.hidden);
  };
  const filter = h("input", {
    type: "search",
    placeholder: "Filter endpoints",
    "aria-label": "Filter endpoints",
    on: { input: narrow },
  });
  return [filter, h("ul", {}, items), nothing];
}

// --- one endpoint ----------------------------------------------------------------------------------

function operation(root, one) {
  const parameters = (one.parameters ?? []).map((parameter) => resolve(root, parameter).part);
  return h(
    "section",
    { id: one.operationId, "aria-labelledby": `${one.operationId}-title` },
    h(
      "h2",
      { id: `${one.operationId}-title` },
      h("a", { href: `#${one.operationId}` }, h("b", {}, "GET"), " ", breakable(one.path)),
    ),
    h("p", {}, prose(one.summary)),
    parameters.length ? parameterTable(root, parameters) : null,
    h("h3", {}, "Answers"),
    h("ul", { class: "answers" }, Object.entries(one.responses).map(([status, answer]) => response(root, status, answer))),
    trial(root, one.path, parameters),
  );
}

/** A path that may be broken behind each slash. */
function breakable(path) {
  return path.split(/(?<=\/)/).flatMap((piece) => [piece, h("wbr")]);
}

function parameterTable(root, parameters) {
  const rows = parameters.map((one) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("code", {}, one.name), one.required ? h("em", {}, "required") : null),
      h("td", {}, one.in),
      h("td", {}, typeText(root, one.schema), note(limits(root, one.schema))),
      h("td", {}, prose(one.description)),
    ),
  );
  return table("Parameters", ["name", "in", "type", "meaning"], rows);
}

function table(caption, heads, rows) {
  return h(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows),
    ),
  );
}

function note(text) {
  return text ? h("small", {}, text) : null;
}

function response(root, status, answer) {
  const { part } = resolve(root, answer);
  const content = Object.entries(part.content ?? {});
  const kind = status < "400" ? "good" : "bad";
  return h(
    "li",
    {},
    h("b", { class: kind }, status),
    " ",
    prose(part.description),
    content.length ? h("small", {}, content.map(([type]) => type).join(", ")) : null,
    headerList(root, part.headers),
    content.map(([, media]) => (media.schema ? objectDetails(root, media.schema) : null)),
  );
}

function headerList(root, headers) {
  const names = Object.entries(headers ?? {});
  if (!names.length) return null;
  const rows = names.map(([name, header]) =>
    h("tr", {}, h("th", { scope: "row" }, h("code", {}, name)), h("td", {}, prose(resolve(root, header).part.description))),
  );
  return h("details", {}, h("summary", {}, "Headers"), table("Headers", ["name", "meaning"], rows));
}

/** The properties of the object that a schema is about, those within it unfolded on demand. */
function objectDetails(root, schema, deep = 0) {
  const found = objectOf(root, schema);
  if (!found || deep >= DEEP) return null;
  const required = new Set(found.part.required ?? []);
  const rows = Object.entries(found.part.properties).map(([name, property]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("code", {}, name), required.has(name) ? null : h("em", {}, "optional")),
      h("td", {}, typeText(root, property), note(limits(root, property))),
      h("td", {}, prose(resolve(root, property).part.description ?? property.description), objectDetails(root, property, deep + 1)),
    ),
  );
  const name = found.name ?? "object";
  const about = found.part.description ? h("p", {}, prose(found.part.description.replace(/``/g, "`"))) : null;
  return h("details", {}, h("summary", {}, name), about, table(name, ["name", "type", "meaning"], rows));
}

// --- text ------------------------------------------------------------------------------------------

/** Text in which what stands between backticks is code. */
function prose(text) {
  return (text ?? "").split("`").map((piece, place) => (place % 2 ? h("code", {}, piece) : piece));
}

/** The paragraphs of a text, as far as they are parted by empty lines. */
function paragraphs(text) {
  return (text ?? "").split(/\n\s*\n/).map((piece) => h("p", {}, prose(piece.replace(/\n/g, " "))));
}
