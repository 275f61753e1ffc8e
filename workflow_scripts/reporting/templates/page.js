// Sorting and searching of tables. Everything on the page can be read without it.
"use strict";

// A number to sort by, or the text; null is a missing number, which stays at the end.
function sortValue(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  return cell.classList.contains("number") ? null : cell.textContent.trim();
}

// Numbers inside names count as such: GENE2 before GENE10, lr-0.0003 before lr-0.001.
const split = (text) => String(text).split(/(\d+(?:\.\d+)?(?:e[-+]?\d+)?)/);

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  const [left, right] = [split(a), split(b)];
  for (let place = 0; place < Math.min(left.length, right.length); place++) {
    const [one, other] = [left[place], right[place]];
    // Every second part is a number.
    const order = place % 2 ? Number(one) - Number(other) : one.localeCompare(other);
    if (order) return order;
  }
  return left.length - right.length;
}

function sortBy(table, heading) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const column = heading.cellIndex;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, value: sortValue(row, column) }));
  rows.sort((a, b) => {
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
    return descending ? compare(b.value, a.value) : compare(a.value, b.value);
  });
  body.append(...rows.map((entry) => entry.row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sortBy(table, heading));
  }
}

for (const field of document.querySelectorAll("input[data-filters]")) {
  const rows = Array.from(document.getElementById(field.dataset.filters).tBodies[0].rows);
  // Numbers aren't searched: a "1" would find nearly every row.
  const words = (row) => Array.from(row.cells).filter((cell) => !cell.classList.contains("number"));
  const names = new Map(
    rows.map((row) => [row, words(row).map((cell) => cell.textContent).join(" ").toLowerCase()]),
  );
  const found = field.closest(".search").querySelector(".found");
  const show = () => {
    const wanted = field.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !names.get(row).includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    found.textContent = `${shown} of ${rows.length}`;
  };
  field.addEventListener("input", show);
  field.closest(".search").hidden = false;
  show();
}
