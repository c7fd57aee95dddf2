// Making elements. Text is always text: nothing that the server says is read as HTML.

/** An element: `make("a.link", { href: "#x" }, "text", child)`. */
export function make(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Text in which what stands between backticks is code. */
export function prose(text) {
  return (text ?? "").split("`").map((piece, place) => (place % 2 ? make("code", {}, piece) : piece));
}

/** The paragraphs of a text, as far as they are parted by empty lines. */
export function paragraphs(text) {
  return (text ?? "").split(/\n\s*\n/).map((piece) => make("p", {}, prose(piece.replace(/\n/g, " "))));
}
