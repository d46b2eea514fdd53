// Sorting, filtering, and history where it is read. Without it, everything can still be read.
"use strict";

(() => {
  const announce = (text) => {
    document.getElementById("status").textContent = text;
  };

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const value = cell.dataset.value;
    return value === undefined ? cell.textContent.trim() : Number(value);
  };

  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a.localeCompare(b, undefined, { numeric: true });
  };

  const sortBy = (table, header) => {
    const body = table.tBodies[0];
    const direction = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row) => [keyOf(row, header.cellIndex), row]);
    rows.sort((a, b) => sign * compare(a[0], b[0]));
    body.append(...rows.map((pair) => pair[1]));
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction);
    announce(`sorted by ${header.textContent.trim()}, ${direction}`);
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sortBy(table, header));
      header.append(button);
    }
  }

  // The history of a turn is the beginning of its conversation, which the page holds once.
  const fill = (details) => {
    if (!details.open || details.dataset.filled) return;
    details.dataset.filled = "yes";
    const conversation = document.getElementById(details.dataset.conversation);
    if (!conversation) return;
    const place = document.createElement("div");
    place.className = "messages";
    const messages = conversation.querySelectorAll(":scope > .messages > .message");
    for (const message of [...messages].slice(0, Number(details.dataset.messages))) {
      const copy = message.cloneNode(true);
      copy.removeAttribute("id");
      place.append(copy);
    }
    details.replaceChildren(details.querySelector("summary"), place);
  };
  for (const details of document.querySelectorAll("details.history")) {
    details.addEventListener("toggle", () => fill(details));
  }

  for (const form of document.querySelectorAll("form[data-filter]")) {
    const cards = [...document.querySelectorAll("article.turn")];
    const texts = new Map();
    const textOf = (card) => {
      if (!texts.has(card)) texts.set(card, card.textContent.toLowerCase());
      return texts.get(card);
    };
    const apply = () => {
      const wanted = new FormData(form);
      const words = String(wanted.get("text")).toLowerCase().split(/\s+/).filter(Boolean);
      wanted.delete("text");
      let shown = 0;
      for (const card of cards) {
        const fits =
          [...wanted].every(([kind, word]) => !word || JSON.parse(card.dataset[kind] || "[]").includes(word)) &&
          words.every((word) => textOf(card).includes(word));
        card.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      form.querySelector("output").textContent = `${shown} of ${cards.length} turns`;
      for (const list of document.querySelectorAll("[data-turn-list]")) {
        list.hidden = !list.querySelector("article.turn:not([hidden])");
      }
    };
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    apply();
    // A link such as "12 turns" in a table of the page sets a filter: #turns?tool=search
    const follow = () => {
      const [name, query] = location.hash.slice(1).split("?");
      if (name !== "turns" || query === undefined) return;
      form.reset();
      for (const [kind, word] of new URLSearchParams(query)) {
        if (form.elements[kind]) form.elements[kind].value = word;
      }
      setTimeout(() => {
        apply();
        form.scrollIntoView();
        form.elements.text.focus({ preventScroll: true });
      });
    };
    addEventListener("hashchange", follow);
    follow();
  }

  // A link to something folded unfolds it.
  const unfold = () => {
    let place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const target = place;
    for (; place; place = place.parentElement) if (place.tagName === "DETAILS") place.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  if (location.hash) unfold();
})();
