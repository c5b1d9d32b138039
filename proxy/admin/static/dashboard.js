// The dashboard: asks /dashboard.json every few seconds and shows what it says. Texts go into the page as text only
// (textContent), since statements are written by clients.

const EVERY_MS = 5000;
const RETRY_MAX_MS = 30000;
const WINDOWS = { live: "15 minutes", day: "24 hours", month: "30 days" };
const MEASURES = { load: "Time in servers", per_s: "Statements" };
const ORDERS = { total: "Total time", mean: "Slow", count: "Frequent" };
const ORDER_KEYS = { total: "total_s", mean: "mean_ms", count: "count" };
const SHAPES = 12;
const LONG = 150; // characters of a statement that are shown at first
const TECHNIQUES = {
  cache: "cache", forward: "one server", shard: "one shard", scatter: "all shards, merged", workbench: "workbench",
  local: "answered by Turnout", refuse: "refused", insert: "insert, by shard", "write-all": "write everywhere",
};

const chosen = { window: "live", measure: "load", order: "total" };
const charts = {};
let paused = false, timer = 0, failures = 0, newest = null, asking = null;

// -- numbers ---------------------------------------------------------------------------------------------------------

const grouped = new Intl.NumberFormat("en-US");

function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.01) return "<0.01";
  return size < 10 ? value.toFixed(2) : size < 100 ? value.toFixed(1) : grouped.format(Math.round(value));
}
const whole = (value) => (value === null || value === undefined ? "–" : grouped.format(value));
const weeks = (value) => (value === null || value === undefined ? "unknown" : value < 10 ? value.toFixed(1) : whole(Math.round(value)));
const percent = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(1)} %`);

function compact(value) {
  if (value >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (value >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  return String(+value.toPrecision(3));
}

function span(seconds) {
  if (seconds === null) return "–";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}
const clock = (unix) => new Date(unix * 1000).toLocaleTimeString("en-GB");

// -- elements --------------------------------------------------------------------------------------------------------

const at = (id) => document.getElementById(id);

function make(tag, classes = "", text = null) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  if (text !== null) element.textContent = text;
  return element;
}
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function choices(where, name, labels, onChange) {
  for (const [value, label] of Object.entries(labels)) {
    const wrap = make("label"), input = make("input");
    input.type = "radio";
    input.name = name;
    input.value = value;
    input.checked = chosen[name] === value;
    input.addEventListener("change", () => { chosen[name] = value; onChange(); });
    wrap.append(input, make("span", "", label));
    where.append(wrap);
  }
}

// A table whose rows stay the same elements while their key stays: what has the focus or is unfolded is left alone.
// A column: {name, unit, classes, cell(row)}; a cell: text, or an element with a `key` that says when it has changed.
class Table {
  constructor(where, caption, columns, empty) {
    this.columns = columns;
    this.rows = new Map();
    this.table = make("table", "cards");
    this.table.setAttribute("role", "table"); // small screens lay it out otherwise
    this.table.append(make("caption", "hidden", caption));
    const head = make("thead"), line = make("tr");
    head.setAttribute("role", "rowgroup");
    line.setAttribute("role", "row");
    for (const column of columns) {
      const cell = make("th", column.classes ?? "", column.name);
      cell.scope = "col";
      cell.setAttribute("role", "columnheader");
      if (column.unit) cell.append(" ", make("small", "", column.unit));
      line.append(cell);
    }
    head.append(line);
    this.body = make("tbody");
    this.body.setAttribute("role", "rowgroup");
    this.table.append(head, this.body);
    this.empty = make("p", "empty", empty);
    const card = make("div", "card");
    card.append(this.table, this.empty);
    where.append(card);
    this.show([], () => "");
  }

  show(rows, key) {
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length !== 0;
    const before = this.rows;
    this.rows = new Map();
    rows.forEach((row, place) => {
      const name = key(row);
      const line = before.get(name) ?? this.line();
      before.delete(name);
      this.rows.set(name, line);
      this.columns.forEach((column, i) => this.fill(line.cells[i], column.cell(row)));
      if (this.body.children[place] !== line) this.body.insertBefore(line, this.body.children[place] ?? null);
    });
    for (const line of before.values()) line.remove();
  }

  line() {
    const line = make("tr");
    line.setAttribute("role", "row");
    this.columns.forEach((column, i) => {
      const cell = make(i === 0 ? "th" : "td", column.classes ?? "");
      if (i === 0) cell.scope = "row";
      cell.setAttribute("role", i === 0 ? "rowheader" : "cell");
      if (i !== 0 && column.name) cell.dataset.label = column.unit ? `${column.name}, ${column.unit}` : column.name;
      line.append(cell);
    });
    return line;
  }

  fill(cell, content) {
    if (content instanceof Element) {
      if (cell.firstChild?.key === content.key && content.key !== undefined) return;
      cell.replaceChildren(content);
    } else {
      say(cell, content);
      cell.classList.toggle("zero", content === "0" || content === "–");
    }
  }
}

// -- charts ----------------------------------------------------------------------------------------------------------

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

class Chart {
  constructor(figure, first) {
    this.figure = figure;
    this.first = first;
    this.colours = new Map();
    this.plot = null;
    this.drawn = "";
    this.area = make("div", "plot");
    this.area.setAttribute("role", "img");
    this.table = make("table");
    figure.append(this.area, this.table);
    this.head = make("tr");
    for (const [text, classes] of [[first, ""], ["latest", "n"], ["mean", "n"], ["highest", "n"]]) {
      const cell = make("th", classes, text);
      cell.scope = "col";
      this.head.append(cell);
    }
    const head = make("thead");
    head.append(this.head);
    this.body = make("tbody");
    this.table.append(make("caption", "hidden", `Load by ${first}`), head, this.body);
    new ResizeObserver(() => this.plot?.setSize({ width: this.area.clientWidth, height: 200 })).observe(this.area);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.drawn = ""; this.draw(); });
  }

  // A name keeps its colour as long as the page is open and it is shown.
  colour(name, shown) {
    if (name.startsWith("(")) return "others";
    if (!this.colours.has(name)) {
      const used = new Set([...this.colours].filter(([other]) => shown.includes(other)).map(([, colour]) => colour));
      let free = 0;
      while (used.has(`c${free}`) && free < 7) free++;
      this.colours.set(name, `c${free}`);
    }
    return this.colours.get(name);
  }

  show(times, series, measure) {
    const unit = measure === "load" ? "in servers" : "a second";
    const shown = series.map((one) => one.name);
    for (const name of this.colours.keys()) if (!shown.includes(name)) this.colours.delete(name);
    this.lines = series
      .filter((one) => one[measure].some((value) => value > 0))
      .map((one) => ({ name: one.name, values: one[measure], colour: this.colour(one.name, shown) }));
    this.times = times;
    this.latest(null);
    const said = this.lines.slice(0, 4).map((one) => `${this.label(one.name)} ${number(one.values.at(-1))}`);
    this.area.setAttribute("aria-label", said.length
      ? `Statements ${unit} over time by ${this.first}; latest: ${said.join(", ")}. The table below has all of them.`
      : `No statements ${unit} yet.`);
    this.draw();
  }

  label(name) {
    return this.first === "technique" ? TECHNIQUES[name] ?? name : name;
  }

  // The table under the chart, which is its text alternative, and its legend. `place`: under the mouse, or null.
  latest(place) {
    say(this.head.cells[1], place === null ? "latest" : this.stamp(this.times[place]));
    const rows = this.lines.map((one) => {
      const mean = one.values.reduce((sum, value) => sum + value, 0) / (one.values.length || 1);
      return [one.colour, this.label(one.name), one.values.at(place ?? -1), mean, Math.max(...one.values)];
    });
    while (this.body.rows.length > rows.length) this.body.deleteRow(-1);
    rows.forEach(([colour, name, ...values], i) => {
      let line = this.body.rows[i];
      if (!line) {
        line = this.body.insertRow();
        const head = make("th");
        head.scope = "row";
        head.append(make("span"), make("span"));
        line.append(head, make("td", "n"), make("td", "n"), make("td", "n"));
      }
      const [swatch, label] = line.cells[0].children;
      swatch.className = `swatch ${colour}`;
      say(label, name);
      values.forEach((value, n) => say(line.cells[n + 1], number(value)));
    });
  }

  stamp(unix) {
    const when = new Date(unix * 1000);
    if (chosen.window === "month") return when.toLocaleDateString("en-GB", { day: "numeric", month: "short", hour: "2-digit" });
    return chosen.window === "day" ? when.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }) : clock(unix);
  }

  // Areas on top of each other: the sum of all is drawn first, and the others over it.
  draw() {
    if (!this.lines) return;
    const sums = this.times.map(() => 0);
    const stacked = this.lines.map((one) => one.values.map((value, i) => (sums[i] += value))).reverse();
    const lines = [...this.lines].reverse();
    const data = [this.times, ...stacked];
    const wanted = JSON.stringify([lines.map((one) => [one.name, one.colour]), chosen.window]);
    if (this.plot && wanted === this.drawn) {
      this.plot.setData(data);
      return;
    }
    this.drawn = wanted;
    this.plot?.destroy();
    const axis = { stroke: css("--dim"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    this.plot = new uPlot({
      width: this.area.clientWidth || 300,
      height: 200,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { setScale: false, x: false, y: false } },
      scales: { x: { time: true }, y: { range: (u, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, space: 70, size: 28, values: chosen.window === "month"
          ? (u, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" }))
          : (u, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: t % 60 ? "2-digit" : undefined })) },
        { ...axis, size: 46, values: (u, ticks) => ticks.map(compact) },
      ],
      series: [{}, ...lines.map((one) => {
        const colour = css(`--${one.colour}`);
        return { stroke: colour, fill: colour, width: 1, points: { show: false } };
      })],
      hooks: { setCursor: [(u) => this.latest(u.cursor.idx ?? null)] },
    }, data, this.area);
  }
}

// -- what is shown ---------------------------------------------------------------------------------------------------

function pills(words, key) {
  const wrap = make("span");
  wrap.key = key ?? JSON.stringify(words);
  for (const [text, classes] of words) wrap.append(make("span", `pill ${classes}`, text));
  return wrap;
}

function statement(row) {
  const wrap = make("div", "shape");
  wrap.key = JSON.stringify([row.shape, row.plan, row.clusters, row.face]);
  if (row.shape.length > LONG) {
    const fold = make("details");
    fold.append(make("summary", "", `${row.shape.slice(0, LONG)} …`), make("code", "", row.shape));
    wrap.append(fold);
  } else {
    wrap.append(make("code", "", row.shape));
  }
  const words = row.face.split(", ").filter(Boolean).map((face) => [face, face === "slow" ? "warn" : ""]);
  const about = make("small", "", [...new Set(row.plan.split(", ").map((plan) => TECHNIQUES[plan] ?? plan))].join(", ")
    + (row.clusters ? ` · ${row.clusters}` : "") + " ");
  about.append(pills(words));
  wrap.append(about);
  return wrap;
}

function pool(row) {
  const wrap = make("span"), meter = make("meter");
  const used = row.busy + row.idle;
  wrap.key = JSON.stringify([row.busy, used, row.limit]);
  meter.min = 0;
  meter.max = row.limit || 1;
  meter.high = 0.8 * meter.max;
  meter.low = 0.6 * meter.max;
  meter.optimum = 0;
  meter.value = row.busy;
  meter.setAttribute("aria-hidden", "true"); // the numbers say it
  wrap.append(`${row.busy} of ${row.limit}`, meter);
  return wrap;
}

function state(row) {
  const good = row.state === "up" || row.state === "ready";
  const wrap = pills([[row.state, good ? "good" : row.state === "down" ? "bad" : "warn"], ...(row.read_only && row.role === "primary" ? [["read only", "warn"]] : [])],
    JSON.stringify([row.state, row.reason, row.read_only]));
  if (row.reason) wrap.append(make("span", "reason", row.reason));
  return wrap;
}

const n = (name, unit, cell) => ({ name, unit, classes: "n", cell });
const tables = {
  shapes: new Table(at("shapes"), "Statements by their shape, without literals", [
    { name: "Statement", classes: "wide", cell: statement },
    n("Time", "share", (row) => percent(row.time_pct)),
    n("Total", "s", (row) => number(row.total_s)),
    n("Rate", "per s", (row) => number(row.per_s)),
    n("Count", "", (row) => whole(row.count)),
    n("Mean", "ms", (row) => number(row.mean_ms)),
    n("95th pct", "ms", (row) => number(row.p95_ms)),
    n("Rows", "each", (row) => number(row.rows)),
    n("Errors", "", (row) => whole(row.errors)),
  ], "No statements yet."),
  servers: new Table(at("servers"), "Servers, as all workers see them", [
    { name: "Server", classes: "wide", cell: (row) => `${row.cluster} ${row.role}` },
    { name: "Address", classes: "", cell: (row) => row.address },
    { name: "State", classes: "", cell: state },
    n("Rate", "per s", (row) => number(row.per_s)),
    n("Busy connections", "", pool),
    n("Idle", "", (row) => whole(row.idle)),
    n("Waiting", "", (row) => whole(row.waiting)),
    n("Lag", "s", (row) => number(row.lag_s)),
    n("Threads running", "", (row) => whole(row.threads_running)),
    n("Data", "MB", (row) => number(row.data_mb)),
  ], "No servers yet."),
  caches: new Table(at("caches"), "Cache classes", [
    { name: "Table", classes: "wide", cell: (row) => {
      const wrap = make("span", "", `${row.table} by ${row.by} `);
      wrap.key = JSON.stringify([row.table, row.by, row.coherent, row.unserved]);
      if (!row.coherent) wrap.append(make("span", "pill", "by age"));
      if (row.unserved) wrap.append(make("span", "reason", `not served: ${row.unserved}`));
      return wrap;
    } },
    n("Hit rate", "now", (row) => percent(row.hit_pct)),
    n("Hit rate", "since start", (row) => percent(row.hit_pct_total)),
    n("Hits", "per s", (row) => number(row.hits_per_s)),
    n("Misses", "per s", (row) => number(row.misses_per_s)),
    n("Bypassed", "per s", (row) => number(row.bypassed_per_s)),
    n("Held back", "per s", (row) => number(row.refused_per_s)),
  ], "No cache classes in the rules."),
  workers: new Table(at("workers"), "Worker processes", [
    { name: "Worker", classes: "", cell: (row) => `worker ${row.worker}` },
    { name: "State", classes: "", cell: (row) => state({ ...row, reason: "" }) },
    n("Clients", "", (row) => whole(row.clients)),
    n("Memory", "MB", (row) => number(row.memory_mb)),
    n("Cache", "MB", (row) => number(row.cache_mb)),
    n("Plans", "", (row) => whole(row.plans)),
    n("Up", "", (row) => span(row.up_s)),
    n("Restarts", "", (row) => whole(row.restarts)),
  ], "No workers."),
  headroom: new Table(at("headroom"), "Headroom of the clusters' primaries", [
    { name: "Cluster", classes: "", cell: (row) => row.cluster },
    n("Busiest hour", "statements at once", (row) => number(row.load)),
    n("Safe", "statements at once", (row) => number(row.safe)),
    n("Cores", "", (row) => `${whole(row.cores)}${row.assumed ? " (assumed)" : ""}`),
    n("Full in", "weeks", (row) => (row.weeks === null ? (row.known ? "no end in sight" : "unknown") : weeks(row.weeks))),
  ], "No advice yet."),
  advice: new Table(at("advice"), "What to do next", [
    { name: "What", classes: "wide", cell: (row) => {
      const wrap = make("div", "", row.what);
      wrap.key = JSON.stringify([row.what, row.evidence, row.rules]);
      const fold = make("details");
      fold.append(make("summary", "zero", row.rules ? "why, and what to write" : "why"));
      for (const line of row.evidence) fold.append(make("p", "", line));
      if (row.rules) {
        const lines = make("pre", "shape", row.rules);
        lines.tabIndex = 0; // it may have to be scrolled
        fold.append(lines);
      }
      wrap.append(fold);
      return wrap;
    } },
    { name: "Technique", classes: "", cell: (row) => row.technique },
    n("Takes off", "", (row) => `${percent(row.share_pct)} of ${row.cluster}`),
    n("Adds", "weeks", (row) => weeks(row.adds_weeks)),
    { name: "How sure", classes: "", cell: (row) => row.sure },
    { name: "When", classes: "", cell: (row) => (row.due === null ? "unknown" : row.due ? "now" : "later") },
  ], ""),
  alone: new Table(at("alone"), "What to leave alone", [
    { name: "Table", classes: "wide", cell: (row) => row.table },
    n("Share of load", "", (row) => percent(row.share_pct)),
    { name: "Why", classes: "wide", cell: (row) => row.why },
    { name: "Unless", classes: "wide", cell: (row) => row.unless || "–" },
  ], ""),
};

function tiles(shown) {
  const now = shown.at_the_moment;
  const ready = shown.workers.filter((one) => one.state === "ready").length;
  const down = shown.servers.filter((one) => one.state === "down").length;
  const items = [
    ["Statements", number(now.per_s), "a second", false],
    ["Load of servers", number(now.load), "at once", false],
    ["Errors", number(now.errors_per_s), "a second", now.errors_per_s > 0],
    ["Cache hits", now.cache_hit_pct === null ? "–" : now.cache_hit_pct.toFixed(1), now.cache_hit_pct === null ? "" : "%", false],
    ["Clients", whole(now.clients), "connected", false],
    ["Servers up", `${shown.servers.length - down}`, `of ${shown.servers.length}${ready < shown.workers.length ? `; ${ready} of ${shown.workers.length} workers` : ""}`, down > 0 || ready < shown.workers.length],
  ];
  const where = at("now");
  items.forEach(([name, value, unit, bad], i) => {
    let tile = where.children[i];
    if (!tile) {
      tile = make("div");
      const dd = make("dd");
      dd.append(make("span"), " ", make("small"));
      tile.append(make("dt"), dd);
      where.append(tile);
    }
    tile.className = bad ? "bad" : "";
    say(tile.children[0], name);
    say(tile.children[1].children[0], value);
    say(tile.children[1].children[1], unit);
  });
}

function showLoad() {
  if (!newest) return;
  charts.table.show(newest.load.times, newest.load.by_table, chosen.measure);
  charts.plan.show(newest.load.times, newest.load.by_plan, chosen.measure);
  say(at("load-window"), chosen.measure === "load"
    ? `seconds that servers worked in each second, ${WINDOWS[newest.window]}` : `statements a second, ${WINDOWS[newest.window]}`);
}

function showShapes() {
  if (!newest) return;
  const key = ORDER_KEYS[chosen.order];
  const rows = [...newest.shapes].sort((a, b) => b[key] - a[key]).slice(0, SHAPES);
  tables.shapes.show(rows, (row) => row.id);
  say(at("shapes-window"), newest.since === null ? "" : `of the last ${span(newest.until - newest.since)}`);
}

function show(shown) {
  newest = shown;
  document.title = `${shown.state === "ready" ? "" : `${shown.state}: `}Turnout`;
  say(at("about"), `${shown.version} at ${shown.mysql} · ${shown.state} · up ${span(shown.now - shown.started)}`);
  for (const input of at("windows").querySelectorAll("input")) {
    input.disabled = !shown.windows.includes(input.value);
    input.parentElement.hidden = input.disabled;
  }
  at("windows").hidden = shown.windows.length < 2;
  tiles(shown);
  showLoad();
  showShapes();
  tables.servers.show(shown.servers, (row) => JSON.stringify([row.cluster, row.address, row.role]));
  tables.caches.show(shown.caches, (row) => JSON.stringify([row.table, row.by, row.coherent]));
  tables.workers.show(shown.workers, (row) => String(row.worker));
  const little = shown.advice?.too_little;
  say(
    tables.advice.empty,
    shown.advice ? (little ? `Nothing: ${little}.` : "Nothing: no step is worth its work.") : "No advice yet.",
  );
  say(tables.alone.empty, shown.advice ? "No tables." : "No advice yet.");
  at("assumed").hidden = !shown.advice?.headroom.some((row) => row.assumed);
  tables.headroom.show(shown.advice?.headroom ?? [], (row) => row.cluster);
  tables.advice.show(shown.advice?.steps ?? [], (row) => JSON.stringify([row.tables, row.technique]));
  tables.alone.show(shown.advice?.leave_alone ?? [], (row) => row.table);
}

// -- asking ----------------------------------------------------------------------------------------------------------

function report(text, bad = false) {
  say(at("status"), text);
  at("status").classList.toggle("bad", bad);
}

function saying(shown) {
  if (paused) return `Paused at ${clock(shown.now)}.`;
  const problem = shown.rules_problem ? ` The rules file on disk is not in force: ${shown.rules_problem}` : "";
  return `Live, every ${EVERY_MS / 1000} seconds.${problem}${shown.note ? ` ${shown.note}.` : ""}`;
}

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  const late = setTimeout(() => mine.abort("late"), 20000);
  try {
    const answer = await fetch(`dashboard.json?window=${chosen.window}`, { signal: mine.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status === 401 ? "log in again by loading this page anew" : (await answer.text()).trim());
    const shown = await answer.json();
    failures = 0;
    show(shown);
    report(saying(shown), Boolean(shown.rules_problem));
  } catch (error) {
    if (mine !== asking) return; // somebody asked anew
    failures++;
    const since = newest ? ` These are the numbers of ${clock(newest.now)}.` : "";
    report(`Turnout does not answer (${error.message || error}).${since}`, true);
  } finally {
    clearTimeout(late);
  }
  if (mine === asking) next();
}

function next() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  timer = setTimeout(ask, Math.min(EVERY_MS * 2 ** Math.min(failures, 3), RETRY_MAX_MS));
}

choices(at("windows"), "window", WINDOWS, ask);
choices(at("measures"), "measure", MEASURES, showLoad);
choices(at("orders"), "order", ORDERS, showShapes);
charts.table = new Chart(at("by-table"), "table");
charts.plan = new Chart(at("by-plan"), "technique");
at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    clearTimeout(timer);
    if (newest) report(saying(newest));
  } else {
    ask();
  }
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden && !paused) ask();
});
ask();
