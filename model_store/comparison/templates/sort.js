// Headings become buttons that sort their table; without scripts the tables stay as they are.
for (const heading of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.textContent = heading.textContent;
  button.title = heading.title;
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = heading.closest("table").tBodies[0];
    body.append(...[...body.rows].sort((one, other) => compare(one, other, heading.cellIndex, ascending)));
  });
}

function compare(one, other, index, ascending) {
  const [mine, theirs] = [one, other].map((row) => row.cells[index]);
  const missing = (cell) => cell.classList.contains("missing");
  if (missing(mine) || missing(theirs)) return missing(mine) - missing(theirs); // last, whichever way
  const key = (cell) => cell.dataset.key ?? cell.textContent;
  const numbers = mine.classList.contains("number");
  const order = numbers ? key(mine) - key(theirs) : key(mine).localeCompare(key(theirs), "en");
  return ascending ? order : -order;
}
