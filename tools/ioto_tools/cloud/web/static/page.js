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

// uPlot fills each series down to the axis, so the sum of all groups is drawn first and the lowest group last.
function stacked() {
  const sums = samples.at_s.map(() => 0);
  const rows = GROUPS.map(([key]) => samples[key].map((n, i) => (sums[i] += n)));
  return [samples.at_s, ...rows.reverse()];
}

function series([key, label, variable]) {
  return {
    label,
    stroke: () => colour(variable),
    fill: () => colour(variable),
    width: 0,
    points: { show: false },
    paths: uPlot.paths.stepped({ align: 1 }),
    value: (_, sum, of, i) => samples[key][i ?? samples.at_s.length - 1].toLocaleString(),
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

function draw(element) {
  const whole = (_, values) => values.map((n) => (Number.isInteger(n) ? n.toLocaleString() : ""));
  const time = { label: "time", value: (_, at_s) => (at_s == null ? "now" : moment(at_s, { dateStyle: "short", timeStyle: "short" })) };
  chart = new uPlot(
    {
      ...size(element),
      series: [time, ...GROUPS.map(series).reverse()],
      axes: [axis({ values: times, space: 80, incrs: STEPS_S }), axis({ values: whole, size: 60 })],
      padding: [null, 32, null, null],
      scales: { y: { range: (_, min, max) => [0, Math.max(1, max * 1.05)] } },
    },
    stacked(),
    element,
  );
}

async function start(element) {
  const reply = await fetch(element.dataset.from);
  if (!reply.ok) return;
  samples = await reply.json();
  if (samples.at_s.length === 1) for (const name in samples) samples[name].unshift(samples[name][0] - (name === "at_s" ? 60 : 0)); // two points, so that the axis has a length
  draw(element);
  new ResizeObserver(() => chart.setSize(size(element))).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw());
}

// The part of the page that htmx refreshes contains the newest counts.
function now(counts) {
  if (!chart) return;
  const last = samples.at_s.length - 1;
  const same = last > 0 && GROUPS.every(([key]) => samples[key][last] === counts[key] && samples[key][last - 1] === counts[key]);
  const at = same ? last : last + 1; // without a change, only the two ends of the interval are kept
  samples.at_s[at] = counts.at_s;
  for (const [key] of GROUPS) samples[key][at] = counts[key];
  chart.setData(stacked());
}

htmx.onLoad((part) => {
  const element = part.querySelector("#chart");
  if (element) start(element);
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
