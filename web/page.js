// The page of the service: sends images one by one and shows what comes back. Text is only ever set as text.

const CAUTION = "Where the network looked, not where the lesion is.";
const AT_ONCE = 2; // one is computed while the next one travels; leaves room for other people
const BUSY_ATTEMPTS = 6;
const PATIENCE_MS = 180_000;
const ROWS = 12; // more classes than these are folded away
const FIGURES = 5; // of the card; the others are one click away
const LONG_NAME = 24; // letters; from here on names stand above their bars
const STATES = {
  // Not "ok": beside the name of a disease that would read as "healthy".
  ok: { words: "Decided", label: "Class", icon: "M3 8.5l3.5 3.5L13 4.5" },
  uncertain: {
    words: "Uncertain",
    label: "Class, undecided",
    icon: "M5 5.6C5 2 11 2 11 5.6C11 8 8 7.8 8 10M8 12.6v.6",
  },
  out_of_distribution: {
    words: "Out of distribution",
    label: "Class, not to be relied on",
    icon: "M8 2.5v7M8 12.4v.8",
  },
  failed: { words: "Failed", icon: "M4 4l8 8M12 4l-8 8" },
  waiting: { words: "Waiting" },
};
const BY_STATUS = {
  408: "The server gave up waiting for the file.",
  413: "The file is larger than this server takes.",
  415: "The file is not an image that this server reads.",
  422: "The image is damaged.",
  503: "The server is busy. Try again in a moment.",
};

const byId = (id) => document.getElementById(id);
const entries = []; // newest batch first
const queue = [];
let card = null;
let key = "";
let inFlight = 0;
let batchSize = 0; // images since the queue was last empty
let stopping = new AbortController();

// Small pieces

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

function icon(state) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(namespace, "path");
  path.setAttribute("d", STATES[state]?.icon ?? "");
  svg.append(path);
  return svg;
}

function badge(state) {
  return make("span", { class: `badge ${state}` }, icon(state), inWords(state));
}

/** A class name that may be broken where its words meet. */
function named(name, attributes = {}) {
  const parts = name.split(/(?<=[._/-])/);
  return make("span", attributes, ...parts.flatMap((part, i) => (i ? [make("wbr"), part] : [part])));
}

/** A probability in the form that reports and reasons use, never rounded to certainty. */
function shown(share) {
  if (share > 0.9995 && share < 1) return "> 0.999";
  if (share < 0.0005 && share > 0) return "< 0.001";
  return share.toFixed(3);
}

