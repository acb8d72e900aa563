// The dashboard. No library, no build: the browser reads this file as it is. All text from the
// server becomes text nodes, never HTML.

const page = document.getElementById("page");
const live = document.getElementById("live");
const login = document.getElementById("login");
const nav = document.getElementById("nav");
const leave = document.getElementById("leave");

/** An element with attributes and children; texts become text nodes. */
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const token = () => sessionStorage.getItem("token");

async function call(path, options = {}) {
  const headers = { Authorization: `Bearer ${token()}` };
  if (options.body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) {
    signOut();
    throw new Error("The token is not known.");
  }
  const text = await response.text();
  const body = text ? JSON.parse(text) : null;
  if (!response.ok) throw new Error(body?.error ?? `The server said ${response.status}.`);
  return body;
}

const when = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString() : "never");
function ago(seconds) {
  if (!seconds) return "never";
  const passed = Math.max(0, Math.round(Date.now() / 1000 - seconds));
  for (const [size, word] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (passed >= size) return `${Math.floor(passed / size)} ${word} ago`;
  }
  return `${passed} s ago`;
}
const short = (text) => (/^[0-9a-f]{64}$/.test(text) ? text.slice(0, 12) : text || "–");
const deviceLink = (id) => el("a", { href: `#/device/${encodeURIComponent(id)}` }, id);
const rolloutLink = (id, name) => el("a", { href: `#/rollout/${encodeURIComponent(id)}` }, name ?? id);

function table(caption, heads, rows, empty) {
  if (rows.length === 0) return el("p", { class: "soft" }, empty);
  return el("table", {},
    el("caption", { class: "soft" }, caption),
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell) => el("td", {}, cell))))));
}

function bar(label, parts, total, figure) {
  const share = (count) => `${total ? (100 * count) / total : 0}%`;
  const pieces = parts.map(([kind, count]) => {
    const piece = el("i", { class: kind });
    piece.style.width = share(count);
    return piece;
  });
  return el("div", { class: "bar" }, el("span", {}, label),
    el("div", { class: "track", role: "img", "aria-label": `${figure}` }, pieces),
    el("span", { class: "number" }, figure));
}

async function fleetPage() {
  const [fleet, drift, rollouts] = await Promise.all([
    call("/api/v1/fleet"), call("/api/v1/drift?limit=50"), call("/api/v1/rollouts"),
  ]);
  const tile = (count, word, kind = "") => el("div", { class: `tile ${kind}` }, el("strong", {}, String(count)), el("span", {}, word));
  const versions = Object.entries(fleet.versions).sort((a, b) => b[1] - a[1]).slice(0, 12);
  const open = rollouts.filter((one) => !["finished", "stopped", "denied", "reverted"].includes(one.rollout.phase));
  return [
    el("div", { class: "tiles" },
      tile(fleet.drifting, "do not run what they should", fleet.drifting ? "bad" : ""),
      tile(fleet.devices, "devices"), tile(fleet.heard, "heard of lately"),
      tile(fleet.pending, "wait to be let in")),
    el("h2", {}, "Drift"),
    table("The longest first", ["Device", "Runs", "Should run", "Since", "Why"],
      drift.map((one) => [deviceLink(one.id), el("code", {}, short(one.runs)), el("code", {}, short(one.wanted)),
        ago(one.since), [one.why, ...Object.entries(one.answers).map(([q, a]) => `; ${q}: ${a}`)].join("")]),
      "All devices run what they should."),
    el("h2", {}, "Rollouts"),
    open.length ? open.map(rolloutCard) : el("p", { class: "soft" }, "None is open."),
    el("h2", {}, "What runs"),
    el("div", { class: "bars" }, versions.map(([name, count]) => bar(short(name), [["", count]], fleet.devices, String(count)))),
  ];
}

