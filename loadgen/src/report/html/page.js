// Draws each chart as wide as there is room, and again when that changes.
"use strict";

const HEIGHT = 260, MARGIN = { left: 58, right: 12, top: 10, bottom: 26 };

const three = (value) => Number(value.toPrecision(3)).toString();
const prefixed = (value, units) => {
  const [size, unit] = units.find(([size]) => value >= size * 0.9995) ?? units.at(-1);
  return `${three(value / size)}${unit}`;
};
const count = (value) => prefixed(value, [[1e9, " G"], [1e6, " M"], [1e3, " k"], [1, ""]]);
const FORMATS = {
  latency: (value) => prefixed(value, [[1, " s"], [1e-3, " ms"], [1e-6, " µs"], [1e-9, " ns"]]),
  count,
  rate: (value) => `${count(value)}/s`,
  part: (value) => `${three(value * 100)} %`,
  seconds: (value) => `${Number(value.toFixed(1))} s`,
  load: count,
  nines: (value) => `${Number((100 - 100 / 10 ** value).toFixed(Math.max(0, Math.ceil(value) - 1) + 1))} %`,
};

const element = (name, attributes, parent) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
};

const stroke = (line) =>
  `stroke: var(--c${line.colour % 6})` + (line.is_dashed ? "; stroke-dasharray: 6 4" : "");

/// From zero (or less than the least) to more than the most, in steps of 1, 2 or 5.
const linear = (most, tickCount) => {
  const rough = most / tickCount || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const end = Math.ceil((most / step) * 1.02) * step || step;
  const ticks = Array.from({ length: Math.round(end / step) + 1 }, (_, n) => n * step);
  return { ticks, place: (value) => value / end };
};

const logarithmic = (least, most) => {
  const ticks = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
    for (const n of [1, 2, 5]) ticks.push(n * 10 ** power);
  }
  const from = ticks.findLast((tick) => tick <= least * 1.001) ?? ticks[0];
  const to = ticks.find((tick) => tick >= most * 0.999 && tick > from);
  const isWide = to / from > 1e3;
  const inside = ticks.filter((tick) => tick >= from && tick <= to);
  const shown = isWide ? inside.filter((tick) => Math.abs(Math.log10(tick) % 1) < 1e-6) : inside;
  const place = (value) => Math.log10(Math.max(value, from) / from) / Math.log10(to / from);
  return { ticks: shown, place };
};

const scaleY = (chart) => {
  const values = chart.lines.flatMap((line) => line.points.map((point) => point[1]));
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  if (chart.y === "latency") {
    const positive = values.filter((value) => value > 0);
    return logarithmic(positive.reduce((a, b) => Math.min(a, b), most), most);
  }
  return linear(chart.y === "part" ? Math.max(most, 0.97) : most, 5);
};

const scaleX = (chart, width) => {
  const most = chart.lines.reduce((most, line) => Math.max(most, line.points.at(-1)?.[0] ?? 0), 0);
  if (chart.x === "nines") {
    const end = Math.max(most, 1);
    const whole = Array.from({ length: Math.floor(end) + 1 }, (_, n) => n);
    return { ticks: [...whole, Math.log10(2)], place: (value) => value / end };
  }
  const { ticks } = linear(most, Math.max(2, Math.floor(width / 90)));
  return { ticks: ticks.filter((tick) => tick <= most), place: (value) => value / most };
};

const draw = (figure, chart) => {
  figure.querySelector(":scope > svg")?.remove();
  const width = figure.clientWidth - 32;
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const [scaleOfX, scaleOfY] = [scaleX(chart, inner.width), scaleY(chart)];
  const x = (value) => MARGIN.left + scaleOfX.place(value) * inner.width;
  const y = (value) => MARGIN.top + (1 - scaleOfY.place(value)) * inner.height;
  const svg = element("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": chart.title });
  for (const tick of scaleOfY.ticks) {
    element("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }, svg);
    element("text", { class: "tick", x: MARGIN.left - 6, y: y(tick) + 4, "text-anchor": "end" }, svg).textContent = FORMATS[chart.y](tick);
  }
  const labels = [];
  for (const tick of scaleOfX.ticks) {
    element("line", { class: "grid", x1: x(tick), x2: x(tick), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }, svg);
    const text = FORMATS[chart.x](tick), at = Math.min(x(tick), width - text.length * 4), room = text.length * 4 + 2;
    if (labels.some((other) => Math.abs(other.at - at) < other.room + room)) continue;
    labels.push({ at, room });
    element("text", { class: "tick", x: at, y: HEIGHT - 8, "text-anchor": "middle" }, svg).textContent = text;
  }
  for (const line of chart.lines) {
    const path = line.points.map(([a, b]) => `${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("L");
    element("path", { class: "line", style: stroke(line), d: `M${path}` }, svg);
    if (line.points.length === 1) {
      element("circle", { r: 3, cx: x(line.points[0][0]), cy: y(line.points[0][1]), style: `fill: var(--c${line.colour % 6})` }, svg);
    }
  }
  const cursor = element("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" }, svg);
  const where = figure.querySelector(".where"), outputs = figure.querySelectorAll("output");
  const nearest = (points, at) => points.reduce((best, point) => (Math.abs(x(point[0]) - at) < Math.abs(x(best[0]) - at) ? point : best));
  svg.addEventListener("pointermove", (event) => {
    const at = event.clientX - svg.getBoundingClientRect().left;
    const points = chart.lines.map((line) => nearest(line.points, at));
    const value = points.reduce((best, point) => (Math.abs(x(point[0]) - at) < Math.abs(x(best) - at) ? point[0] : best), points[0][0]);
    cursor.setAttribute("x1", x(value));
    cursor.setAttribute("x2", x(value));
    cursor.setAttribute("visibility", "visible");
    where.textContent = ` at ${FORMATS[chart.x](value)}`;
    points.forEach((point, index) => (outputs[index].textContent = FORMATS[chart.y](point[1])));
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    where.textContent = "";
    outputs.forEach((output) => (output.textContent = ""));
  });
  figure.append(svg);
};

const caption = (figure, chart) => {
  const text = document.createElement("figcaption");
  const title = document.createElement("b");
  const where = document.createElement("span");
  where.className = "where";
  title.append(chart.title, where);
  text.append(title);
  for (const line of chart.lines) {
    const key = document.createElement("span");
    key.className = "key";
    const swatch = element("svg", { viewBox: "0 0 22 8" }, key);
    element("line", { class: "line", style: stroke(line), x1: 0, x2: 22, y1: 4, y2: 4 }, swatch);
    key.append(line.name, document.createElement("output"));
    text.append(key);
  }
  figure.append(text);
};

for (const chart of JSON.parse(document.getElementById("charts").textContent)) {
  const figure = document.createElement("figure");
  caption(figure, chart);
  document.getElementById("plots").append(figure);
  let drawn = 0;
  new ResizeObserver(() => {
    if (figure.clientWidth !== drawn) draw(figure, chart);
    drawn = figure.clientWidth;
  }).observe(figure);
}