const figure = (value) => (typeof value === "number" ? value.toFixed(3).replace("-", "−") : "not defined");
const plural = (n, word, ending = "s") => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : ending}`;
const inWords = (state) => STATES[state]?.words ?? state;
const say = (words) => { byId("live").textContent = words; };

// Asking the server

class Problem extends Error {
  constructor(words, status = 0) {
    super(words);
    this.final = (status >= 400 && status < 500 && status !== 408) || status === 501; // asking again changes nothing
  }
}

async function sentence(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string" && error) return error.slice(0, 500);
  } catch { /* not JSON: a proxy's page, say; the status speaks */ }
  return BY_STATUS[response.status] ?? `The server could not answer (status ${response.status}).`;
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

async function send(path, body, signal) {
  const limit = new AbortController();
  const abort = () => limit.abort();
  const timer = setTimeout(abort, PATIENCE_MS);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    const headers = key ? { "X-API-Key": key } : {};
    return await fetch(path, { method: body ? "POST" : "GET", body, headers, signal: limit.signal });
  } catch {
    if (signal.aborted) throw new Problem("Stopped before there was an answer.");
    if (limit.signal.aborted) throw new Problem("The server did not answer within three minutes.");
    throw new Problem("The server cannot be reached. Is it running, and is the network up?");
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** Answers with what the server said when it said yes; waits while it is busy or asks for a key. */
async function ask(path, body, signal = new AbortController().signal, waiting = () => {}) {
  for (let attempt = 1; ; attempt++) {
    const used = key;
    const response = await send(path, body, signal);
    if (response.ok) return response;
    if (response.status === 401) {
      await keyOtherThan(used, signal);
    } else if (response.status === 503 && attempt < BUSY_ATTEMPTS) {
      waiting();
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await pause(Math.min(seconds, 30) * 1000 * (0.75 + Math.random() / 2), signal);
    } else {
      throw new Problem(await sentence(response), response.status);
    }
  }
}

function keyOtherThan(used, signal) {
  if (key !== used) return null;
  const form = byId("key");
  if (form.hidden) askForKey(used ? "The server did not accept this key." : "This server asks for an API key.");
  return new Promise((resolve) => {
    form.addEventListener("submit", resolve, { once: true });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

function askForKey(words) {
  byId("key-why").textContent = words;
  byId("key").hidden = false;
  byId("key-text").focus();
}

byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = byId("key-text").value.trim();
  if (!/^[\x21-\x7e]+$/.test(given)) {
    event.stopImmediatePropagation();
    return askForKey("A key has no spaces and no letters with accents.");
  }
  key = given;
  byId("key-text").value = "";
  byId("key").hidden = true;
});

function upload(field, entry, others = {}) {
  const body = new FormData();
  body.append(field, entry.file, entry.file.name || "image");
  for (const [name, value] of Object.entries(others)) body.append(name, value);
  return body;
}

// The queue

function add(files) {
  const batch = files.map((file) => ({ file, state: "waiting", maps: new Map(), opacity: 80 }));
  if (!batch.length) return;
  entries.unshift(...batch);
  byId("results").hidden = false;
  document.body.classList.add("with-results");
  byId("list").prepend(...batch.map(row));
  if (byId("results").getBoundingClientRect().top > innerHeight / 2) byId("results").scrollIntoView();
  if (batch.length === 1) batch[0].node.open = true;
  say(`${plural(batch.length, "image")} being sent.`);
  enqueue(batch);
}

function enqueue(batch) {
  if (!queue.length && !inFlight) batchSize = 0;
  if (stopping.signal.aborted) stopping = new AbortController();
  batchSize += batch.length;
  queue.push(...batch);
  for (const entry of batch) settle(entry, "waiting");
  while (inFlight < AT_ONCE && queue.length) next();
}

async function next() {
  const entry = queue.shift();
  inFlight++;
  await predict(entry, stopping.signal);
  inFlight--;
  if (queue.length) next();
  else if (!inFlight) finished(entry);
}

async function predict(entry, signal) {
  try {
    if (signal.aborted) throw new Problem("Stopped before it was sent.");
    await readable(entry);
    const busy = () => { entry.row.answer.textContent = "server busy, trying again"; };
    const response = await ask("predict", upload("image", entry), signal, busy);
    entry.answer = await response.json();
    settle(entry, entry.answer.decision);
  } catch (problem) {
    entry.answer = null;
    entry.final = problem.final;
    entry.problem = problem instanceof Problem ? problem.message : "The server's answer cannot be read.";
    settle(entry, "failed");
  }
}

/** A file that was moved meanwhile would else look like a server that is away. */
async function readable(entry) {
  try {
    entry.head = new Uint8Array(await entry.file.slice(0, 26).arrayBuffer());
  } catch {
    throw new Problem("The file can no longer be read: it was moved, changed or is a folder.");
  }
}

function settle(entry, state) {
  entry.state = state;
  if (state === "waiting") entry.answer = entry.problem = null;
  fillRow(entry);
  if (entry.node.open) fillBody(entry);
  refreshSoon();
}

function finished(last) {
  refresh();
  if (!entries.length) return;
  if (batchSize !== 1) return say(summary(counts()));
  say(last.problem ? `${last.file.name}: no answer. ${last.problem}` : spoken(last));
}

function spoken({ file, answer }) {
  const decision = inWords(answer.decision);
  return `${file.name}: ${answer.label}, ${shown(answer.probability)}. Decision: ${decision}. ${answer.reason}`;
}

// The list

function row(entry) {
  entry.url = URL.createObjectURL(entry.file);
  const thumb = make("img", { src: entry.url, alt: "", loading: "lazy", decoding: "async" });
  thumb.addEventListener("error", () => thumb.replaceWith(ending(entry.file.name)), { once: true });
  entry.row = { thumb: make("span", { class: "thumb" }, thumb), answer: make("span", { class: "row-answer" }),
    badge: make("span", { class: "row-badge" }) };
  const name = make("span", { class: "row-name" }, entry.file.name || "pasted image");
  entry.body = make("div", { class: "body" });
  entry.node = make("details", { ontoggle: () => entry.node.open && fillBody(entry) },
    make("summary", {}, entry.row.thumb, name, entry.row.answer, entry.row.badge), entry.body);
  entry.item = make("li", {}, entry.node);
  return entry.item;
}

function ending(name) {
  const found = /\.([a-z0-9]{1,5})$/i.exec(name ?? "");
  return make("span", { class: "ending" }, found ? found[1].toUpperCase() : "file");
}

function fillRow(entry) {
  const { answer, problem, state, row: parts } = entry;
  entry.item.dataset.state = state;
  parts.answer.classList.toggle("problem", Boolean(problem));
  if (answer) {
    const share = make("span", { class: "figures" }, shown(answer.probability));
    parts.answer.replaceChildren(named(answer.label, { class: "row-label" }), " ", share);
  } else {
    parts.answer.textContent = problem ?? "";
  }
  parts.badge.replaceChildren(badge(state));
}

function counts() {
  const count = { all: entries.length, ok: 0, uncertain: 0, out_of_distribution: 0, failed: 0, waiting: 0 };
  for (const { state } of entries) count[state] = (count[state] ?? 0) + 1;
  return count;
}

const mayTryAgain = (entry) => entry.state === "failed" && !entry.final;

function summary(count) {
  return `${plural(count.all, "image")}: ${count.ok} decided, ${count.uncertain} uncertain, ` +
    `${count.out_of_distribution} out of distribution, ${count.failed} failed.`;
}

let refreshing = 0;
function refreshSoon() {
  refreshing ||= setTimeout(refresh, 60);
}

function refresh() {
  clearTimeout(refreshing);
  refreshing = 0;
  const count = counts();
  const left = queue.length + inFlight;
  byId("progress").hidden = !left || batchSize < 2;
  byId("done").max = batchSize;
  byId("done").value = batchSize - left;
  byId("done-words").textContent = `${batchSize - left} of ${plural(batchSize, "image")}`;
  byId("shown").hidden = count.all < 2;
  for (const button of byId("shown").children) {
    const n = count[button.dataset.show];
    button.querySelector(".count").textContent = n.toLocaleString("en");
    button.disabled = !n && button.getAttribute("aria-pressed") === "false";
  }
  byId("again").hidden = Boolean(left) || count.all < 2 || !entries.some(mayTryAgain);
  byId("csv").hidden = count.waiting === count.all;
}

function show(which) {
  byId("list").dataset.show = which;
  for (const button of byId("shown").children) {
    button.setAttribute("aria-pressed", String(button.dataset.show === which));
  }
}

function makeFilters() {
  for (const state of ["all", "ok", "uncertain", "out_of_distribution", "failed"]) {
    const count = make("span", { class: "count" });
    const text = state === "all" ? ["All ", count] : [icon(state), count, inWords(state).toLowerCase()];
    byId("shown").append(make("button", { type: "button", class: `filter ${state}`, "data-show": state,
      "aria-pressed": String(state === "all"), onclick: () => show(state) }, ...text));
  }
}

// One answer in full

function fillBody(entry) {
  const content = entry.answer ?? entry.problem ?? "waiting";
  if (entry.filled === content) return;
  entry.filled = content;
  if (entry.state === "waiting") return entry.body.replaceChildren(make("p", { class: "soft" }, "Not answered yet."));
  if (!entry.answer) {
    const again = make("button", { type: "button", onclick: () => enqueue([entry]) }, "Try again");
    return entry.body.replaceChildren(verdict("failed", entry.problem), ...(entry.final ? [] : [again]));
  }
  entry.body.replaceChildren(make("div", { class: "answer" }, pictureOf(entry), wordsOf(entry)));
}

function verdict(state, reason) {
  return make("div", { class: `verdict ${state}` }, icon(state),
    make("div", {}, make("strong", {}, inWords(state)), reason ? make("p", {}, reason) : null));
}

function wordsOf({ answer }) {
  const said = make("p", { class: "said" },
    make("span", { class: "soft" }, STATES[answer.decision]?.label ?? "Class"),
    named(answer.label, { class: "label" }), make("span", { class: "big" }, shown(answer.probability)));
  const origin = `${answer.model.name}, version ${answer.model.version}, ${figureOfTime(answer.milliseconds)}`;
  return make("div", { class: `words ${answer.decision}` }, verdict(answer.decision, answer.reason), said,
    bars(answer), facts(answer), make("p", { class: "soft" }, origin));
}

const figureOfTime = (milliseconds) => `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;

