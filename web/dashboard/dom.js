// Elements from plain calls, and bringing what is shown into line with them: a node that stays the same
// keeps its focus, its scroll position and its loaded image.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = Symbol("handlers");
const PROPERTIES = new Set(["value", "checked", "selected"]);

/** An HTML element; children may be nested lists, and what is null or false is left out. */
export function h(name, props, ...children) {
  return fill(document.createElement(name), props, children);
}

/** An SVG element. */
export function s(name, props, ...children) {
  return fill(document.createElementNS(SVG, name), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    set(node, name, value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      node.append(child);
    }
  }
  return node;
}

function set(node, name, value) {
  if (value === null || value === undefined || value === false) {
    return;
  }
  if (name === "on") {
    listen(node, value);
  } else if (name === "vars") {
    for (const [variable, text] of Object.entries(value)) {
      node.style.setProperty(variable, text);
    }
  } else if (name === "html") {
    throw new Error("markup is never made from text");
  } else {
    node.setAttribute(name, value === true ? "" : String(value));
    if (PROPERTIES.has(name)) {
      node[name] = value;
    }
  }
}

function listen(node, handlers) {
  node[HANDLERS] ??= {};
  for (const [type, handler] of Object.entries(handlers)) {
    if (!(type in node[HANDLERS])) {
      node.addEventListener(type, (event) => node[HANDLERS][type]?.(event));
    }
    node[HANDLERS][type] = handler;
  }
}

/** Make `live`, which is in the document, what `next` is. */
export function patch(live, next) {
  if (live.nodeType === Node.TEXT_NODE) {
    if (live.data !== next.data) {
      live.data = next.data;
    }
    return;
  }
  patchAttributes(live, next);
  listen(live, { ...emptied(live), ...next[HANDLERS] });
  patchChildren(live, next);
  patchProperties(live, next);
}

function emptied(node) {
  return Object.fromEntries(Object.keys(node[HANDLERS] ?? {}).map((type) => [type, undefined]));
}

function patchAttributes(live, next) {
  for (const { name, value } of [...next.attributes]) {
    if (name === "style") {
      if (live.style.cssText !== next.style.cssText) {
        live.style.cssText = next.style.cssText;
      }
    } else if (live.getAttribute(name) !== value) {
      live.setAttribute(name, value);
    }
  }
  for (const { name } of [...live.attributes]) {
    if (!next.hasAttribute(name) && name !== "open" && name !== "data-broken") {
      live.removeAttribute(name);
    }
  }
}

function patchProperties(live, next) {
  if (live === document.activeElement && live.matches("input[type=text], input[type=search]")) {
    return; // somebody is typing
  }
  for (const name of ["value", "checked", "selected"]) {
    if (
      name in next &&
      typeof next[name] !== "object" &&
      live[name] !== next[name] &&
      live.nodeName !== "LI"
    ) {
      live[name] = next[name];
    }
  }
}

function patchChildren(live, next) {
  const keyed = new Map();
  for (const child of live.children) {
    if (child.dataset.key) {
      keyed.set(child.dataset.key, child);
    }
  }
  let cursor = live.firstChild;
  for (const child of [...next.childNodes]) {
    const found = counterpart(child, cursor, keyed);
    if (found === null) {
      live.insertBefore(child, cursor);
      continue;
    }
    if (found === cursor) {
      cursor = cursor.nextSibling;
    } else {
      live.insertBefore(found, cursor);
    }
    patch(found, child);
  }
  while (cursor) {
    const following = cursor.nextSibling;
    cursor.remove();
    cursor = following;
  }
}

function counterpart(child, cursor, keyed) {
  const key = child.dataset?.key;
  if (key) {
    const found = keyed.get(key);
    keyed.delete(key);
    return found && found.nodeName === child.nodeName ? found : null;
  }
  const alike = cursor && cursor.nodeType === child.nodeType && cursor.nodeName === child.nodeName;
  return alike && !cursor.dataset?.key ? cursor : null;
}