function rolloutCard(one) {
  const { rollout, tally, waves } = one;
  const planned = rollout.definition.plan.waves;
  const rows = planned.map((wave, index) => {
    const of = waves[index];
    const bad = of.failed + of.rolled_back + of.silent;
    const parts = [["good", of.succeeded], ["bad", bad], ["wait", of.pending]];
    const word = index === rollout.wave && rollout.phase === "running" ? " ←" : "";
    // In words as well: not everybody tells the colours apart.
    const figures = [[of.succeeded, "well"], [bad, "bad"], [of.pending, "at it"]].filter(([count]) => count);
    const figure = figures.length ? figures.map(([count, word]) => `${count} ${word}`).join(", ") : "nobody yet";
    return bar(`Wave ${index + 1}, to ${wave.reach}${word}`, parts, Math.max(of.offered, 1), figure);
  });
  return el("section", { class: "card" },
    el("header", {}, el("h3", {}, rolloutLink(one.id, rollout.definition.name)),
      el("span", { class: `phase ${rollout.phase}` }, rollout.phase.replaceAll("-", " ")),
      el("span", { class: "soft" }, `${rollout.definition.target.release} for ${rollout.definition.group}`)),
    rollout.why ? el("p", { class: "bad-text" }, rollout.why) : null,
    one.waiting ? el("p", { class: "soft" }, `Waits for: ${one.waiting}`) : null,
    el("div", { class: "bars" }, rows),
    el("p", { class: "soft" }, `${tally.reached} reached: ${tally.succeeded} well, ${tally.failed} failed, ${tally.rolled_back} went back, ${tally.silent} silent`));
}

const COMMANDS = {
  "waiting-for-approval": ["approve", "deny"],
  ready: ["stop"],
  running: ["pause", "next-wave", "retry", "revert", "stop"],
  paused: ["resume", "retry", "revert", "stop"],
  finished: ["revert"], stopped: ["revert"], reverted: [], denied: [], reverting: ["stop"],
};

async function rolloutPage(id) {
  const [one, bad] = await Promise.all([
    call(`/api/v1/rollouts/${encodeURIComponent(id)}`),
    Promise.all(["failed", "rolled-back", "silent"].map((word) => call(`/api/v1/rollouts/${encodeURIComponent(id)}/attempts?outcome=${word}`))),
  ]);
  const problem = el("p", { role: "alert" });
  const steer = async (command) => {
    if (["revert", "stop"].includes(command) && !confirm(`Really ${command} ${one.rollout.definition.name}?`)) return;
    try {
      await call(`/api/v1/rollouts/${encodeURIComponent(id)}/command`, { method: "POST", body: JSON.stringify({ command }) });
      show();
    } catch (error) { problem.textContent = error.message; }
  };
  const buttons = (COMMANDS[one.rollout.phase] ?? []).map((command) =>
    el("button", { type: "button", class: ["revert", "stop"].includes(command) ? "danger" : "", onclick: () => steer(command) }, command.replaceAll("-", " ")));
  const gates = Object.entries(one.rollout.definition.gates).map(([name, gate]) => [name.replaceAll("_", " "),
    typeof gate === "string" ? `at least ${gate} of a wave` : [gate.count !== undefined ? `at most ${gate.count}` : null, gate.share ? `at most ${gate.share} of those reached` : null].filter(Boolean).join(", ") || "–"]);
  const rows = bad.flatMap((some) => Object.entries(some)).map(([device, attempt]) =>
    [deviceLink(device), attempt.outcome, String(attempt.wave + 1), when(Date.parse(attempt.ended_at) / 1000)]);
  return [el("h2", {}, "Rollout"), rolloutCard(one), el("div", { class: "actions" }, buttons), problem,
    el("h2", {}, "Gates"), table("When it stops", ["Gate", "Holds while"], gates, ""),
    el("h2", {}, "Devices that did not make it"), table("By how it ended", ["Device", "How it ended", "Wave", "When"], rows, "None.")];
}

async function rolloutsPage() {
  const all = await call("/api/v1/rollouts");
  return [el("h2", {}, "Rollouts"), all.length ? all.map(rolloutCard) : el("p", { class: "soft" }, "There is none yet.")];
}

async function devicesPage() {
  const filter = sessionStorage.getItem("filter") ?? "";
  const input = el("input", { id: "filter", value: filter, size: 40, placeholder: "site == lab and not hw ~ \"rev1*\"" });
  const form = el("form", { onsubmit: (event) => { event.preventDefault(); sessionStorage.setItem("filter", input.value); show(); } },
    el("label", { for: "filter" }, "Filter "), input, " ", el("button", { type: "submit" }, "Show"));
  let found;
  try { found = await call(`/api/v1/devices?limit=200&filter=${encodeURIComponent(filter)}`); }
  catch (error) { return [el("h2", {}, "Devices"), form, el("p", { role: "alert" }, error.message)]; }
  return [el("h2", {}, "Devices"), form,
    table(`${found.total} match`, ["Device", "State", "Runs", "Heard of"],
      found.devices.map((one) => [deviceLink(one.id), one.state, el("code", {}, short(one.release ?? one.identity)), ago(one.heard_at)]), "None.")];
}

