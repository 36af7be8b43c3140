// The operations of openapi.json, written out for people.

const VERBS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/** Make an element with children: elements or text. */
function make(name, classes, ...children) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  made.append(...children.flat().filter((child) => child !== null && child !== ""));
  return made;
}

/** Split text at its `backticks` into text and code. */
function prose(text = "") {
  return text.split("`").map((part, index) => (index % 2 ? make("code", "", part) : part));
}

function table(title, heads, rows) {
  if (!rows.length) return null;
  const head = make("tr", "", heads.map((text) => Object.assign(make("th", "", text), { scope: "col" })));
  const body = rows.map((cells) => make("tr", "", cells.map((cell) => make("td", "", cell))));
  const scroll = make("div", "scroll", make("table", "", make("thead", "", head), make("tbody", "", body)));
  Object.assign(scroll, { tabIndex: 0, role: "group", ariaLabel: title });
  return make("div", "", make("h3", "", title), scroll);
}

/** Say in words which values a schema takes. */
function values(schema, all) {
  if (schema.$ref) return values(schema.$ref.slice(2).split("/").reduce((at, key) => at[key], all), all);
  if (schema.anyOf) {
    return schema.anyOf
      .map((one) => values(one, all))
      .filter((text) => text !== "null")
      .join(", ");
  }
  if (schema.enum) return schema.enum.join(", ");
  if (schema.const !== undefined) return String(schema.const);
  if (schema.type === "array") return `several: ${values(schema.items, all)}`;
  if (schema.format === "binary") return "a file";
  const limits = [
    schema.minimum !== undefined && `from ${schema.minimum}`,
    schema.maximum !== undefined && `to ${schema.maximum}`,
  ].filter(Boolean);
  return [schema.type ?? "anything", ...limits].join(" ");
}

function operation(verb, path, described, all) {
  const parameters = (described.parameters ?? []).map(({ name, in: place, schema, description }) => [
    make("code", "", name), place, values(schema ?? {}, all), prose(description ?? schema?.description),
  ]);
  const bodies = Object.entries(described.requestBody?.content ?? {}).flatMap(([type, { schema }]) => {
    const fields = Object.entries(schema?.properties ?? {});
    if (!fields.length) return [[make("code", "", type), "", values(schema ?? {}, all)]];
    return fields.map(([name, field], index) => [
      index ? "" : make("code", "", type), make("code", "", name), values(field, all),
    ]);
  });
  const answers = Object.entries(described.responses).map(([status, { description, content }]) => [
    status, prose(description), Object.keys(content ?? {}).join(", "),
  ]);
  return make(
    "section", "operation",
    make("h2", "", make("span", "verb", verb.toUpperCase()), path),
    make("p", "", prose(described.summary)),
    described.description ? make("p", "hint", prose(described.description)) : null,
    table("Parameters", ["name", "in", "values", "meaning"], parameters),
    table("Body", ["type", "field", "values"], bodies),
    table("Answers", ["status", "meaning", "type"], answers),
  );
}

const place = document.getElementById("operations");
try {
  const all = await (await fetch("openapi.json")).json();
  for (const [path, verbs] of Object.entries(all.paths)) {
    for (const verb of VERBS) if (verbs[verb]) place.append(operation(verb, path, verbs[verb], all));
  }
} catch {
  place.append(make("p", "note wrong", "The description could not be loaded. Please load the page again."));
}
