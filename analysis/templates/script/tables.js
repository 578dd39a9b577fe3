for (const button of document.querySelectorAll("[data-toggle]")) {
  const show = () => document.body.classList.toggle(
    "show-" + button.dataset.toggle, button.getAttribute("aria-pressed") === "true");
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    show();
  });
  show();
}

for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const source = Array.from(body.rows);
  const heads = columnHeads(table);
  heads.forEach((head, column) => {
    const button = head.querySelector(".sort");
    if (!button) return;
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")]
        || "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next !== "none") head.setAttribute("aria-sort", next);
      table.classList.toggle("sorted", next !== "none");
      body.append(...(next === "none" ? source : sorted(source, column, next)));
    });
  });
}

// The head of every column, in order: names of groups of columns aside.
function columnHeads(table) {
  return Array.from(table.querySelectorAll("thead th:not(.group)"));
}

// Rows without a value stay last, whichever way the others are sorted.
function sorted(rows, column, order) {
  const sign = order === "ascending" ? 1 : -1;
  const value = (row) => sortable(row.cells[column]);
  return Array.from(rows).sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    const difference = Number(a) - Number(b);
    return sign * (Number.isNaN(difference) ? a.localeCompare(b, "en", { numeric: true }) : difference);
  });
}

// What a cell is sorted by: its number, or its text where it names a row; empty if it has none.
function sortable(cell) {
  if (cell.dataset.sort !== undefined) return cell.dataset.sort;
  const text = cell.textContent.trim();
  if (cell.tagName === "TH") return text;
  return /^[-+]?[\d.]/.test(text) ? String(Number.parseFloat(text)) : "";
}

const FEW = 6; // rows of a table that needs no search

for (const place of document.querySelectorAll(".table")) {
  const [table, name] = [place.querySelector("table"), place.dataset.title];
  const rows = Array.from(table.tBodies[0].rows);
  const tools = document.createElement("div");
  const said = document.createElement("span");
  tools.className = "tools";
  said.className = "soft";
  said.setAttribute("role", "status");
  if (rows.length > FEW) tools.append(searchField(name, rows, said));
  for (const [kind, text] of [["CSV", csv], ["LaTeX", latex]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy " + kind;
    button.setAttribute("aria-label", `Copy ${kind} of ${name}`);
    button.addEventListener("click", async () => {
      said.textContent = (await copied(text(table))) ? `${kind} copied` : "the browser refuses to copy";
    });
    tools.append(button);
  }
  tools.append(said);
  place.querySelector(".scroll").before(tools);
}

// A field that leaves the rows in which all of its words occur.
function searchField(name, rows, said) {
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "Search rows";
  field.setAttribute("aria-label", `Search rows of ${name}`);
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    said.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
  return field;
}