async function devicePage(id) {
  const one = await call(`/api/v1/devices/${encodeURIComponent(id)}`);
  const pairs = Object.entries(one.labels).map(([key, value]) => [key, el("code", {}, value)]);
  return [el("h2", {}, one.id),
    el("p", {}, `${one.state}, runs `, el("code", {}, one.release ?? (one.identity || "unknown")), `, heard of ${ago(one.heard_at)}`),
    one.drift ? el("p", { class: "bad-text" }, `Should run ${short(one.drift.wanted)} since ${when(one.drift.since)}: ${one.drift.why}`) : el("p", { class: "good-text" }, "Runs what it should."),
    el("h2", {}, "Rollouts"),
    table("The newest first", ["Rollout", "Release", "Wave", "Try", "How it ended"],
      one.rollouts.map((part) => [rolloutLink(part.rollout, part.name), part.release, String(part.attempt.wave + 1), String(part.attempt.number), part.attempt.outcome]), "None."),
    el("h2", {}, "What it said"),
    table("The newest first", ["When", "Action", "Word", "Messages"],
      one.messages.map((said) => [when(said.at), String(said.action), said.word, el("pre", {}, said.text)]), "Nothing."),
    el("h2", {}, "Labels"), table("Its own, and those of people", ["Label", "Value"], pairs, "None.")];
}

async function auditPage() {
  const lines = await call("/api/v1/audit?limit=200");
  return [el("h2", {}, "Who did what"), table("The newest first", ["When", "Who", "What", "To what"],
    lines.map((line) => [when(line.at), line.who, line.what, el("code", {}, line.detail)]), "Nothing.")];
}

/** Shows other nodes; whoever was at a link or a button is at the same one afterwards. */
function replace(nodes) {
  const key = (node) => node.id || node.getAttribute("href") || node.textContent;
  const before = document.activeElement;
  const was = page.contains(before) ? [before.tagName, key(before)] : null;
  page.replaceChildren(...nodes);
  if (!was) return;
  const again = [...page.querySelectorAll(was[0])].find((node) => key(node) === was[1]);
  (again ?? document.getElementById("main")).focus({ preventScroll: true });
}

let shown = 0;
async function show() {
  const mine = ++shown;
  login.hidden = Boolean(token());
  nav.hidden = leave.hidden = !token();
  if (!token()) { page.replaceChildren(); return; }
  const [, name = "", argument = ""] = location.hash.slice(1).split("/");
  const pages = { "": fleetPage, rollouts: rolloutsPage, rollout: rolloutPage, devices: devicesPage, device: devicePage, audit: auditPage };
  for (const link of nav.querySelectorAll("a")) {
    const current = link.getAttribute("href") === `#/${name === "rollout" ? "rollouts" : name === "device" ? "devices" : name}`;
    if (current) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  try {
    const nodes = await (pages[name] ?? fleetPage)(decodeURIComponent(argument));
    if (mine === shown) replace(nodes.flat().filter(Boolean));
  } catch (error) {
    if (mine === shown) page.replaceChildren(el("p", { role: "alert" }, error.message));
  }
}

/** Shows the page again when something happens, at most every second, and never while somebody types. */
let due = null;
function soon() {
  if (due) return;
  due = setTimeout(() => {
    due = null;
    if (!page.contains(document.activeElement) || document.activeElement.tagName !== "INPUT") show();
  }, 1000);
}

let watching = null;
async function watch() {
  if (!token() || watching) return;
  const stop = (watching = new AbortController());
  try {
    const response = await fetch("/api/v1/events", { headers: { Authorization: `Bearer ${token()}` }, signal: stop.signal });
    if (!response.ok) throw new Error(String(response.status));
    live.textContent = "live";
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      if (value.includes("event:")) soon();
    }
  } catch { /* tried again below */ }
  watching = null;
  live.textContent = token() ? "not connected" : "";
  setTimeout(watch, 3000);
}

function signOut() {
  sessionStorage.removeItem("token");
  watching?.abort();
  show();
}

login.addEventListener("submit", async (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", document.getElementById("token").value.trim());
  const problem = document.getElementById("login-error");
  try {
    await call("/api/v1/me");
    problem.textContent = "";
    document.getElementById("main").focus();
  } catch (error) { problem.textContent = error.message; }
  show();
  watch();
});
leave.addEventListener("click", signOut);
addEventListener("hashchange", () => { show(); document.getElementById("main").focus(); });
show();
watch();
