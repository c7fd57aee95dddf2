// The OpenAPI document as a page: what there is on the left, each endpoint with all it takes and answers.

import { make, paragraphs, prose } from "./dom.js";
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
    make("h1", {}, root.info.title, make("small", {}, root.info.version)),
    make("div.about", {}, paragraphs(root.info.description), links()),
    ...operations.map((one) => operation(root, one)),
  );
  document.getElementById("contents").append(...contents(operations));
  toFragment();
}

function links() {
  const here = new URL("./", document.baseURI);
  const link = (href, text) => make("a", { href: new URL(href, here).href }, text);
  return make("p", {}, link("./", "Dashboard"), " · ", link("openapi.json", "openapi.json"));
}

/** What a link to an endpoint named did not exist when the page was opened. */
function toFragment() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named) named.scrollIntoView();
}

// --- what there is ---------------------------------------------------------------------------------

function contents(operations) {
  const items = operations.map((one) =>
    make("li", {}, make("a", { href: `#${one.operationId}` }, make("span", {}, breakable(one.path)), make("small", {}, one.summary))),
  );
  const nothing = make("p.muted", { hidden: true }, "No endpoint fits.");
  const narrow = (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(wanted);
    nothing.hidden = items.some((item) => !item.hidden);
  };
  const filter = make("input", {
    type: "search",
    placeholder: "Filter endpoints",
    "aria-label": "Filter endpoints",
    oninput: narrow,
  });
  return [filter, make("ul", {}, items), nothing];
}

// --- one endpoint ----------------------------------------------------------------------------------

function operation(root, one) {
  const parameters = (one.parameters ?? []).map((parameter) => resolve(root, parameter).part);
  return make(
    "section",
    { id: one.operationId, "aria-labelledby": `${one.operationId}-title` },
    make(
      "h2",
      { id: `${one.operationId}-title` },
      make("a", { href: `#${one.operationId}` }, make("b", {}, "GET"), " ", breakable(one.path)),
    ),
    make("p", {}, prose(one.summary)),
    parameters.length ? parameterTable(root, parameters) : null,
    make("h3", {}, "Answers"),
    make("ul.answers", {}, Object.entries(one.responses).map(([status, answer]) => response(root, status, answer))),
    trial(root, one.path, parameters),
  );
}

/** A path that may be broken behind each slash. */
function breakable(path) {
  return path.split(/(?<=\/)/).flatMap((piece) => [piece, make("wbr")]);
}

function parameterTable(root, parameters) {
  const rows = parameters.map((one) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("code", {}, one.name), one.required ? make("em", {}, "required") : null),
      make("td", {}, one.in),
      make("td", {}, typeText(root, one.schema), note(limits(root, one.schema))),
      make("td", {}, prose(one.description)),
    ),
  );
  return table("Parameters", ["name", "in", "type", "meaning"], rows);
}

function table(caption, heads, rows) {
  return make(
    "div.wide",
    { tabindex: "0", role: "region", "aria-label": caption },
    make(
      "table",
      {},
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, rows),
    ),
  );
}

function note(text) {
  return text ? make("small", {}, text) : null;
}

function response(root, status, answer) {
  const { part } = resolve(root, answer);
  const content = Object.entries(part.content ?? {});
  const kind = status < "400" ? "b.good" : "b.bad";
  return make(
    "li",
    {},
    make(kind, {}, status),
    " ",
    prose(part.description),
    content.length ? make("small", {}, content.map(([type]) => type).join(", ")) : null,
    headerList(root, part.headers),
    content.map(([, media]) => (media.schema ? objectDetails(root, media.schema) : null)),
  );
}

function headerList(root, headers) {
  const names = Object.entries(headers ?? {});
  if (!names.length) return null;
  const rows = names.map(([name, header]) =>
    make("tr", {}, make("th", { scope: "row" }, make("code", {}, name)), make("td", {}, prose(resolve(root, header).part.description))),
  );
  return make("details", {}, make("summary", {}, "Headers"), table("Headers", ["name", "meaning"], rows));
}

/** The properties of the object that a schema is about, those within it unfolded on demand. */
function objectDetails(root, schema, deep = 0) {
  const found = objectOf(root, schema);
  if (!found || deep >= DEEP) return null;
  const required = new Set(found.part.required ?? []);
  const rows = Object.entries(found.part.properties).map(([name, property]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("code", {}, name), required.has(name) ? null : make("em", {}, "optional")),
      make("td", {}, typeText(root, property), note(limits(root, property))),
      make("td", {}, prose(resolve(root, property).part.description ?? property.description), objectDetails(root, property, deep + 1)),
    ),
  );
  const name = found.name ?? "object";
  const about = found.part.description ? make("p", {}, prose(found.part.description.replace(/``/g, "`"))) : null;
  return make("details", {}, make("summary", {}, name), about, table(name, ["name", "type", "meaning"], rows));
}
