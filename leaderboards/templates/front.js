"use strict";
(() => {
  const views = [...document.querySelectorAll(".view")];
  const controls = document.getElementById("controls");
  if (!views.length) return;
  const names = ["suite", "base model", "dataset", "budget", "verdict"];
  const attribute = (view, name) => view.getAttribute("data-" + name.replace(" ", "-"));
  const state = new URLSearchParams(location.hash.slice(1));
  const selects = new Map();
  let shown = views[0];

  const labelled = (text, control) => {
    const label = document.createElement("label");
    label.append(text, control);
    controls.append(label);
    return control;
  };

  for (const name of names) {
    const values = [...new Set(views.map((view) => attribute(view, name)))];
    if (values.length < 2) continue;
    const select = labelled(name, document.createElement("select"));
    for (const value of values) select.append(new Option(value, value));
    select.addEventListener("change", () => choose(name));
    selects.set(name, select);
  }
  const filter = labelled("filter rows", document.createElement("input"));
  filter.type = "search";
  filter.placeholder = "for example ppo";
  filter.addEventListener("input", () => { show(); remember(); });
  controls.hidden = false;

  // The view that has the value just chosen and agrees most with the other choices.
  const choose = (fixed) => {
    const agreement = (view) => [...selects].reduce((sum, [name, select]) =>
      sum + (attribute(view, name) === select.value ? (name === fixed ? 100 : 1) : 0), 0);
    shown = views.reduce((best, view) => (agreement(view) > agreement(best) ? view : best));
    for (const [name, select] of selects) select.value = attribute(shown, name);
    show();
    remember();
  };

  const show = () => {
    for (const view of views) view.hidden = view !== shown;
    const words = filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of document.querySelectorAll(".league tbody tr")) {
      const text = row.cells[0].textContent.toLowerCase();
      row.hidden = words.length > 0 && !words.some((word) => text.includes(word));
    }
  };

  const remember = () => {
    for (const [name, select] of selects) state.set(name.replace(" ", "-"), select.value);
    if (filter.value) state.set("filter", filter.value); else state.delete("filter");
    history.replaceState(null, "", "#" + state.toString());
  };

  const value = (row, column) => {
    const said = row.cells[column].dataset.value;
    if (said === undefined) return null;
    return column === 0 ? said : Number(said);
  };

  const sort = (column, direction) => {
    for (const table of document.querySelectorAll(".league")) {
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (x === null || y === null) return (x === null) - (y === null);
        return direction * (column === 0 ? x.localeCompare(y) : x - y);
      });
      table.tBodies[0].append(...rows);
      [...table.tHead.rows[0].cells].forEach((cell, i) => {
        if (i === column) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        else cell.removeAttribute("aria-sort");
      });
    }
    state.set("sort", column + (direction > 0 ? "" : "-"));
  };

  for (const table of document.querySelectorAll(".league")) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      button.addEventListener("click", () => {
        sort(column, cell.getAttribute("aria-sort") === "ascending" ? -1 : 1);
        remember();
      });
      cell.append(button);
    });
  }

  const restore = () => {
    const said = new URLSearchParams(location.hash.slice(1));
    for (const [name, select] of selects) {
      const wanted = said.get(name.replace(" ", "-"));
      if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
    }
    filter.value = said.get("filter") || "";
    const order = /^(\d+)(-?)$/.exec(said.get("sort") || "");
    if (order && Number(order[1]) < shown.querySelector("thead tr").cells.length) sort(Number(order[1]), order[2] ? -1 : 1);
    const agreement = (view) => [...selects].filter(([name, select]) => attribute(view, name) === select.value).length;
    shown = views.reduce((best, view) => (agreement(view) > agreement(best) ? view : best));
    for (const [name, select] of selects) select.value = attribute(shown, name);
    show();
  };
  addEventListener("hashchange", restore);
  restore();
})();