function positiveClass() {
  return card?.decision?.operating_point?.positive_class ?? null;
}

function bars(answer) {
  const sorted = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  const rows = sorted.map(([name, share]) => bar(name, share, answer));
  const long = sorted.some(([name]) => name.length > LONG_NAME) ? " long" : "";
  const list = (part, label) => make("ul", { class: `bars${long}`, role: "list", "aria-label": label }, ...part);
  const title = "Probability of each class";
  const first = [make("p", { class: "soft", "aria-hidden": "true" }, title), list(rows.slice(0, ROWS), title)];
  if (rows.length <= ROWS) return make("div", {}, ...first);
  const rest = plural(rows.length - ROWS, "less probable class", "es");
  return make("div", {}, ...first, make("details", { class: "more" }, make("summary", {}, rest),
    list(rows.slice(ROWS), rest)));
}

function bar(name, share, answer) {
  const filled = make("span", { class: "filled" });
  filled.style.width = `${100 * share}%`;
  const track = make("span", { class: "track", "aria-hidden": "true" }, filled);
  if (answer.threshold != null && name === positiveClass()) {
    const mark = make("span", { class: "mark" });
    mark.style.left = `${100 * answer.threshold}%`;
    track.append(mark);
  }
  return make("li", { class: name === answer.label ? "chosen" : null }, named(name, { class: "name" }), " ",
    make("span", { class: "figures" }, shown(share)), track);
}

