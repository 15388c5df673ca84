// Names the column of every cell, which a phone shows (site.css), and keeps tables tables for screen readers there.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll(".content table")) {
    const columns = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
    table.setAttribute("role", "table");
    for (const row of table.querySelectorAll("tr")) {
      row.setAttribute("role", "row");
      [...row.cells].forEach((cell, index) => {
        cell.setAttribute("role", cell.tagName === "TH" ? "columnheader" : "cell");
        if (cell.tagName === "TD" && columns[index]) cell.dataset.column = columns[index];
        if (!cell.textContent.trim()) cell.dataset.empty = "";
      });
    }
  }
});
