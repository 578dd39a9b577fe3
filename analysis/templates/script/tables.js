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
  const heads = Array.from(table.querySelectorAll("thead th:not(.group)"));
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
