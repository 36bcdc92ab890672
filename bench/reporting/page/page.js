"use strict";
// The controls of a chart show or hide its traces. `meta` says what each trace belongs to.
for (const form of document.querySelectorAll("form.controls")) {
  const plot = document.getElementById(form.dataset.plot);
  const draw = () => {
    const choice = form.querySelector("[name=choice]:checked");
    const curves = new Set([...form.querySelectorAll("[name=curve]:checked")].map((input) => input.value));
    const scale = form.elements.scale.value;
    const visible = plot.data.map(({ meta }) => meta.choice === choice.value && curves.has(meta.curve));
    const axes = { [`${form.dataset.axis}axis.title.text`]: choice.dataset.title };
    for (const axis of form.dataset.scales.split(" ")) {
      axes[`${axis}.type`] = scale;
      axes[`${axis}.tickmode`] = scale === "log" && plot.layout[axis].tickvals ? "array" : "auto";
    }
    Plotly.update(plot, { visible }, axes);
  };
  form.addEventListener("change", draw);
  if (matchMedia("(pointer: coarse)").matches) Plotly.relayout(plot, { dragmode: false }); // a finger scrolls the page
  addEventListener("beforeprint", () => Plotly.relayout(plot, { width: 680 }));
  addEventListener("afterprint", () => Plotly.relayout(plot, { width: null, autosize: true }));
}
// The head of a column sorts by it: numbers by their full precision, words by the alphabet, empty cells last.
for (const head of document.querySelectorAll("thead th")) {
  head.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0];
    const turn = head.ariaSort === "ascending" ? -1 : 1;
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.ariaSort = turn === 1 ? "ascending" : "descending";
    const key = (row) => row.cells[head.cellIndex].dataset.number ?? row.cells[head.cellIndex].textContent;
    const order = (one, other) =>
      (key(one) === "-") - (key(other) === "-") || turn * (key(one) - key(other) || key(one).localeCompare(key(other)));
    body.append(...[...body.rows].sort(order));
  });
}
