"use strict";
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
  const value = (row) => row.cells[column].dataset.sort;
  return Array.from(rows).sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    const difference = Number(a) - Number(b);
    return sign * (Number.isNaN(difference) ? a.localeCompare(b, "en", { numeric: true }) : difference);
  });
}

// A printed page has no folds to open.
let folded = [];
addEventListener("beforeprint", () => {
  folded = Array.from(document.querySelectorAll("details:not([open])"));
  folded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
