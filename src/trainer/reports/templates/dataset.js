// Search in the list of sessions, and borders of tokens on demand.
(() => {
  for (const form of document.querySelectorAll("form[data-filter-rows]")) {
    const rows = [...document.getElementById(form.dataset.filterRows).tBodies[0].rows];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const apply = () => {
      const wanted = new FormData(form);
      const words = String(wanted.get("text")).toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const fits =
          ["split", "state"].every((kind) => !wanted.get(kind) || row.dataset[kind] === wanted.get(kind)) &&
          words.every((word) => texts.get(row).includes(word));
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      form.querySelector("output").textContent = `${shown} of ${rows.length} sessions`;
    };
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    apply();
  }

  const box = document.querySelector("[data-token-borders]");
  if (!box) return;
  const mark = (part) => {
    const text = part.textContent;
    if (!box.checked) {
      part.replaceChildren(text);
      return;
    }
    const pieces = [];
    let at = 0;
    for (const length of part.dataset.lengths.split(",").map(Number)) {
      const piece = document.createElement("span");
      piece.className = "token";
      piece.textContent = text.slice(at, at + length);
      at += length;
      pieces.push(piece);
    }
    part.replaceChildren(...pieces, text.slice(at));
  };
  const update = (session) => {
    if (!session.open || (session.dataset.borders === "yes") === box.checked) return;
    session.dataset.borders = box.checked ? "yes" : "no";
    for (const part of session.querySelectorAll("[data-lengths]")) mark(part);
  };
  const sessions = document.querySelectorAll("details.session");
  for (const session of sessions) session.addEventListener("toggle", () => update(session));
  box.addEventListener("change", () => sessions.forEach(update));
  box.closest("p").hidden = false;
  box.checked = false;
})();
