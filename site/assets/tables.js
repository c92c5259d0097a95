// Tables: click a head to sort, type to filter. Without JavaScript they are plain tables.
"use strict";

(() => {
  const LEAST = 8; // fewer rows are seen at a glance

  const boxes = [...document.querySelectorAll(".qkb-table")].filter((box) => box.querySelector("tbody tr"));
  const tables = boxes.map((box) => box.querySelector("table"));

  function text(row, column) {
    return row.cells[column]?.textContent.trim() ?? "";
  }

  function sort(table, column, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.sort((a, b) => text(a, column).localeCompare(text(b, column), undefined, { numeric: true, sensitivity: "base" }));
    if (down) rows.reverse();
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  }

  for (const table of tables) {
    if (table.tBodies[0].rows.length < 3 || !table.closest(".qkb-survey, .qkb-sorts")) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column, head));
      head.append(button);
    });
  }

  const rows = tables.flatMap((table) => [...table.tBodies[0].rows]);
  const host = document.querySelector("[data-qkb-filter]");
  if (!host || rows.length < LEAST) return;

  const contents = rows.map((row) => row.textContent.toLowerCase());
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Filter these rows";
  input.setAttribute("aria-label", "Filter these rows");
  const status = document.createElement("span");
  status.setAttribute("role", "status");

  function filter() {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, index) => {
      row.hidden = !wanted.every((word) => contents[index].includes(word));
      shown += !row.hidden;
    });
    for (const [index, box] of boxes.entries()) {
      box.hidden = ![...tables[index].tBodies[0].rows].some((row) => !row.hidden);
      const heading = box.previousElementSibling;
      if (heading?.matches("h2")) heading.hidden = box.hidden;
    }
    status.textContent = wanted.length ? `${shown} of ${rows.length}` : "";
  }

  input.addEventListener("input", filter);
  host.append(input, status);
})();