function facts(answer) {
  const found = [];
  if (answer.threshold != null) {
    const of = ` of “${positiveClass() ?? "the positive class"}”`;
    found.push(["Operating threshold", `${shown(answer.threshold)}, on the probability${of}`]);
  }
  if (answer.distance != null) {
    found.push(["Distance to the training images", `${answer.distance.toFixed(2)} (above 1 is out of distribution)`]);
  }
  if (!found.length) return null;
  const pairs = found.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]);
  return make("dl", { class: "facts" }, ...pairs);
}

// Picture and activation map

function pictureOf(entry) {
  const stage = make("div", { class: "stage" });
  const caption = make("figcaption", {});
  showPicture(entry, stage);
  const map = make("img", { class: "map", alt: "" });
  stage.append(map);
  const choice = make("select", { onchange: () => showMap(entry, choice.value, map, caption) },
    ...Object.keys(entry.answer.probabilities).map((name) => make("option", { value: name }, name)));
  choice.value = entry.class ?? entry.answer.label;
  caption.append(make("p", { class: "caution" }, CAUTION),
    make("div", { class: "controls" }, make("label", {}, make("span", {}, "Activation map for"), choice),
      strength(entry, map)), make("p", { class: "remark soft" }));
  showMap(entry, choice.value, map, caption);
  return make("figure", { class: "look" }, stage, caption);
}

