// A table as it is shown, as texts: rows in their order and of the search, lines of cells by kind.
function shownTexts(table) {
  const heads = columnHeads(table);
  const rows = Array.from(table.tBodies[0].rows).filter((row) => !row.hidden);
  const lines = rows.map((row) => Array.from(row.cells, cellLines));
  const kinds = heads.map((_, column) => Array.from(
    new Set(["ours", ...lines.flatMap((line) => Object.keys(line[column]))])));
  return { heads, lines, kinds };
}

// The visible lines of a cell by kind: ours, interval, deviation, published, difference.
function cellLines(cell) {
  const spans = Array.from(cell.querySelectorAll(":scope > span"));
  if (!spans.length) return { ours: cell.textContent.trim() };
  const shown = spans.filter((span) => getComputedStyle(span).display !== "none");
  return Object.fromEntries(shown.map((span) => [span.className, span.textContent.trim()]));
}

function headText(head) {
  const group = head.dataset.group ? head.dataset.group + " " : "";
  return group + head.textContent.trim();
}

// One column for each kind of line that any cell of the column shows.
function csv(table) {
  const { heads, lines, kinds } = shownTexts(table);
  const names = heads.flatMap((head, column) => kinds[column].map(
    (kind) => headText(head) + (kind === "ours" ? "" : " " + kind)));
  const body = lines.map((line) => line.flatMap(
    (cell, column) => kinds[column].map((kind) => cell[kind] ?? "")));
  const quoted = (text) => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  return [names, ...body].map((line) => line.map(quoted).join(",") + "\n").join("");
}

const SPECIAL = {
  "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
  "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", '"': "\\textquotedbl{}",
  "–": "--", "±": "$\\pm$", "†": "\\textdagger{}", "‡": "\\textdaggerdbl{}", "‖": "\\textbardbl{}",
  "§": "\\S{}", "¶": "\\P{}", "*": "\\textasteriskcentered{}", "×": "$\\times$",
};

function escaped(text) {
  return Array.from(text, (c) => SPECIAL[c] ?? ("&%$#_{}".includes(c) ? "\\" + c : c)).join("");
}

// For booktabs; the lines of a cell stand below each other.
function latex(table) {
  const { heads, lines } = shownTexts(table);
  const labels = heads.filter((head) => head.classList.contains("label")).length;
  const number = (text) => escaped(text).replace(/(^|\s)-(?=[\d.])/g, "$1$-$");
  const cell = (each, column) => {
    const { ours, ...others } = each;
    if (column < labels) return escaped(ours);
    const below = Object.values(others).map((text) => `\\tiny ${number(text)}`);
    return below.length ? `\\shortstack[r]{${[number(ours), ...below].join("\\\\")}}` : number(ours);
  };
  return [
    `\\begin{tabular}{${"l".repeat(labels)}${"r".repeat(heads.length - labels)}}`,
    "\\toprule",
    heads.map((head) => escaped(headText(head))).join(" & ") + " \\\\",
    "\\midrule",
    ...lines.map((line) => line.map(cell).join(" & ") + " \\\\"),
    "\\bottomrule",
    "\\end{tabular}",
    "",
  ].join("\n");
}

// Whether the text is on the clipboard now; pages from a disk may lack the newer way.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
