"use strict";
(() => {
  // The theme: auto, light or dark; #theme=dark in the address chooses it too.
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("handgrad-theme"); } catch { return null; } };
  const show = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    button.textContent = "Theme: " + theme;
  };
  const asked = /theme=(\w+)/.exec(location.hash);
  let theme = themes.includes(asked && asked[1]) ? asked[1] : stored();
  if (!themes.includes(theme)) theme = "auto";
  button.hidden = false;
  show(theme);
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("handgrad-theme", theme); } catch { /* a file may have no storage */ }
    show(theme);
  });

  // The filter: a row stays if it matches every choice.
  const table = document.getElementById("tensors");
  const form = document.getElementById("filter");
  if (table && form) {
    const rows = [...table.tBodies[0].rows];
    const filter = () => {
      let shown = 0;
      for (const row of rows) {
        const { layer, kind, verdict } = row.dataset;
        const fits = (!form.layer.value || form.layer.value === layer)
          && (!form.kind.value || form.kind.value === kind)
          && (!form.verdict.value || verdict.split("|").includes(form.verdict.value));
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      form.querySelector("output").textContent =
        shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    };
    form.hidden = false;
    form.addEventListener("change", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(filter));
    filter();
  }

  // Sorting: numbers largest first, then smallest first, then execution order again.
  for (const sortable of document.querySelectorAll("table.sortable")) {
    const body = sortable.tBodies[0];
    const original = [...body.rows];
    const heads = [...sortable.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const value = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
      const number = (text) => ({ inf: Infinity, "-inf": -Infinity, nan: -1 })[text] ?? Number(text);
      const numeric = original.every((row) => !Number.isNaN(number(value(row))));
      const compare = numeric
        ? (a, b) => number(value(b)) - number(value(a)) || 0
        : (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
      const first = numeric ? "descending" : "ascending";
      const second = numeric ? "ascending" : "descending";
      const press = document.createElement("button");
      press.type = "button";
      press.textContent = head.textContent;
      head.replaceChildren(press);
      press.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const next = now === first ? second : now === second ? null : first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        const order = next ? [...original].sort(compare) : original;
        if (next) head.setAttribute("aria-sort", next);
        body.append(...(next === second ? order.reverse() : order));
      });
    });
  }

  // A row leads to its derivation, which opens (older browsers do not open it by themselves).
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const details = target && target.closest("details");
    if (!details) return;
    for (let d = details; d; d = d.parentElement.closest("details")) d.open = true;
    target.focus({ preventScroll: true });
    (target.matches("tr") ? target : details).scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
  for (const link of document.querySelectorAll("td a.lead-to")) {
    const row = link.closest("tr");
    row.classList.add("leads");
    row.addEventListener("click", (event) => {
      if (!event.target.closest("a") && !getSelection().toString()) link.click();
    });
  }

  // The heat map: what a cell says, under the pointer; a click leads to its row.
  const plot = document.querySelector(".budget_map svg");
  if (plot) {
    const map = JSON.parse(plot.closest("figure").dataset.hover);
    const tip = document.body.appendChild(document.createElement("div"));
    tip.className = "tip";
    tip.hidden = true;
    const [x0, y0, x1, y1] = map.box;
    const cell = (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
      const column = Math.floor((at.x - x0) / (x1 - x0) * map.wide);
      const row = Math.floor((at.y - y0) / (y1 - y0) * map.cells.length);
      const inside = row >= 0 && row < map.cells.length && column >= 0 && column < map.columns.length;
      return inside ? [row, column] : null;
    };
    const told = (x) => x === null ? "not judged" : x < 0 ? "∞, beyond the limit"
      : x > 1 ? `${x.toLocaleString("en")} × the limit` : `${Number((100 * x).toPrecision(2))} % of the budget`;
    const target = (row, column) => Array.isArray(map.rows[row]) ? map.rows[row][column] : map.rows[row];
    plot.addEventListener("mousemove", (event) => {
      const at = cell(event);
      tip.hidden = !at;
      plot.classList.toggle("lead-on", Boolean(at));
      if (!at) return;
      const head = document.createElement("b");
      head.textContent = map.labels[at[0]];
      tip.replaceChildren(head, `${map.what} ${map.columns[at[1]]}: ${told(map.cells[at[0]][at[1]])}`);
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${event.clientY + 18}px`;
    });
    plot.addEventListener("mouseleave", () => { tip.hidden = true; });
    plot.addEventListener("click", (event) => {
      const at = cell(event);
      const row = at && target(...at);
      if (row === null || row === undefined) return;
      if (form) { form.reset(); setTimeout(() => { location.hash = `#t-${row}`; }, 20); }
    });
  }
})();
