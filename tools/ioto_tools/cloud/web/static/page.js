// In addition to htmx: the chart, upload progress, a message if the cloud does not answer, no polling while hidden.
"use strict";

// ---- the chart: groups of states over time, stacked

const GROUPS = [
  ["confirmed", "confirmed", "--good"],
  ["under_way", "under way", "--under-way"],
  ["deferred", "deferred", "--waits"],
  ["bad", "bad", "--bad"],
  ["past", "superseded", "--past"],
];
let chart, samples;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// uPlot fills each series down to the axis, so the sum of all rows is drawn first and the lowest row last.
function stacked(at_s, rows) {
  const sums = at_s.map(() => 0);
  return [at_s, ...rows.map(({ values }) => values.map((n, i) => (sums[i] += n))).reverse()];
}

function series(at_s, { label, values, shade }) {
  return {
    label,
    stroke: shade,
    fill: shade,
    width: 0,
    points: { show: false },
    paths: uPlot.paths.stepped({ align: 1 }),
    value: (_, sum, of, i) => values[i ?? at_s.length - 1].toLocaleString(),
  };
}

function axis(more) {
  const grid = { stroke: () => colour("--pico-muted-border-color"), width: 1 };
  return { stroke: () => colour("--pico-muted-color"), grid, ticks: { show: false }, ...more };
}

function size(element) {
  return { width: element.clientWidth, height: 240 };
}

function moment(at_s, options) {
  return new Date(at_s * 1000).toLocaleString([], options);
}

const STEPS_S = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400, 604800, 2592000, 31536000];

function times(_, moments, i, space, step_s) {
  const short = step_s < 86400 ? { hour: "2-digit", minute: "2-digit" } : { month: "short", day: "numeric" };
  return moments.map((at_s) => moment(at_s, step_s < 60 ? { timeStyle: "medium" } : short));
}

// Draw rows, {label, values, shade()}, on top of each other; the first one is at the bottom.
function draw(element, at_s, rows) {
  if (at_s.length === 1) [at_s, ...rows.map(({ values }) => values)].forEach((each, i) => each.unshift(each[0] - (i ? 0 : 60))); // two points, so that the axis has a length
  const whole = (_, values) => values.map((n) => (Number.isInteger(n) ? n.toLocaleString() : ""));
  const time = { label: "time", value: (_, at_s) => (at_s == null ? "now" : moment(at_s, { dateStyle: "short", timeStyle: "short" })) };
  const drawn = new uPlot(
    {
      ...size(element),
      series: [time, ...rows.map((row) => series(at_s, row)).reverse()],
      axes: [axis({ values: times, space: 80, incrs: STEPS_S }), axis({ values: whole, size: 60 })],
      padding: [null, 32, null, null],
      scales: { y: { range: (_, min, max) => [0, Math.max(1, max * 1.05)] } },
    },
    stacked(at_s, rows),
    element,
  );
  new ResizeObserver(() => drawn.setSize(size(element))).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.redraw());
  return drawn;
}

async function read(element) {
  const reply = await fetch(element.dataset.from);
  return reply.ok ? reply.json() : null;
}

const rowsOf = (counts) => GROUPS.map(([key, label, variable]) => ({ label, values: counts[key], shade: () => colour(variable) }));

async function start(element) {
  samples = await read(element);
  if (samples) chart = draw(element, samples.at_s, rowsOf(samples));
}

// ---- the versions of a product over time; the highest one is at the bottom

async function startVersions(element) {
  const found = await read(element);
  if (!found) return;
  const shade = (name, i) => (/^\d/.test(name) ? `hsl(${(150 + 67 * i) % 360} 50% ${i % 2 ? 60 : 45}%)` : colour("--past"));
  draw(element, found.at_s, found.names.map((label, i) => ({ label, values: found.counts[i], shade: () => shade(label, i) })));
}

// The part of the page that htmx refreshes contains the newest counts.
function now(counts) {
  if (!chart) return;
  const last = samples.at_s.length - 1;
  const same = last > 0 && GROUPS.every(([key]) => samples[key][last] === counts[key] && samples[key][last - 1] === counts[key]);
  const at = same ? last : last + 1; // without a change, only the two ends of the interval are kept
  samples.at_s[at] = counts.at_s;
  for (const [key] of GROUPS) samples[key][at] = counts[key];
  chart.setData(stacked(samples.at_s, rowsOf(samples)));
}

htmx.onLoad((part) => {
  const element = part.querySelector("#chart");
  if (element) start(element);
  part.querySelectorAll(".versions").forEach(startVersions);
  if (part.id !== "progress") return;
  now(JSON.parse(part.dataset.now));
  if ("changed" in part.dataset && !typed) location.reload();
});

// If another operator changes the release, the page is reloaded; if a form was edited, it only shows a notice.
let typed = false;
document.addEventListener("input", () => (typed = true));
document.addEventListener("htmx:beforeSwap", (event) => event.detail.target === document.body && (typed = false));

// ---- htmx

document.addEventListener("htmx:beforeRequest", (event) => {
  if (!event.target.matches("[data-live]")) document.getElementById("problem")?.replaceChildren();
  else if (document.hidden) event.preventDefault();
});

function showProblem(text) {
  const element = document.getElementById("problem");
  if (!element) return;
  const paragraph = document.createElement("p");
  paragraph.className = "problem unanswered";
  paragraph.textContent = text;
  element.replaceChildren(paragraph);
}

document.addEventListener("htmx:sendError", () => showProblem("The cloud does not answer. Check that it is running and that this computer is on the network."));
document.addEventListener("htmx:responseError", (event) => event.detail.xhr.status >= 500 && showProblem("The cloud failed to handle the request; its log has the cause."));
document.addEventListener("htmx:afterOnLoad", () => document.querySelector(".unanswered")?.remove());

document.addEventListener("htmx:xhr:progress", (event) => {
  const bar = event.target.matches("[data-upload]") && event.target.querySelector("progress");
  if (!bar || !event.detail.lengthComputable) return;
  bar.hidden = event.detail.loaded === event.detail.total;
  bar.value = event.detail.loaded / event.detail.total;
});
