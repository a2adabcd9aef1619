"""The page's script: draws the figures with Plotly, in the colours of the page, and redraws them
when the reader switches a scale, the x axis, or between light and dark."""

SCRIPT = """
"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const config = {responsive: true, displaylogo: false, displayModeBar: false};
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let tokens = false;
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = extra => Object.assign({
    gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true,
  }, extra, extra && extra.title ? {title: Object.assign({standoff: 8}, extra.title)} : {});

  function layout(figure) {
    const own = figure.layout, steps = own.xaxis.title.text === "step";
    const xaxis = steps && tokens ? Object.assign({}, own.xaxis, {title: {text: "tokens"}})
                                  : own.xaxis;
    return Object.assign({}, own, {
      autosize: true, height: own.height || 300, uirevision: String(tokens),
      margin: {l: 8, r: 8, t: 8, b: 8}, paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)", font: {color: css("--soft"), size: 12},
      hoverlabel: {bgcolor: css("--card"), bordercolor: css("--line"),
                   font: {color: css("--text")}, namelength: -1},
      legend: Object.assign({orientation: "h", x: 0, y: -0.28, yanchor: "top"}, own.legend),
      xaxis: axis(xaxis), yaxis: axis(own.yaxis),
    });
  }
  function traces(figure) {
    if (!tokens || figure.layout.xaxis.title.text !== "step") return figure.data;
    return figure.data.map(t => t.meta ? Object.assign({}, t, {x: t.x.map(x => x * t.meta)}) : t);
  }
  function draw(figure) {
    return Plotly.react(figure.id, traces(figure), layout(figure), config);
  }
  function all() { return Promise.all(figures.map(draw)); }
  function press(button) {
    for (const other of button.parentNode.children)
      other.setAttribute("aria-pressed", String(other === button));
  }
  for (const button of document.querySelectorAll("button[data-scale]"))
    button.addEventListener("click", () => {
      const figure = figures.find(f => f.id === button.dataset.figure);
      figure.layout.yaxis.type = button.dataset.scale;
      press(button);
      draw(figure);
    });
  for (const button of document.querySelectorAll("button[data-x]"))
    button.addEventListener("click", () => {
      tokens = button.dataset.x === "tokens";
      press(button);
      all();
    });
  dark.addEventListener("change", all);
  all().then(() => document.documentElement.setAttribute("data-drawn", String(figures.length)));
})();
"""