function strength(entry, map) {
  const output = make("output", { class: "figures" });
  const slider = make("input", { type: "range", min: 0, max: 100, step: 5, value: entry.opacity });
  const apply = () => {
    entry.opacity = slider.valueAsNumber;
    map.style.opacity = entry.opacity / 100;
    output.textContent = `${entry.opacity} %`;
    slider.setAttribute("aria-valuetext", output.textContent);
  };
  slider.addEventListener("input", apply);
  apply();
  return make("label", { class: "strength" }, make("span", {}, "Overlay"), slider, output);
}

/** The browser's own picture where it shows what the network saw, else the server's (DICOM, TIFF, 16 bits, moving). */
async function showPicture(entry, stage) {
  const image = make("img", { class: "picture", alt: `Picture ${entry.file.name}` });
  stage.prepend(image);
  image.addEventListener("load", () => {
    const ratio = image.naturalWidth / image.naturalHeight || 1;
    stage.style.setProperty("--ratio", Math.min(Math.max(ratio, 0.1), 20));
  });
  const fetched = async () => {
    const note = make("p", { class: "no-picture" }, "The picture is being made.");
    image.removeAttribute("src");
    stage.prepend(note);
    try {
      entry.served ??= await drawn(entry, { part: "image" });
      image.src = entry.served;
      entry.row.thumb.replaceChildren(make("img", { src: entry.served, alt: "" }));
      note.remove();
    } catch (problem) {
      note.textContent = `No picture. ${problem.message}`;
    }
  };
  if (entry.served || seenDifferently(entry.head)) return fetched();
  image.addEventListener("error", fetched, { once: true });
  image.src = entry.url;
}

async function drawn(entry, wanted) {
  const response = await ask("explain", upload("image", entry, wanted));
  return URL.createObjectURL(await response.blob());
}

function seenDifferently(head) {
  const start = String.fromCharCode(...head.slice(0, 4));
  return start === "GIF8" || (start === "\x89PNG" && head[24] === 16);
}

async function showMap(entry, name, map, caption) {
  const remark = caption.querySelector(".remark");
  if (card?.explanation?.available === false) {
    remark.textContent = card.explanation.text;
    return caption.classList.add("without-map");
  }
  entry.class = name;
  try {
    if (!entry.maps.has(name)) {
      remark.textContent = "The map is being made.";
      entry.maps.set(name, await drawn(entry, { part: "map", class_name: name }));
    }
    if (entry.class !== name) return; // another class was chosen meanwhile
    map.src = entry.maps.get(name);
    map.alt = `Activation map for ${name}. ${CAUTION}`;
    remark.textContent = "";
  } catch (problem) {
    if (entry.class !== name) return;
    map.removeAttribute("src");
    const again = make("button", { type: "button", onclick: () => showMap(entry, name, map, caption) }, "Try again");
    remark.replaceChildren(problem.message, " ", ...(problem.final ? [] : [again]));
    caption.classList.toggle("without-map", Boolean(problem.final));
  }
}

// The model

async function showModel() {
  try {
    card = await (await ask("model")).json();
  } catch (problem) {
    const again = make("button", { type: "button", onclick: showModel }, "Ask again");
    const words = problem instanceof Problem ? problem.message : "The model card cannot be read.";
    byId("model-facts").replaceChildren(make("p", {}, words), again);
    return;
  }
  document.title = `${card.model.name} ${card.model.version} · Diascope`;
  const version = make("span", { class: "version" }, `version ${card.model.version}`);
  byId("model-name").replaceChildren(card.model.name, " ", version);
  byId("model-facts").replaceChildren(drawnOnly(card), testFigures(card.test), folded(plural(card.class_names.length, "class", "es"),
    card.class_names), card.limits?.length ? folded("Limits", card.limits) : "");
  showMeanings(card.decision ?? {});
}

function drawnOnly(card) {
  if (!card.data?.synthetic) return "";
  return make("p", { class: "drawn-only" }, "Synthetic images: these figures say nothing about medicine.");
}

function folded(title, lines) {
  return make("details", { class: "folded soft" }, make("summary", {}, title),
    make("ul", {}, ...lines.map((line) => make("li", {}, named(line)))));
}

