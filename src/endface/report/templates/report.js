"use strict";
(() => {
  const $ = (query, root = document) => root.querySelector(query);
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const rows = all("#table tbody tr"), figures = all(".gallery figure"), tiles = all(".tile");
  const find = $("#find"), shown = $("#shown");
  let verdict = "";

  function filter() {
    const text = find.value.trim().toLowerCase();
    let count = 0;
    for (const item of [...rows, ...figures]) {
      item.hidden = (verdict && item.dataset.verdict !== verdict) || !item.dataset.name.includes(text);
      if (!item.hidden && item.tagName === "TR") count += 1;
    }
    for (const tile of tiles) tile.setAttribute("aria-pressed", String(tile.dataset.verdict === verdict));
    shown.textContent = verdict || text ? `${count} of ${rows.length} shown` : "";
  }
  find.addEventListener("input", filter);
  for (const tile of tiles) {
    tile.addEventListener("click", () => {
      verdict = verdict === tile.dataset.verdict ? "" : tile.dataset.verdict;
      filter();
    });
  }

  const heads = all("#table thead th");
  const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  heads.forEach((head, column) => {
    const button = $("button", head);
    if (!button) return;
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].textContent.trim();
      const number = (row) => parseFloat(key(row).replaceAll(",", ""));
      const compare = head.dataset.kind === "num"
        ? (a, b) => {
            const [x, y] = [number(a), number(b)];
            if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);  // unknown last
            return down ? y - x : x - y;
          }
        : (a, b) => names.compare(key(a), key(b)) * (down ? -1 : 1);
      const body = $("#table tbody");
      body.append(...rows.sort(compare));
    });
  });

  const box = $("#box"), buttons = figures.map((figure) => $("button", figure));
  let open = -1;
  function show(index) {
    const button = buttons[index], figure = figures[index];
    open = index;
    $("#box-img").src = $("img", button).src;
    $("#box-img").alt = $("img", button).alt;
    $("#box-name").textContent = $(".name", figure).textContent;
    $("#box-verdict").replaceChildren($(".badge", figure).cloneNode(true));
    $("#box-reason").textContent = button.dataset.reason;
    $("#box-href").setAttribute("href", button.dataset.href);
    if (!box.open) box.showModal();
  }
  function step(by) {
    for (let index = open + by; index >= 0 && index < figures.length; index += by) {
      if (!figures[index].hidden) return show(index);
    }
  }
  buttons.forEach((button, index) => button.addEventListener("click", () => show(index)));
  for (const button of all("[data-open]")) {
    button.addEventListener("click", () => show(buttons.findIndex((b) => b.dataset.id === button.dataset.open)));
  }
  $("#box-prev").addEventListener("click", () => step(-1));
  $("#box-next").addEventListener("click", () => step(1));
  $("#box-close").addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  box.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (by) { event.preventDefault(); step(by); }
  });
  box.addEventListener("close", () => { if (open >= 0) buttons[open].focus(); });
})();
