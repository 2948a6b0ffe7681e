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
    details.open = true;
    target.focus({ preventScroll: true });
    details.scrollIntoView();
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

  // Print everything: open what is folded, then fold it again.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
})();