/** A model may be unable to doubt: what it never says is not explained, and what it cannot do is said. */
function showMeanings(decision) {
  for (const node of document.querySelectorAll("[data-needs]")) node.hidden = !decision[node.dataset.needs];
  for (const node of document.querySelectorAll("[data-lacks]")) node.hidden = Boolean(decision[node.dataset.lacks]);
}

function testFigures(test) {
  if (!test?.figures?.length) return make("p", {}, "Test figures: not stated.");
  const rows = test.figures.slice(0, FIGURES).map(({ name, about, value, low, high }) => make("tr", {},
    make("th", { scope: "row" }, name, about ? make("span", { class: "remark" }, about) : null),
    make("td", { class: "figures" }, make("b", {}, figure(value)),
      low == null || high == null ? null : make("span", { class: "range" }, ` (${figure(low)} to ${figure(high)})`))));
  const confidence = typeof test.confidence === "number" ? `, ${Math.round(100 * test.confidence)} % intervals` : "";
  return make("table", { class: "test" },
    make("caption", {}, `Test, n = ${plural(test.n, "image")}${confidence}`), make("tbody", {}, ...rows));
}

// The answers as a file

/** A cell; text that a spreadsheet would run as a formula gets an apostrophe in front. */
function cell(value) {
  if (value == null) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv() {
  const answered = entries.filter((entry) => entry.answer || entry.problem);
  const classes = [...new Set(answered.flatMap(({ answer }) => Object.keys(answer?.probabilities ?? {})))];
  const head = ["file", "label", "probability", "decision", "reason", "threshold", "distance",
    ...classes.map((name) => `probability of ${name}`), "model", "version", "error"];
  const lines = answered.map(({ file, answer: a, problem }) => [file.name, a?.label, a?.probability, a?.decision,
    a?.reason, a?.threshold, a?.distance, ...classes.map((name) => a?.probabilities[name]), a?.model.name,
    a?.model.version, problem]);
  return [head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

function download() {
  const url = URL.createObjectURL(new Blob(["\ufeff", csv()], { type: "text/csv" }));
  make("a", { href: url, download: `${card?.model.name ?? "diascope"}-answers.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// What the person does

function stop() {
  stopping.abort();
}

function clear() {
  stop();
  queue.length = 0;
  batchSize = inFlight;
  byId("key").hidden = true;
  for (const entry of entries.splice(0)) {
    for (const url of [entry.url, entry.served, ...entry.maps.values()]) if (url) URL.revokeObjectURL(url);
  }
  byId("list").replaceChildren();
  byId("results").hidden = true;
  document.body.classList.remove("with-results");
  show("all");
  refresh();
  say("All results were cleared.");
  byId("files").focus();
}

async function* filesIn(entry) {
  if (entry.isFile) yield await new Promise((resolve, reject) => entry.file(resolve, reject));
  if (!entry.isDirectory) return;
  const reader = entry.createReader();
  for (;;) { // a reader hands out a hundred at a time
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return;
    for (const inner of part) yield* filesIn(inner);
  }
}

async function drop(event) {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  // All of them before the first `await`: then the browser takes them away.
  const found = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const files = [];
  let unreadable = false;
  for (const one of found) {
    try {
      if (one instanceof File) files.push(one);
      else for await (const file of filesIn(one)) files.push(file);
    } catch {
      unreadable = true;
    }
  }
  byId("notice").hidden = !unreadable;
  byId("notice").textContent = "A dropped file or folder could not be read.";
  add(files);
}

makeFilters();
for (const term of document.querySelectorAll("[data-state]")) term.append(badge(term.dataset.state));
byId("files").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = ""; // the same file may be chosen again
});
document.addEventListener("paste", (event) => add([...(event.clipboardData?.files ?? [])]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", drop);
byId("stop").addEventListener("click", stop);
byId("clear").addEventListener("click", clear);
byId("csv").addEventListener("click", download);
byId("again").addEventListener("click", () => enqueue(entries.filter(mayTryAgain)));
showModel();
