// Adds to a page that is complete without it: exact counts on hover, a filter that all views
// follow, sorting, search, copying. Reads the JSON in #data; asks nobody for anything.
(async () => {
  const byId = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const grouped = new Intl.NumberFormat("en-US");
  const count = (n) => (n < 1000 && Number.isInteger(n) ? String(n) : grouped.format(n));
  const duration = (ns) =>
    ns < 1e3 ? `${ns} ns` : ns < 1e6 ? `${(ns / 1e3).toFixed(2)} µs` : ns < 1e9 ? `${(ns / 1e6).toFixed(3)} ms` : `${(ns / 1e9).toFixed(4)} s`;

  const [data, rows, fine] = await Promise.all([readData(), readRows(), readCells()]);
  const FILTERS = ["map", "part", "level", "op", "cpu", "tid", "time", "index"];
  const NAMES = { map: "map", part: "part", level: "level", op: "load/store", cpu: "CPU", tid: "thread", time: "time", index: "buckets" };
  const KEYS = [...FILTERS, "q", "array", "measure", "scale", "instance", "lane", "code"];
  const state = Object.fromEntries(KEYS.map((key) => [key, ""]));
  const plots = [];

  async function readData() {
    const element = byId("data");
    if (element.type === "application/json") return JSON.parse(element.textContent);
    return JSON.parse(await new Response(unzipped(element)).text());
  }

  async function readRows() {
    return Rows.unpack(await bytesOf(byId("rows")));
  }

  // A page that holds every access has none.
  async function readCells() {
    const element = byId("cells");
    return element && Rows.unpackCells(await bytesOf(element));
  }

  async function bytesOf(element) {
    return new Uint8Array(await new Response(unzipped(element)).arrayBuffer());
  }

  function unzipped(element) {
    const text = element.textContent;
    const bytes = Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new DecompressionStream("gzip");
    const writer = stream.writable.getWriter();
    // Whoever reads the other end is told of bytes that are no gzip.
    Promise.all([writer.write(bytes), writer.close()]).catch(() => {});
    return stream.readable;
  }

  // The selection's raw accesses, picked once for all views.

  let picked = null;
  let pickedFor = "";

  function selection() {
    const ofMap = ({ map }) => state.map === "" || String(map) === state.map;
    const grid = state.array === "" ? data.grids.find(ofMap) : data.grids[Number(state.array)];
    return { ...state, array: grid?.array ?? undefined };
  }

  function pickedRows() {
    const key = JSON.stringify([...FILTERS, "array"].map((name) => state[name]));
    if (key !== pickedFor) [picked, pickedFor] = [Rows.pick(rows, selection()), key];
    return picked;
  }

  // Of the selection the sums that views merge theirs from: a scan of the rows costs more.
  const BY = {
    code: ({ code, map }) => (i) => code[i] * 2 + (map[i] ? 1 : 0),
    part: ({ map, part }) => (i) => pair(map[i], part[i]),
    kind: ({ map, kind }) => (i) => pair(map[i], kind[i]),
    reason: ({ reason }) => (i) => reason[i] || undefined,
    evidence: ({ evidence, part }) => (i) => (part[i] && evidence[i]) || undefined,
  };
  const groupings = {};
  const mask = new Uint8Array(rows.rows);
  let masked = null;
  let pickedSums = {};
  let summed = null;

  function pickedBy(what) {
    const chosen = pickedRows();
    if (summed !== chosen) [pickedSums, summed] = [{}, chosen];
    return (pickedSums[what] ??= Rows.sums(rows, chosen, groupingBy(what)));
  }

  // By row whether it is selected.
  function pickedMask() {
    const chosen = pickedRows();
    if (masked !== chosen) {
      mask.fill(0);
      chosen.forEach((i) => (mask[i] = 1));
      masked = chosen;
    }
    return mask;
  }

  function groupingBy(what) {
    return (groupings[what] ??= Rows.grouping(rows, BY[what](rows.column)));
  }

  // Sums by one of the columns that the page has of a place in the code.
  function pickedCode(column) {
    return Rows.regroup(pickedBy("code"), (key) => rows.codes[(key >> 1) - 1][column] ?? undefined);
  }

  const active = () => FILTERS.filter((key) => state[key] !== "");

  // The fragment: an optional view, then the selection, as in #heatmap&map=3&level=RAM.

  let view = "";

  function readFragment() {
    for (const key of KEYS) state[key] = "";
    view = "";
    for (const word of location.hash.slice(1).split("&")) {
      const [key, value] = word.split("=");
      try {
        if (value === undefined) view = decodeURIComponent(key);
        else if (KEYS.includes(key)) state[key] = decodeURIComponent(value);
      } catch {
        // A broken escape selects nothing.
      }
    }
  }

  function writeFragment() {
    const words = KEYS.filter((key) => state[key] !== "").map((key) => `${key}=${encodeURIComponent(state[key])}`);
    if (view) words.unshift(encodeURIComponent(view));
    history.replaceState(null, "", words.length ? `#${words.join("&")}` : location.pathname + location.search);
  }

  function select(changes) {
    Object.assign(state, changes);
    writeFragment();
    apply();
  }

  const valueName = (key) => (key === "map" && data.maps[state.map]) || state[key];

  // The bar.

  const selects = {};

  function buildBar() {
    const bar = byId("filter");
    const order = data.order;
    const sorted = (values) => [...new Set(values)].sort((a, b) => a - b);
    const strings = (column) => [...new Set(column)].filter((id) => id >= 0).map((id) => order.strings[id]);
    const told = (values) => values.filter((value) => value !== null);
    const cpus = [...new Set(rows.column.cpu)].filter((n) => n > 0).map((n) => n - 1);
    const options = {
      map: mapOptions(),
      part: pairs([...new Set([...all("[data-part]").map((row) => row.dataset.part), ...strings(order.part), ...rows.parts.map(([part]) => part)])].sort()),
      level: pairs([...new Set([...data.latency.levels, ...strings(order.level), ...told(rows.kinds.map(([, level]) => level))])].sort(byText)),
      op: pairs([...new Set([...strings(order.op), ...told(rows.kinds.map(([op]) => op))])].sort()),
      cpu: pairs(sorted([...cpus, ...order.cpu.filter((n) => n >= 0)]).map(String)),
      tid: pairs(sorted([...rows.tids, ...order.tid.filter((n) => n >= 0)]).map(String)),
    };
    for (const key of Object.keys(options)) {
      const box = chooser(NAMES[key], [["", "all"], ...options[key]], (value) => select({ [key]: value }));
      selects[key] = box.querySelector("select");
      selects[key].id = `filter-${key}`;
      bar.append(box);
    }
    for (const [key, hint] of [["time", "from-to, ns"], ["index", "from-to"]]) {
      const input = make("input", { id: `filter-${key}`, placeholder: hint, size: "11", spellcheck: "false" });
      input.addEventListener("change", () => select({ [key]: Rows.range(input.value) ? input.value : "" }));
      selects[key] = input;
      bar.append(make("label", {}, `${NAMES[key]} `, input));
    }
    const search = make("input", { id: "filter-q", type: "search", placeholder: "regular expression", spellcheck: "false" });
    search.addEventListener("input", () => select({ q: search.value }));
    selects.q = search;
    bar.append(make("label", {}, "search ", search));
    const clear = make("button", { type: "button", title: "Esc" }, "Clear");
    clear.addEventListener("click", clearAll);
    const help = make("button", { type: "button", title: "?", "aria-label": "Keys" }, "?");
    help.addEventListener("click", toggleKeys);
    bar.append(clear, help);
    bar.hidden = false;
  }

  // Of thousands of maps those that a view names: each option costs time to open the page.
  const MOST_OPTIONS = 500;

  function mapOptions() {
    const maps = Object.entries(data.maps);
    if (maps.length <= MOST_OPTIONS) return maps;
    const named = new Set([...all("[data-map]").map((row) => row.dataset.map), ...data.grids.map(({ map }) => String(map)), ...data.order.map.map(String)]);
    const own = maps.filter(([map]) => named.has(map));
    return [...own, [null, `${count(maps.length - own.length)} others, which no view names`]];
  }

  function byText(a, b) {
    return a < b ? -1 : a > b ? 1 : 0;
  }

  function pairs(values) {
    return values.map((value) => [value, value]);
  }

  function chooser(name, options, changed) {
    const box = make("select");
    for (const [value, text] of options) box.append(make("option", value === null ? { disabled: "" } : { value }, text));
    box.addEventListener("change", () => changed(box.value));
    return make("label", {}, `${name} `, box);
  }

  function clearAll() {
    select(Object.fromEntries([...FILTERS, "q"].map((key) => [key, ""])));
  }

  // What the selection does to tables and views: at once to those on the screen or near it, then to all
  // others, in tasks of this many milliseconds, so that the page answers meanwhile.

  const TASK = 10;
  const views = [];
  let waiting = false;
  // Of every view; asked once, because each answer has all changed tables laid out.
  let wide = 0;
  // A timer's turn comes after 4 ms at the earliest, a message's when the page has nothing to do.
  const turn = new MessageChannel();
  turn.port1.onmessage = updateNext;

  function buildViews() {
    for (const section of all("section.view")) {
      const own = plots.filter((plot) => section.contains(plot.element));
      const unfiltered = JSON.parse(section.dataset.unfiltered ?? "[]").map(([what, keys, why]) => ({ what, keys: keys.split(" "), why }));
      views.push({ section, tables: all("table", section), plots: own, unfiltered, near: false, stale: true, drawn: false });
    }
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const view = views.find(({ section }) => section === entry.target);
        view.near = entry.isIntersecting;
        if (view.near && view.stale) update([view]);
      }
    }, { rootMargin: "200px" });
    for (const { section } of views) watcher.observe(section);
  }

  function apply() {
    wide ||= views[0]?.section.clientWidth ?? 0;
    searchPattern();
    for (const key of [...FILTERS, "q"]) {
      if (selects[key].value !== state[key]) selects[key].value = state[key];
      // Of what a link selects the bar may have no option.
      if (selects[key].value !== state[key] && selects[key].options) selects[key].append(make("option", { value: state[key], selected: "" }, valueName(key)));
      selects[key].classList.toggle("on", state[key] !== "");
    }
    const set = active().map((key) => `${NAMES[key]}: ${valueName(key)}`);
    if (state.q !== "") set.push(`search: ${state.q}`);
    byId("selected").textContent = set.length ? `Printed with a selection: ${set.join("; ")}. Views are of it alone where no line says otherwise; what was recorded and the findings are of everything.` : "";
    document.documentElement.classList.toggle("of-selection", active().length > 0);
    for (const view of views) [view.stale, view.drawn] = [true, false];
    update(views.filter(({ near }) => near));
    if (waiting) return;
    waiting = true;
    // What is on the screen is painted before the others take their turn.
    if (document.documentElement.dataset.ready) requestAnimationFrame(() => turn.port2.postMessage(null));
    else turn.port2.postMessage(null);
    document.documentElement.dataset.ready = "no";
  }

  function updateNext() {
    update(views.filter(({ stale }) => stale), performance.now() + TASK);
    waiting = views.some(({ stale }) => stale);
    if (waiting) return turn.port2.postMessage(null);
    document.documentElement.dataset.ready = "yes";
    prepared ||= requestIdleCallback(prepare);
  }

  // What the first selection would wait for is made while nothing else is to do.
  let prepared = 0;

  function prepare() {
    const steps = [() => places(), () => heatmap.shown().forEach((grid) => heatmap.rawKeys(grid)), ...Object.keys(BY).map((what) => () => groupingBy(what)), () => latency.rawPlaces(), () => latency.ofMap(0), ...plots.map((plot) => () => plot.spare())];
    const next = () => {
      steps.shift()();
      if (steps.length) requestIdleCallback(next);
    };
    next();
  }

  // Charts come before tables: text in a chart asks for the page's style, which every changed cell
  // would have computed again.
  function update(stale, end = Infinity) {
    for (const view of stale) {
      if (view.drawn) continue;
      for (const plot of view.plots) plot.redraw();
      view.drawn = true;
      if (performance.now() > end) return;
    }
    const pattern = searchPattern();
    for (const view of stale) {
      countTables(view, pattern);
      if (performance.now() > end) return;
    }
  }

  function countTables(view, pattern) {
    view.stale = false;
    const { section } = view;
    if (section.id === "functions") showListing(section);
    for (const table of view.tables) {
      if (folded(table)) continue;
      recount(table);
      filterRows(table, pattern);
    }
    const missed = view.unfiltered.flatMap(({ what, keys, why }) => {
      const set = active().filter((key) => keys.includes(key)).map((key) => NAMES[key]);
      return set.length ? [`${what ? `${what}, not` : "Not"} filtered by ${set.join(", ")}: ${why}.`] : [];
    });
    const estimated = !rows.whole && (view.tables.some((table) => original.has(table) && !original.get(table).exact) || view.plots.some(({ kind }) => kind.countsAll && !kind.countsAll()));
    if (estimated) missed.push(`Numbers marked \u2248 are estimated from the ${count(pickedRows().length)} selected of the ${count(rows.rows)} raw accesses in this page.`);
    const line = section.querySelector(".unreached");
    if (!line) return;
    line.hidden = missed.length === 0;
    line.textContent = missed.join(" ");
  }

  // What nobody sees follows when it is unfolded: by its summary, or by a search of the browser's.
  let unfolding = null;
  const folded = (table) => {
    const details = table.closest("details");
    return details !== null && details !== unfolding && !details.open;
  };

  function equipDetails() {
    for (const details of all("section.view details")) {
      const unfold = () => {
        unfolding = details;
        const view = views.find(({ section }) => section.contains(details));
        if (view.stale) update([view]);
        else countTables(view, searchPattern());
        unfolding = null;
      };
      details.querySelector("summary").addEventListener("click", () => details.open || unfold());
      details.addEventListener("toggle", () => details.open && unfold());
    }
  }

  // Tables counted again over the selected accesses. What a table keeps exactly is only hidden.

  const EXACT = {
    "maps-table": ["map"],
    "misses-table": ["map"],
    "operations-table": [],
    "functions-table": [],
    "lines-table": [],
    "cells-table": ["map"],
    "latency-table": [],
    "path-table": ["map", "level"],
    "sharing-table": [],
    "pairs-table": [],
    "background-table": [],
    "reasons-table": [],
    "evidence-table": [],
    "brackets-table": ["map", "part", "level", "op", "cpu", "index"],
  };
  const original = new Map();

  function recount(table) {
    const exact = EXACT[table.id];
    if (!exact) return;
    const kept = active().every((key) => exact.includes(key));
    if (kept && !original.has(table)) return;
    if (kept) {
      const { bodies, caption } = original.get(table);
      if (bodies) swapBodies(table, bodies);
      table.caption.firstChild.data = caption;
      for (const { rows } of bodiesOf(table)) {
        for (const { row } of rows) {
          mark(row, false);
          for (const cell of row.cells) restore(cell);
        }
      }
      original.delete(table);
      return;
    }
    if (!original.has(table)) original.set(table, { caption: table.caption.firstChild.data });
    original.get(table).exact = RECOUNT[table.id](table, pickedRows()) === EXACTLY;
  }

  // Other rows in place of a table's own, which come back when nothing is selected.
  function replaceRows(table, made, caption) {
    original.get(table).bodies ??= [...table.tBodies];
    entitle(table, caption);
    swapBodies(table, made);
  }

  // What a table says of the selection in place of all.
  function entitle(table, caption) {
    table.caption.firstChild.data = caption;
  }

  const latencyOf = (cycles) => (cycles ? `; latency shares of ${about()}${count(cycles)} cycles` : "");

  function swapBodies(table, bodies) {
    for (const body of [...table.tBodies]) body.remove();
    table.append(...bodies);
    rowsOf.delete(table);
  }

  // Two small numbers as one, a key that costs nothing to make.
  const pair = (a, b) => a * 2 ** 16 + b;
  const major = (pair) => Math.floor(pair / 2 ** 16);
  const minor = (pair) => pair % 2 ** 16;

  // Of a map in the table of misses the stages that its layout lacks.
  const lacks = new Map();

  // What counts a table again, and whether it did so over all accesses.
  const EXACTLY = "exactly";
  const RECOUNT = {
    "maps-table": (table) => {
      const ofMap = Rows.regroup(pickedBy("part"), (key) => (major(key) ? major(key) - 1 : undefined));
      const ofPart = Rows.regroup(pickedBy("part"), (key) => (major(key) && minor(key) ? pair(major(key) - 1, minor(key) - 1) : undefined));
      const cycles = pickedCycles();
      const parts = new Map(rows.parts.map(([part], id) => [part, id]));
      fill(table, cycles, (row) => (row.dataset.part === undefined ? ofMap.get(Number(row.dataset.map)) : ofPart.get(pair(Number(row.dataset.map), parts.get(row.dataset.part)))));
      const samples = [...ofMap.values()].reduce((n, sum) => n + sum.samples, 0);
      entitle(table, `${count(ofMap.size)} maps, ${about()}${count(samples)} samples of the selection${latencyOf(cycles)}`);
      for (const body of table.tBodies) {
        const id = Number(body.rows[0].dataset.map);
        const byStage = new Map();
        rows.parts.forEach(([, stage], part) => {
          const samples = ofPart.get(pair(id, part))?.samples ?? 0;
          if (samples) byStage.set(stage, (byStage.get(stage) ?? 0) + samples);
        });
        const told = STAGES.filter((stage) => byStage.has(stage)).map((stage) => [stage, byStage.get(stage)]);
        if (told.length) put(body.rows[0].cells[1], { text: told.map(([stage, n]) => `${stage} ${about()}${count(n)}`).join(", "), drawing: () => sparkline(told) });
      }
    },
    "functions-table": (table) => byCode(table, 0, "function"),
    "lines-table": (table) => byCode(table, 1, "line"),
    "operations-table": (table) => byCode(table, 2, "step"),
    "cells-table": (table, chosen) => {
      const cell = (grid, row, off) => pair(pair(grid, row), off);
      const ofRow = (row) => cell(...row.dataset.cell.split(":").map(Number));
      exactly = heatmap.cellsTell();
      if (exactly) {
        const sums = new Map();
        for (const grid of data.grids) {
          const bucket = heatmap.chosenBuckets(grid);
          const key = (index, off) => (bucket(index, off) ? cell(grid.n, Math.floor(index / grid.per_row), off) : undefined);
          for (const [at, sum] of Rows.cellSums(fine, fine.grids[grid.n], key)) sums.set(at, sum);
        }
        fill(table, null, (row) => sums.get(ofRow(row)));
        exactly = false;
        return EXACTLY;
      }
      const { grid, row, off } = places();
      const key = (i) => (grid[i] ? cell(grid[i] - 1, Math.floor(row[i] / data.grids[grid[i] - 1].per_row), off[i]) : undefined);
      const sums = Rows.sums(rows, chosen, key);
      fill(table, null, (row) => sums.get(ofRow(row)));
    },
    "misses-table": (table) => {
      const stages = [...table.tHead.rows[0].cells].slice(2).map((head) => (head.textContent === "tophash / ctrl" ? "control" : head.textContent));
      const stageOf = rows.parts.map(([, stage]) => stages.indexOf(stage));
      const sums = Rows.regroup(pickedBy("part"), (key) => (major(key) && stageOf[minor(key) - 1] >= 0 ? pair(major(key) - 1, stageOf[minor(key) - 1]) : undefined));
      for (const body of table.tBodies) {
        const id = Number(body.rows[0].dataset.map);
        let some = false;
        // A stage that the layout lacks stays so.
        if (!lacks.has(body)) lacks.set(body, stages.map((_, s) => body.rows[0].cells[s + 2].querySelector(".na") !== null));
        [...body.rows].forEach((row, r) => {
          stages.forEach((_, s) => {
            const cell = row.cells[s + 2];
            const sum = sums.get(pair(id, s)) ?? Rows.zero();
            some ||= sum.samples > 0;
            if (lacks.get(body)[s]) return;
            put(cell, [() => counted(sum.samples), () => share(sum.l1_miss, sum), () => share(sum.llc_miss, sum), () => mean(sum)][r]());
          });
        });
        for (const row of body.rows) mark(row, !some);
      }
    },
    "path-table": (table) => {
      const levelOf = new Map([...new Set(rows.kinds.map(([, level]) => level))].map((level, id) => [level, id]));
      const sums = loadsByLevel((map, level) => (map === null ? undefined : pair(map, levelOf.get(level))));
      const known = loadsByLevel((map, level) => (map === null || level === null ? undefined : map));
      fill(table, null, (row) => sums.get(pair(Number(row.dataset.map), levelOf.get(row.dataset.level || null))));
      for (const row of all("tbody tr", table)) {
        const sum = sums.get(pair(Number(row.dataset.map), levelOf.get(row.dataset.level || null)));
        const of = known.get(Number(row.dataset.map));
        if (sum && row.dataset.level) put(row.cells[3], { text: percent(sum.loads, of.loads), sort: sum.loads / of.loads });
      }
    },
    "latency-table": (table, chosen) => {
      const bins = new Map();
      const add = (level, bin, samples) => {
        const name = level ?? "level unknown";
        if (!bins.has(name)) bins.set(name, [0, 0, 0, 0, 0, 0, 0]);
        bins.get(name)[Math.min(6, Math.max(0, Math.floor((bin - 16) / 16)))] += samples;
      };
      exactly = latency.countsAll();
      if (exactly) {
        latency.ofCube((_, bin, level, samples) => add(data.latency.levels[level] ?? null, bin, samples));
      } else {
        for (const i of chosen) {
          const cycles = rows.column.latency[i];
          if (!cycles || !rows.column.time[i]) continue;
          const [, level, [samples]] = rows.kinds[rows.column.kind[i] - 1];
          add(level, latencyBin(cycles - 1), samples);
        }
      }
      for (const body of table.tBodies) {
        const row = body.rows[0];
        const counts = bins.get(nameIn(row.cells[0])) ?? [0, 0, 0, 0, 0, 0, 0];
        const sum = counts.reduce((a, b) => a + b, 0);
        [sum, ...counts].forEach((n, i) => put(row.cells[i + 1], counted(n)));
        mark(row, !sum);
      }
      const all = exactly;
      exactly = false;
      return all ? EXACTLY : undefined;
    },
    "sharing-table": (table, chosen) => replaceLines(table, chosen, 64, "64-byte lines"),
    "pairs-table": (table, chosen) => replaceLines(table, chosen, 128, "128-byte pairs of lines"),
    "background-table": (table) => {
      const { sums, all } = causes();
      entitle(table, `Samples of the selection on the memory of maps: ${about()}${count(all.samples)}`);
      const cycles = [...sums.values()].reduce((n, sum) => n + (sum.latency_sum ?? 0), 0);
      for (const body of table.tBodies) {
        const row = body.rows[0];
        const sum = sums.get(row.dataset.cause);
        mark(row, !sum);
        if (!sum) continue;
        put(row.cells[1], { text: `${about()}${count(sum.samples)} of ${count(all.samples)} (${tenths(sum.samples, all.samples)})`, sort: sum.samples });
        put(row.cells[2], { text: intervalOf(sum, all) });
        put(row.cells[3], sum.latency_sum === null ? absent : { text: percent(sum.latency_sum, cycles), small: about() + count(sum.latency_sum), sort: sum.latency_sum });
      }
    },
    "reasons-table": (table) => shares(table, named("reason", rows.reasons), "reason", 2, "without a part, by reason"),
    "evidence-table": (table) => shares(table, named("evidence", rows.evidence), "evidence", 1, "with a part, by the strongest evidence that held"),
    "brackets-table": (table) => {
      // Of some operations the page has only the sums.
      if (data.brackets.length < data.bracketed) return EXACTLY;
      for (const body of table.tBodies) {
        const row = body.rows[0];
        const own = data.brackets.filter((b) => b.operation === row.dataset.operation && String(b.map) === row.dataset.map && bracketChosen(b));
        mark(row, !own.length);
        const ns = own.filter(({ end }) => end !== null).map(({ begin, end }) => end - begin).sort((a, b) => a - b);
        const quantile = (share) => (ns.length ? { text: span(ns[Math.ceil(share * ns.length) - 1]), sort: ns[Math.ceil(share * ns.length) - 1] } : absent);
        exactly = true;
        const odd = [own.filter(({ between }) => between), own.filter(({ deviates }) => deviates)];
        [counted(own.length), quantile(0.5), quantile(0.95), ...odd.map(({ length }) => counted(length))].forEach((what, i) => put(row.cells[i + 2], what));
        exactly = false;
      }
      return EXACTLY;
    },
  };

  // Sums by the name that a column refers to.
  function named(what, names) {
    return Rows.regroup(pickedBy(what), (id) => names[id - 1]);
  }

  // Counts and shares of what a row names.
  function shares(table, sums, key, column, what) {
    const total = [...sums.values()].reduce((n, { samples }) => n + samples, 0);
    entitle(table, `${about()}${count(total)} samples of the selection ${what}`);
    for (const body of table.tBodies) {
      const row = body.rows[0];
      const sum = sums.get(row.dataset[key]);
      mark(row, !sum);
      if (!sum) continue;
      put(row.cells[column], counted(sum.samples));
      put(row.cells[column + 1], { text: percent(sum.samples, total), small: `${about()}${count(sum.samples)} of ${count(total)}`, sort: sum.samples / total });
    }
  }

  // As src/report/number.rs.
  const span = (ns) =>
    ns < 1e3 ? `${ns} ns` : ns < 1e6 ? `${(ns / 1e3).toFixed(1)} µs` : ns < 1e9 ? `${(ns / 1e6).toFixed(1)} ms` : ns < 12e10 ? `${(ns / 1e9).toFixed(2)} s` : `${(ns / 6e10).toFixed(1)} min`;
  const tenths = (n, of) => `${((100 * n) / Math.max(1, of)).toFixed(1)} %`;

  // What accesses to the memory of maps are due to.
  function causes() {
    const sums = Rows.regroup(pickedBy("code"), (key) => (key & 1 ? rows.codes[(key >> 1) - 1][5] : undefined));
    const all = { samples: 0, accesses: 0 };
    for (const sum of sums.values()) {
      all.samples += sum.samples;
      all.accesses += sum.accesses;
    }
    return { sums, all };
  }

  // Of what was seen, not of what that stands for.
  const intervals = new Map();

  function interval({ accesses }, all) {
    const key = `${accesses} ${all.accesses}`;
    if (!intervals.has(key)) intervals.set(key, Rows.clopperPearson(accesses, all.accesses));
    return intervals.get(key);
  }

  const intervalOf = (sum, all) => interval(sum, all).map((share) => (100 * share).toFixed(1)).join("-") + " %";

  // Lines that several CPUs touch while one of them writes, as src/report/charts/sharing.rs.

  const LINES = 40;
  const CPUS = 8;

  function sharedLines(chosen, size) {
    const { pair, in_pair, cpu, kind } = rows.column;
    const lines = 2 * (rows.pairs.length + 1);
    const lineOf = (i) => (pair[i] && cpu[i] ? pair[i] * 2 + (size === 64 && in_pair[i] > 64) : 0);
    const words = Math.ceil((cpu.reduce((a, b) => Math.max(a, b), 0) + 1) / 32);
    const [loads, stores, hitm] = [0, 1, 2].map(() => new Float64Array(lines));
    const told = new Uint8Array(lines);
    // A bit a CPU.
    const [reads, writes] = [0, 1].map(() => new Uint32Array(lines * words));
    const counts = rows.kinds.map(([, , [, loads, stores, , , , , hitm]]) => [loads, stores, hitm]);
    chosen.forEach((i) => {
      const line = lineOf(i);
      if (!line) return;
      const [l, s, h] = counts[kind[i] - 1];
      loads[line] += l;
      stores[line] += s;
      if (h !== null) [told[line], hitm[line]] = [1, hitm[line] + h];
      const at = line * words + ((cpu[i] - 1) >> 5);
      if (l) reads[at] |= 1 << (cpu[i] - 1) % 32;
      if (s) writes[at] |= 1 << (cpu[i] - 1) % 32;
    });
    const cpus = (bits, line) => {
      const all = [];
      for (let n = 0; n < 32 * words; n++) if (bits[line * words + (n >> 5)] & (1 << n % 32)) all.push(n);
      return all;
    };
    const shared = [];
    for (let line = 2; line < lines; line++) {
      if (!loads[line] && !stores[line]) continue;
      const [readers, writers] = [cpus(reads, line), cpus(writes, line)];
      if (new Set([...readers, ...writers]).size < 2 || !(writers.length || hitm[line] > 0)) continue;
      const start = Number(rows.pairs[(line >> 1) - 1]) + 64 * (line & 1);
      shared.push({ line, start, loads: loads[line], stores: stores[line], hitm: told[line] ? hitm[line] : null, readers, writers, rows: [] });
    }
    shared.sort((a, b) => (b.hitm ?? 0) - (a.hitm ?? 0) || b.loads + b.stores - a.loads - a.stores || a.start - b.start);
    const place = new Uint8Array(lines);
    shared.slice(0, LINES).forEach(({ line }, n) => (place[line] = n + 1));
    chosen.forEach((i) => {
      const n = place[lineOf(i)];
      if (n) shared[n - 1].rows.push(i);
    });
    return shared;
  }

  // What the CPUs of a line share, as src/analyses/lines.rs: an index into `data.sharing`.
  function sharingOf(line, size) {
    const { in_pair, cpu, kind, map, part, code } = rows.column;
    const entries = new Map();
    const cpus = line.rows.reduce((most, i) => Math.max(most, cpu[i]), 0) + 1;
    for (const i of line.rows) {
      const [at, width] = [(in_pair[i] - 1) % size, rows.codes[code[i] - 1][4]];
      const key = pair(pair(at * 2 + (part[i] > 0), width ?? 0), map[i]);
      let entry = entries.get(key);
      if (!entry) entries.set(key, (entry = { first: at >> 3, last: (at + Math.max(1, width ?? 1) - 1) >> 3, map: map[i], inMap: part[i] > 0, readers: new Uint8Array(cpus), writers: new Uint8Array(cpus), hitm: new Uint32Array(cpus), n: 0 }));
      const [, , [, loads, stores, , , , , hitm]] = rows.kinds[kind[i] - 1];
      entry.n++;
      if (stores) entry.writers[cpu[i]] = 1;
      if (loads || !stores) entry.readers[cpu[i]] = 1;
      if (hitm) entry.hitm[cpu[i]]++;
    }
    const all = [...entries.values()];
    const [SAME, WITHIN, BETWEEN, UNKNOWN, OTHER, NEITHER, NONE] = [0, 1, 2, 3, 4, 5, 6];
    const kindOf = (used, by) => {
      const stores = all.filter(({ writers }) => writers.some((writes, writer) => writes && writer !== by));
      return stores.reduce((nearest, store) => {
        if (used.first <= store.last && store.first <= used.last) return SAME;
        const both = used.inMap && store.inMap;
        const kind = !both ? (used.inMap || store.inMap ? OTHER : NEITHER) : !used.map || !store.map ? UNKNOWN : used.map === store.map ? WITHIN : BETWEEN;
        return Math.min(nearest, kind);
      }, NONE);
    };
    const votes = new Array(NONE + 1).fill(0);
    const told = all.some(({ hitm }) => hitm.some((n) => n));
    for (const used of all) {
      for (let by = 0; by < cpus; by++) {
        if (told) {
          if (used.hitm[by]) votes[kindOf(used, by)] += used.hitm[by];
        } else if (used.readers[by] || used.writers[by]) {
          const kind = kindOf(used, by);
          if (kind !== NONE) votes[kind] += used.n;
        }
      }
    }
    const most = Math.max(...votes);
    return most ? votes.indexOf(most) : null;
  }

  function replaceLines(table, chosen, size, what) {
    const lines = sharedLines(chosen, size);
    const names = (numbers) => {
      const sorted = [...numbers].sort((a, b) => a - b);
      return sorted.length > CPUS ? `${sorted.slice(0, CPUS).join(" ")} and ${sorted.length - CPUS} more` : sorted.join(" ") || "none";
    };
    const code = (text) => make("code", {}, text);
    const made = lines.slice(0, LINES).map((line) => {
      const { map, part } = rows.column;
      const first = line.rows.find((i) => map[i]);
      const id = first === undefined ? null : map[first] - 1;
      const parts = [...new Set(line.rows.filter((i) => part[i]).map((i) => rows.parts[part[i] - 1][0]))].sort(byText);
      const nodes = [nodesOf(line.readers), nodesOf(line.writers)];
      const kind = sharingOf(line, size);
      const row = make("tr", { class: "row", ...(id === null ? {} : { "data-map": String(id) }) });
      const cell = (what) => {
        const cell = make("td", { class: what.number ? "number" : "" });
        put(cell, what);
        row.append(cell);
      };
      row.append(make("th", { scope: "row" }, id === null ? make("span", { class: "absent", title: absent.title }, "?") : code(data.maps[id])));
      row.append(make("td", {}, code(`0x${line.start.toString(16)}`)), make("td", {}, code(parts.join(" "))));
      cell({ ...counted(line.loads), number: true });
      cell({ ...counted(line.stores), number: true });
      cell({ ...(line.hitm !== null ? counted(line.hitm) : line.loads ? absent : none), number: true });
      for (const cpus of [line.readers, line.writers]) cell({ text: names(cpus) });
      cell(nodes.includes(null) ? absent : { text: `read ${names(nodes[0])}, written ${names(nodes[1])}` });
      cell(kind === null ? absent : { text: data.sharing[kind] });
      equipRow(row);
      return make("tbody", {}, row);
    });
    replaceRows(table, made, `The first ${count(made.length)} of ${count(lines.length)} shared ${what} of the selection, of ${count(chosen.length)} raw accesses `);
  }

  // NUMA nodes of CPUs; null where one of them is in none.
  function nodesOf(cpus) {
    const nodes = new Set();
    for (const cpu of cpus) {
      const node = data.nodes.find(([, runs]) => runs.some(([first, last]) => first <= cpu && cpu <= last));
      if (!node) return null;
      nodes.add(node[0]);
    }
    return nodes;
  }

  const STAGES = ["header", "directory", "table", "control", "key", "elem", "overflow", "extra"];
  const STAGE_COLOURS = { header: "#cc79a7", directory: "#e69f00", table: "#f0e442", control: "#d55e00", key: "#0072b2", elem: "#009e73", overflow: "#56b4e9", extra: "#999999" };

  // Samples by stage as a bar of 96 pixels, as src/report/charts/maps.rs.
  function sparkline(stages) {
    const of = stages.reduce((n, [, samples]) => n + samples, 0);
    const mark = (name, attributes, text = "") => {
      const mark = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) mark.setAttribute(key, value);
      mark.textContent = text;
      return mark;
    };
    const svg = mark("svg", { class: "static", role: "img", width: 96, height: 12, viewBox: "0 0 96 12" });
    svg.append(mark("title", {}, stages.map(([stage, samples]) => `${stage} ${about()}${count(samples)}`).join(", ")), mark("desc", {}, "samples by stage of a lookup"));
    let [before, x] = [0, 0];
    for (const [stage, samples] of stages) {
      before += samples;
      const end = Math.floor((before * 96) / of);
      svg.append(mark("rect", { x, y: 0, width: end - x, height: 12, fill: STAGE_COLOURS[stage] }));
      x = end;
    }
    return svg;
  }

  // Of the rows that hold loads, sums by map and level; `null` is one that is not known.
  function loadsByLevel(key) {
    return Rows.regroup(pickedBy("kind"), (of) => {
      const [, level, [, loads]] = rows.kinds[minor(of) - 1];
      return loads ? key(major(of) ? major(of) - 1 : null, level) : undefined;
    });
  }

  function byCode(table, column, key) {
    const sums = pickedCode(column);
    let total = 0;
    for (const sum of sums.values()) total += sum.latency_sum ?? 0;
    entitle(table, `${count(sums.size)} ${key}s of the selection${latencyOf(total)}`);
    fill(table, total, (row) => sums.get(Number(row.dataset[key])));
  }

  function pickedCycles() {
    let total = 0;
    for (const sum of pickedBy("part").values()) total += sum.latency_sum ?? 0;
    return total;
  }

  const SHOWS = {
    samples: (sum) => counted(sum.samples),
    loads: (sum) => (hasOps(sum) ? counted(sum.loads) : absent),
    stores: (sum) => (hasOps(sum) ? counted(sum.stores) : absent),
    latency: (sum) => known(sum.latency_sum, sum),
    "latency share": (sum, total) => (sum.latency_sum === null ? (sum.loads ? absent : none) : { text: percent(sum.latency_sum, total), small: about() + count(sum.latency_sum), sort: sum.latency_sum }),
    p50: (sum) => known(Rows.quantile(sum, 0.5), sum),
    p95: (sum) => known(Rows.quantile(sum, 0.95), sum),
    "L1 miss": (sum) => share(sum.l1_miss, sum),
    "LLC miss": (sum) => share(sum.llc_miss, sum),
    HITM: (sum) => (sum.loads ? known(sum.hitm, sum) : none),
  };

  // A cell's text, the class and title of its span, what stands small beside it, what to sort by.
  const absent = { text: "?", className: "absent", title: "not recorded or not known", sort: "" };
  const none = { text: "n/a", className: "na", title: "not applicable", sort: "" };
  let exactly = false;
  const about = () => (rows.whole || exactly ? "" : "\u2248");
  const counted = (n) => (n ? { text: about() + count(n), sort: n } : { text: "0", className: "zero", sort: 0 });
  const known = (n, sum) => (n === null ? (sum.loads ? absent : none) : counted(n));
  // A breakpoint on loads and stores does not tell them apart.
  const hasOps = (sum) => sum.loads + sum.stores > 0 || !sum.samples;
  const mean = (sum) => (sum.latency_n ? { text: (sum.latency_sum / sum.latency_n).toFixed(1), sort: sum.latency_sum / sum.latency_n } : sum.samples ? absent : none);

  function share(n, sum) {
    const of = sum.loads - sum.level_unknown;
    if (!sum.loads) return none;
    if (n === null || of <= 0) return absent;
    return { text: percent(n, of), className: n ? "share" : "zero", small: `${about()}${count(n)} of ${count(of)}`, sort: n / of };
  }

  // As src/report/number.rs.
  function percent(n, of) {
    const share = (n / of) * 100;
    if (of === 0 || n === 0) return "0 %";
    if (n === of) return "100 %";
    if (share < 0.1) return "<0.1 %";
    if (share > 99.9) return ">99.9 %";
    return share < 9.95 ? `${share.toFixed(1)} %` : `${Math.min(share, 99).toFixed(0)} %`;
  }

  // What the script has put into cells, and what was there before.
  const shown = new Map();

  function restore(cell) {
    const kept = shown.get(cell);
    if (!kept) return;
    shown.delete(cell);
    cell.replaceChildren(...kept.nodes);
    if (kept.sort !== null) cell.setAttribute("data-sort", kept.sort);
  }

  function put(cell, { text, className, title, small, sort, drawing }) {
    const whole = `${className ?? ""} ${text} ${small ?? ""}`;
    const kept = shown.get(cell);
    if (kept?.whole === whole) return;
    if (kept) kept.whole = whole;
    else shown.set(cell, { whole, nodes: [...cell.childNodes], sort: cell.getAttribute("data-sort") });
    if (drawing) {
      cell.replaceChildren(drawing());
      return;
    }
    if (className) {
      const span = document.createElement("span");
      span.className = className;
      if (title) span.title = title;
      span.textContent = text;
      cell.replaceChildren(span);
    } else {
      cell.textContent = text;
    }
    if (small) {
      const beside = document.createElement("small");
      beside.textContent = small;
      cell.append(" ", beside);
    }
    if (sort !== undefined) cell.setAttribute("data-sort", sort);
  }

  function fill(table, total, sumOf) {
    const shows = [...table.tHead.rows[0].cells].map((head) => (head.classList.contains("number") ? SHOWS[head.textContent] : undefined));
    for (const { body, rows } of bodiesOf(table)) {
      for (const { row, head } of rows) {
        if (!head && !opened(body)) break;
        const sum = sumOf(row);
        mark(row, !sum);
        if (!sum) continue;
        const cells = row.cells;
        shows.forEach((show, i) => {
          if (show) put(cells[i], show(sum, total));
        });
      }
    }
  }

  // Whether a row has nothing of the selection.
  function mark(row, none) {
    if (none && row.dataset.none === undefined) row.dataset.none = "yes";
    if (!none && row.dataset.none !== undefined) delete row.dataset.none;
  }

  const latencyBin = (cycles) => (cycles ? Math.floor(8 * Math.log2(cycles)) : 0);

  let printing = false;
  for (const [event, begins] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(event, () => {
      printing = begins;
      document.documentElement.classList.toggle("printing", begins);
      forgetColours();
      apply();
      update(views);
    });
  }

  let pattern = null;
  let patternOf = "";

  function searchPattern() {
    if (state.q === patternOf) return pattern;
    [pattern, patternOf] = [null, state.q];
    try {
      if (state.q !== "") pattern = new RegExp(state.q, "i");
      selects.q.classList.remove("bad");
    } catch {
      selects.q.classList.add("bad");
    }
    return pattern;
  }

  // A table's rows by body, and what each names of the filter.
  const rowsOf = new Map();

  function bodiesOf(table) {
    if (rowsOf.has(table)) return rowsOf.get(table);
    const tests = (row) => {
      const { cpus, tids, time } = row.dataset;
      const one = FILTERS.filter((key) => key !== "time" && row.dataset[key] !== undefined).map((key) => [key, (wanted) => row.dataset[key] === wanted]);
      const several = [["cpu", cpus], ["tid", tids]].filter(([, list]) => list).map(([key, list]) => [key, (wanted) => list.split(" ").includes(wanted)]);
      const within = (wanted) => {
        const range = Rows.range(wanted);
        return !range || (Number(time) >= range[0] && Number(time) <= range[1]);
      };
      return [...one, ...several, ...(time === undefined ? [] : [["time", within]])];
    };
    const described = (row) => ({ row, head: !row.classList.contains("child"), names: tests(row) });
    const bodies = [...table.tBodies].map((body) => ({ body, rows: [...body.rows].map(described) }));
    rowsOf.set(table, bodies);
    return bodies;
  }

  // Whether the rows of parts below a map's are shown.
  function opened(body) {
    return printing || body.dataset.folded !== "yes" || state.part !== "" || searchPattern() !== null;
  }

  function filterRows(table, pattern) {
    const searched = table.closest("section.view") ? pattern : null;
    const stages = table.id === "misses-table";
    const chosen = ({ row, names }) => row.dataset.none === undefined && names.every(([key, fits]) => state[key] === "" || fits(state[key]));
    const hide = (row, hidden) => {
      if (row.hidden !== hidden) row.hidden = hidden;
    };
    for (const { body, rows } of bodiesOf(table)) {
      const kept = rows.map(chosen);
      const fits = searched ? rows.map(({ row }, i) => kept[i] && searched.test(row.textContent)) : kept;
      const open = opened(body);
      const some = fits.includes(true);
      rows.forEach(({ row, head }, i) => hide(row, !(kept[i] && (head || stages ? some : open && (fits[i] || fits[0])))));
    }
  }

  // Tables: folding, sorting, copying.

  function equipTables() {
    for (const table of all("table")) {
      const foldable = table.id === "maps-table";
      for (const body of table.tBodies) {
        if (!foldable || body.rows.length < 2) continue;
        body.dataset.folded = "yes";
        const button = make("button", { type: "button", class: "fold", "aria-expanded": "false", "aria-label": "Show parts" }, "▸");
        button.addEventListener("click", () => {
          const folded = body.dataset.folded === "yes";
          body.dataset.folded = folded ? "no" : "yes";
          button.textContent = folded ? "▾" : "▸";
          button.setAttribute("aria-expanded", String(folded));
          apply();
        });
        body.rows[0].cells[0].prepend(button);
      }
      for (const row of all("tbody tr", table)) equipRow(row);
      all("thead th", table).forEach((head, column) => {
        if (!head.textContent) return;
        const button = make("button", { type: "button" }, head.textContent);
        head.textContent = "";
        head.append(button);
        head.classList.add("sortable");
        head.addEventListener("click", () => sort(table, column, head));
      });
      table.caption.append(tools(table));
    }
    for (const finding of all(".findings > li")) {
      finding.tabIndex = -1;
      const button = make("button", { type: "button" }, "Copy");
      button.addEventListener("click", () => {
        const [text, facts] = all("p", finding).map((p) => p.textContent.replace(/ Copy$/, "").trim());
        copy(`- **${text}**\n  ${facts}`, "finding");
      });
      finding.querySelector(".facts").append(" ", button);
    }
  }

  // A button that selects what a row names.
  function equipRow(row) {
    const named = ["map", "part", "level"].filter((key) => row.dataset[key]);
    const name = nameIn(row.cells[0]);
    if (!named.length || !name) return;
    const button = make("button", { type: "button", class: "pick", "aria-label": `Select ${named.at(-1)} ${row.dataset[named.at(-1)]}: ${name}`, title: "Select" }, "◎");
    button.addEventListener("click", () => select(Object.fromEntries(named.map((key) => [key, row.dataset[key]]))));
    row.cells[0].append(button);
  }

  function tools(table) {
    const tools = make("span", { class: "tools" });
    for (const [name, text] of [["Markdown", markdown], ["CSV", csv]]) {
      const button = make("button", { type: "button", "aria-label": `Copy as ${name}` }, name);
      button.addEventListener("click", () => copy(text(table), name));
      tools.append(button);
    }
    return tools;
  }

  // The code of one function, made when it is asked for.

  const LISTING = ["offset", "instruction", "goes to", "inlined from", "line", "samples", "loads", "stores", "latency share", "p50", "p95", "L1 miss", "LLC miss"];
  const listed = new Map();

  function offerListings() {
    for (const row of all("#functions-table tbody tr")) {
      const { function: n } = row.dataset;
      if (!data.listing.of[Number(n)]) continue;
      const name = nameIn(row.cells[0]);
      const button = make("button", { type: "button", class: "pick", "aria-label": `Show the code around ${name}`, title: "Show the code" }, "≡");
      button.addEventListener("click", () => {
        select({ code: state.code === n ? "" : n });
        byId("listing")?.scrollIntoView({ block: "nearest" });
      });
      row.cells[0].append(button);
    }
  }

  function showListing(section) {
    const range = state.code === "" ? undefined : data.listing.of[Number(state.code)];
    byId("listing")?.remove();
    if (!range) return;
    if (!listed.has(state.code)) listed.set(state.code, makeListing(range));
    const box = listed.get(state.code);
    section.querySelector("#functions-table").parentElement.before(box);
    countListing(box, range);
  }

  function makeListing([first, last]) {
    const { rows, strings } = data.listing;
    const text = (id) => strings[id] ?? "";
    const of = all("#functions-table tbody tr").find((row) => row.dataset.function === state.code);
    const outer = of.cells[1].querySelector(".na") ? of.cells[0] : of.cells[1];
    const table = make("table", { id: "listing-table" }, make("caption", {}, `Code of ${nameIn(outer)}; … stands for instructions that no sample is near`));
    const head = make("tr");
    for (const name of LISTING) head.append(make("th", { scope: "col", class: SHOWS[name] ? "number" : "words" }, name));
    const body = make("tbody");
    let before = "";
    for (const [offset, cut, instruction, target, inner, place] of rows.slice(first, last)) {
      if (cut) body.append(make("tr", { class: "cut" }, make("td", { colspan: String(LISTING.length) }, "…")));
      const at = place === before ? "" : text(place);
      before = place;
      const inlined = text(inner) === nameIn(outer) ? "" : text(inner);
      const code = (text) => make("td", {}, ...(text ? [make("code", {}, text)] : []));
      const row = make("tr", { class: "code" }, make("th", { scope: "row" }, make("code", {}, `+0x${offset.toString(16)}`)), code(text(instruction)), code(text(target)), code(inlined), code(at));
      for (const name of LISTING) if (SHOWS[name]) row.append(make("td", { class: "number" }));
      body.append(row);
    }
    table.append(make("thead", {}, head), body);
    table.caption.append(tools(table));
    const close = make("button", { type: "button" }, "Close");
    close.addEventListener("click", () => select({ code: "" }));
    table.caption.querySelector(".tools").append(close);
    return make("div", { id: "listing", class: "scroll", tabindex: "0", role: "region", "aria-label": `Code of ${nameIn(outer)}` }, table);
  }

  // All samples while nothing is selected, else the selected ones of the page.
  function countListing(box, [first, last]) {
    exactly = active().length === 0;
    const selected = exactly ? null : pickedCode(3);
    const sums = data.listing.rows.slice(first, last).map((row, i) => (exactly ? row[6] : selected.get(first + i)));
    const total = sums.reduce((n, sum) => n + (sum?.latency_sum ?? 0), 0);
    const shown = LISTING.map((name) => SHOWS[name]);
    all("tr.code", box).forEach((row, i) => {
      const sum = sums[i];
      row.classList.toggle("hit", Boolean(sum));
      shown.forEach((show, column) => {
        if (!show) return;
        if (sum) put(row.cells[column], show(sum, total));
        else row.cells[column].replaceChildren();
      });
    });
    exactly = false;
  }

  function sort(table, column, head) {
    const ascending = head.getAttribute("aria-sort") === "descending";
    all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const bodies = [...table.tBodies];
    const grouped = bodies.length > 1 || bodies[0]?.rows.length === 1;
    const items = grouped ? bodies : [...bodies[0].rows];
    const key = (item) => {
      const cell = (grouped ? item.rows[0] : item).cells[column];
      if (cell.dataset.sort === undefined) return cell.textContent;
      return cell.dataset.sort === "" ? null : Number(cell.dataset.sort);
    };
    const keyed = items.map((item) => [key(item), item]);
    keyed.sort(([a], [b]) => {
      // What is not known goes last, whichever way.
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
      return ascending ? order : -order;
    });
    const parent = grouped ? table : bodies[0];
    for (const [, item] of keyed) parent.append(item);
  }

  // A cell's text without the buttons that the script put into it.
  function nameIn(cell) {
    return cell.textContent.replace(/^[▸▾]|[◎≡]+$/g, "").trim();
  }

  function shownRows(table) {
    const cells = (row) => [...row.cells].map((cell) => cell.textContent.replace(/^[▸▾]|[◎≡]+$/g, "").trim());
    return [cells(table.tHead.rows[0]), ...all("tbody tr", table).filter((row) => !row.hidden).map(cells)];
  }

  function markdown(table) {
    const [head, ...rows] = shownRows(table);
    const line = (cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
    return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
  }

  function csv(table) {
    const field = (cell) => {
      const plain = /^[\d,]+(\.\d+)?$/.test(cell) ? cell.replaceAll(",", "") : cell;
      return /[",\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
    };
    return shownRows(table).map((row) => row.map(field).join(",")).join("\r\n");
  }

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say(`Copied as ${what}`);
  }

  function save(blob, name) {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    say(`Saved as ${name}`);
  }

  let silence = 0;

  function say(text) {
    const live = byId("live");
    live.textContent = text;
    live.hidden = false;
    clearTimeout(silence);
    silence = setTimeout(() => (live.hidden = true), 1500);
  }

  // Colours: those of src/report/colour.rs.

  const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56]];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colours = new Map();
  const levelColours = new Map();
  const onDark = () => dark.matches && !printing;

  function forgetColours() {
    colours.clear();
    levelColours.clear();
    shades.fill(undefined);
  }

  function css(name) {
    if (!colours.has(name)) colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
    return colours.get(name);
  }

  const shades = new Array(256);

  // As many shades as eyes tell apart, each made once.
  function cividis(share) {
    const n = Math.round(share * 255);
    return (shades[n] ??= cividisOf(n / 255));
  }

  function cividisOf(share) {
    // More is further from the paper: dark on light, light on dark.
    const at = (onDark() ? 0.25 + 0.75 * share : 1 - share) * 9;
    const low = Math.min(8, Math.floor(at));
    const mix = [0, 1, 2].map((i) => Math.round(CIVIDIS[low][i] + (CIVIDIS[low + 1][i] - CIVIDIS[low][i]) * (at - low)));
    return `rgb(${mix})`;
  }

  function levelColour(level) {
    if (!levelColours.has(level)) levelColours.set(level, colourOf(level));
    return levelColours.get(level);
  }

  function colourOf(level) {
    if (level === null) return "#999999";
    const lower = level.toLowerCase();
    if (lower.includes("remote")) return "#cc79a7";
    if (lower.includes("ram") || lower.includes("mem")) return "#d55e00";
    // What a store missed, not what served it.
    if (lower.includes("miss")) return "#e69f00";
    if (lower.startsWith("l1")) return "#56b4e9";
    if (lower.startsWith("lfb")) return onDark() ? "#f0e442" : "#c9bd00";
    if (lower.startsWith("l2")) return onDark() ? "#3d9be0" : "#0072b2";
    if (lower.startsWith("l3") || lower.startsWith("llc")) return "#009e73";
    return "#e69f00";
  }

  const PARTS = { tophash: "#d55e00", ctrl: "#d55e00", key: "#0072b2", elem: "#009e73", overflow: "#56b4e9" };

  // A plot draws itself and lists its marks: what the pointer and the arrow keys can ask about.

  const tip = make("div", { class: "tip", hidden: "" });

  class Plot {
    constructor(element, kind) {
      this.element = element;
      this.kind = kind;
      this.marks = [];
      this.at = -1;
      this.drawn = "";
      // The drawing of all accesses, while another one is shown.
      this.whole = null;
      this.controls = make("div", { class: "controls" });
      this.canvases = [this.makeCanvas()];
      [this.canvas] = this.canvases;
      this.says = make("p", { class: "says", "aria-live": "polite" });
      element.append(this.controls, this.canvas, this.says);
      element.hidden = false;
      kind.setup?.(this.controls);
      for (const [name, does] of [["PNG", () => this.png()], ["SVG", () => this.svg()]]) {
        const button = make("button", { type: "button", "aria-label": `Copy the chart as ${name}` }, name);
        button.addEventListener("click", does);
        this.controls.append(button);
      }
    }

    makeCanvas() {
      const canvas = make("canvas", { tabindex: "0", role: "img" });
      canvas.addEventListener("pointermove", (event) => this.hover(event));
      canvas.addEventListener("pointerdown", (event) => (this.from = { x: event.offsetX, y: event.offsetY }));
      canvas.addEventListener("pointerup", (event) => this.release(event));
      canvas.addEventListener("pointerleave", () => (tip.hidden = true));
      canvas.addEventListener("blur", () => (tip.hidden = true));
      canvas.addEventListener("keydown", (event) => this.key(event));
      return canvas;
    }

    // One canvas holds the drawing of all accesses while the other shows a selection.
    spare() {
      if (this.canvases.length > 1) return this.canvases.find((canvas) => canvas !== this.canvas);
      const spare = this.makeCanvas();
      [spare.width, spare.height] = [this.canvas.width, this.canvas.height];
      spare.getContext("2d").fillRect(0, 0, 1, 1);
      this.canvases.push(spare);
      return spare;
    }

    use(canvas) {
      if (canvas === this.canvas) return;
      const focused = document.activeElement === this.canvas;
      this.canvas.replaceWith(canvas);
      this.canvas = canvas;
      if (focused) canvas.focus({ preventScroll: true });
    }

    redraw() {
      const key = JSON.stringify([KEYS.filter((key) => key !== "q" && key !== "code").map((key) => state[key]), wide, devicePixelRatio, onDark()]);
      if (key === this.drawn) return;
      if (this.drawn && this.ofAll) this.whole = this.keep();
      this.drawn = key;
      this.ofAll = active().length === 0;
      if (this.whole?.key === key) this.bring(this.whole);
      else this.draw();
    }

    keep() {
      const { span, spans } = this.kind;
      const selects = all("select", this.controls).map((box) => box.value);
      return { key: this.drawn, canvas: this.canvas, marks: this.marks, says: this.said, selects, span, spans };
    }

    bring({ canvas, marks, says, selects, span, spans }) {
      this.use(canvas);
      Object.assign(this.kind, { span, spans });
      all("select", this.controls).forEach((box, i) => (box.value = selects[i]));
      [this.marks, this.at, this.said] = [marks, -1, says];
      this.says.textContent = says;
    }

    // On a narrow screen some charts are wider, and scroll.
    get width() {
      return Math.max(wide, this.kind.least ?? 0);
    }

    draw() {
      const width = this.width;
      const drawing = this.kind.prepare(width);
      this.use(this.canvas === this.whole?.canvas ? this.spare() : this.canvas);
      const scale = devicePixelRatio || 1;
      // A size that is set anew, to the same as well, makes the canvas anew.
      for (const [side, size] of [["width", width * scale], ["height", drawing.height * scale]]) {
        if (this.canvas[side] !== Math.floor(size)) this.canvas[side] = size;
      }
      this.canvas.style.height = `${drawing.height}px`;
      this.canvas.style.width = width > wide ? `${width}px` : "";
      const pen = this.canvas.getContext("2d");
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      pen.fillStyle = css("--paper");
      pen.fillRect(0, 0, width, drawing.height);
      pen.textBaseline = "middle";
      font = 0;
      this.marks = [];
      this.at = -1;
      const says = drawing.draw(pen, this.marks);
      this.said = says;
      this.canvas.setAttribute("aria-label", `${drawing.name}. ${says} Arrow keys go from mark to mark.`);
      this.says.textContent = says;
    }

    async png() {
      const blob = await new Promise((done) => this.canvas.toBlob(done, "image/png"));
      try {
        await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        say("Copied as PNG");
      } catch {
        save(blob, `${this.element.dataset.plot}.png`);
      }
    }

    // What is shown, drawn once more by a pen that writes.
    svg() {
      const drawing = this.kind.prepare(this.width);
      const pen = new SvgPen(this.canvas.getContext("2d"), this.width, drawing.height);
      font = 0;
      drawing.draw(pen, []);
      font = 0;
      copy(pen.text(drawing.name), "SVG");
    }

    markAt(x, y) {
      return this.marks.findLast((mark) => x >= mark.x && x < mark.x + mark.w && y >= mark.y && y < mark.y + mark.h) ?? null;
    }

    hover(event) {
      this.show(this.markAt(event.offsetX, event.offsetY), event.clientX, event.clientY);
    }

    // A drag selects a stretch, a click the mark under it.
    release(event) {
      const [from, to] = [this.from, { x: event.offsetX, y: event.offsetY }];
      this.from = null;
      if (!from) return;
      if (Math.hypot(to.x - from.x, to.y - from.y) > 5) this.kind.brush?.(from, to);
      else this.markAt(to.x, to.y)?.select?.();
    }

    key(event) {
      if (event.key === "Enter" && this.marks[this.at]) return this.marks[this.at].select?.();
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step || !this.marks.length) return;
      event.preventDefault();
      this.at = (this.at + step + this.marks.length) % this.marks.length;
      const mark = this.marks[this.at];
      const frame = this.canvas.getBoundingClientRect();
      this.show(mark, frame.left + mark.x + mark.w, frame.top + mark.y);
      this.says.textContent = mark.text().replaceAll("\n", ", ");
    }

    show(mark, x, y) {
      tip.hidden = mark === null;
      if (mark === null) return;
      tip.textContent = mark.text();
      tip.style.left = `${Math.min(x + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${Math.min(y + 14, innerHeight - tip.offsetHeight - 8)}px`;
    }
  }

  // A mark of a chart that has thousands: what it says and selects is made when asked for.
  class Cell {
    constructor(chart, key, x, y, w, h) {
      Object.assign(this, { chart, key });
      [this.x, this.y, this.w, this.h] = [x, y, w, h];
    }

    text() {
      return this.chart.text(this.key);
    }

    select() {
      this.chart.select(this.key);
    }
  }

  // The part of a canvas's context that charts use, as SVG.
  class SvgPen {
    constructor(ruler, width, height) {
      Object.assign(this, { ruler, width, height, globalAlpha: 1, lineWidth: 1, fillStyle: "", strokeStyle: "", textAlign: "left", size: 11 });
      [this.marks, this.path, this.dash, this.down] = [[], "", [], 0];
    }

    set font(font) {
      this.size = parseInt(font, 10);
      this.ruler.font = font;
    }

    measureText(text) {
      return this.ruler.measureText(text);
    }

    translate(_, y) {
      this.down += y;
    }

    setLineDash(dash) {
      this.dash = dash;
    }

    beginPath() {
      this.path = "";
    }

    moveTo(x, y) {
      this.path += `M${short(x)} ${short(y + this.down)}`;
    }

    lineTo(x, y) {
      this.path += `L${short(x)} ${short(y + this.down)}`;
    }

    // Whole circles only.
    arc(x, y, r) {
      this.moveTo(x - r, y);
      this.path += `a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
    }

    rect(x, y, w, h) {
      this.moveTo(x, y);
      this.path += `h${short(w)}v${short(h)}h${short(-w)}z`;
    }

    closePath() {
      this.path += "z";
    }

    fill() {
      this.mark("path", { d: this.path, fill: this.fillStyle });
    }

    stroke() {
      const dash = this.dash.length ? { "stroke-dasharray": this.dash.join(" ") } : {};
      this.mark("path", { d: this.path, fill: "none", stroke: this.strokeStyle, "stroke-width": this.lineWidth, ...dash });
    }

    fillRect(x, y, w, h) {
      this.mark("rect", { x: short(x), y: short(y + this.down), width: short(w), height: short(h), fill: this.fillStyle });
    }

    fillText(text, x, y) {
      const anchor = { left: "start", center: "middle", right: "end" }[this.textAlign];
      const at = { x: short(x), y: short(y + this.down), "text-anchor": anchor, "dominant-baseline": "central", "font-size": this.size };
      this.mark("text", { ...at, "font-family": "system-ui, DejaVu Sans, sans-serif", fill: this.fillStyle }, text);
    }

    mark(name, attributes, text) {
      const mark = document.createElementNS(SVG, name);
      if (this.globalAlpha !== 1) attributes.opacity = short(this.globalAlpha);
      for (const [key, value] of Object.entries(attributes)) mark.setAttribute(key, value);
      if (text !== undefined) mark.textContent = text;
      this.marks.push(mark);
    }

    text(name) {
      const root = document.createElementNS(SVG, "svg");
      for (const [key, value] of [["width", this.width], ["height", this.height], ["viewBox", `0 0 ${this.width} ${this.height}`]]) root.setAttribute(key, value);
      const title = document.createElementNS(SVG, "title");
      title.textContent = name;
      const paper = document.createElementNS(SVG, "rect");
      for (const [key, value] of [["width", "100%"], ["height", "100%"], ["fill", css("--paper")]]) paper.setAttribute(key, value);
      root.append(title, paper, ...this.marks);
      return new XMLSerializer().serializeToString(root);
    }
  }

  const SVG = "http://www.w3.org/2000/svg";
  const short = (n) => String(Math.round(n * 100) / 100);

  // Setting a font costs more than writing with it.
  let font = 0;

  function setFont(pen, size) {
    if (font !== size) pen.font = `${size}px system-ui, "DejaVu Sans", sans-serif`;
    font = size;
  }

  function write(pen, text, x, y, { size = 11, colour = "--faint", align = "left" } = {}) {
    setFont(pen, size);
    pen.fillStyle = css(colour);
    pen.textAlign = align;
    pen.fillText(text, x, y);
  }

  function levelLegend(pen, levels, x, y) {
    for (const level of levels) {
      pen.fillStyle = levelColour(level);
      pen.fillRect(x, y - 6, 12, 12);
      const name = level ?? "level unknown";
      write(pen, name, x + 17, y, { size: 12, colour: "--ink" });
      x += 34 + pen.measureText(name).width;
    }
    return x;
  }

  const near = ["L1", "LFB", "L2", "L3"];
  const byDistance = (a, b) => rank(a) - rank(b) || String(a).localeCompare(String(b));
  const rank = (level) => (level === null ? 9 : near.includes(level) ? near.indexOf(level) : 5);

  const P95 = "p95 latency";

  // Of each raw access its grid (one more, 0: none), the row there - an index, or of an object outside of
  // the buckets the place where it begins - and the byte.

  let placed = null;

  function places() {
    if (placed) return placed;
    const { array, index, off, map, part, pair: lines, in_pair } = rows.column;
    const ofArray = new Map();
    const ofObject = new Map();
    data.grids.forEach((grid, n) => {
      if (grid.outside) ofObject.set(pair(grid.map === null ? 0 : grid.map + 1, rows.parts.findIndex(([part]) => part === grid.outside.part) + 1), n);
      else ofArray.set(grid.array, n);
    });
    const outside = rows.parts.map(([part]) => part.startsWith("indirect_"));
    placed = { grid: new Uint16Array(rows.rows), row: new Uint32Array(rows.rows), off: new Uint32Array(rows.rows) };
    for (let i = 0; i < rows.rows; i++) {
      if (!off[i]) continue;
      if (part[i] && outside[part[i] - 1]) {
        const n = ofObject.get(pair(map[i], part[i]));
        if (n === undefined) continue;
        const { begins, per_column } = data.grids[n].outside;
        const begin = !in_pair[i] ? null : lines[i] ? (in_pair[i] + 128 * 2 ** 24 - off[i]) % 128 : in_pair[i] - 1;
        const row = begins.indexOf(begin);
        if (row < 0) continue;
        [placed.grid[i], placed.row[i], placed.off[i]] = [n + 1, row, Math.floor((off[i] - 1) / per_column) * per_column];
        continue;
      }
      const n = array[i] && index[i] ? ofArray.get(array[i] - 1) : undefined;
      if (n === undefined) continue;
      [placed.grid[i], placed.row[i], placed.off[i]] = [n + 1, index[i] - 1, off[i] - 1];
    }
    placed.of = data.grids.map(() => []);
    placed.grid.forEach((grid, i) => grid && placed.of[grid - 1].push(i));
    return placed;
  }

  // Rows of a zoomed heatmap.
  const ZOOMED = 280;

  // The segment of each byte of a bucket or group.
  function partsOf({ stride, segments }) {
    const parts = new Array(stride).fill(undefined);
    for (const segment of segments) parts.fill(segment, segment[2], segment[3]);
    return parts;
  }

  const heatmap = {
    setup(controls) {
      data.grids.forEach((grid, n) => (grid.n = n));
      // Quantiles do not add up: from the raw accesses, whatever is selected.
      if (rows.column.latency.some((latency) => latency > 0)) data.measures.push([P95, "cycles"]);
      this.array = chooser("array", [["", "of the map, one after the other"], ...data.grids.map((grid, i) => [String(i), grid.name])], (array) => select({ array }));
      const of = (name) => data.measures.findIndex(([known]) => known === name);
      const told = (measure) => data.grids.some((grid) => grid.values[measure].some((value) => value !== null));
      const usable = data.measures.map(([name], i) => [name, i]).filter(([name, i]) => name === P95 || (name === "accesses" ? !told(of("loads")) : told(i)));
      this.measure = chooser("show", usable.map(([name]) => [name, name]), (measure) => select({ measure }));
      this.first = usable[0][0];
      this.scale = chooser("scale", [["", "logarithmic"], ["linear", "linear"]], (scale) => select({ scale }));
      controls.append(this.measure, this.scale, this.array);
    },

    grid() {
      const wanted = data.grids[Number(state.array || 0)];
      if (!wanted || (state.map !== "" && String(wanted.map) !== state.map)) {
        return data.grids.find((grid) => String(grid.map) === state.map) ?? null;
      }
      return wanted;
    },

    measureShown() {
      return data.measures.some(([known]) => known === state.measure) ? state.measure : this.first;
    },

    // Whether the cells of all accesses tell what is selected of an array: they know of bucket and byte,
    // and a byte of a bucket or group is of one part.
    cellsKnow({ outside, segments }) {
      const ofBytes = segments.length > 0 && /^(bmap|group)\.(tophash|ctrl|key|elem|overflow)$/.test(state.part);
      return fine !== null && !outside && active().every((key) => key === "map" || key === "index" || (key === "part" && ofBytes));
    },

    // The same of what the table of cells is left with.
    cellsTell() {
      const index = Rows.range(state.index);
      const { array } = selection();
      return data.grids.every((grid) => {
        if (index && grid.array !== array) return true;
        // Their parts are their own.
        if (grid.outside) return /^(bmap|group)\./.test(state.part);
        const width = fine?.grids[grid.n].width;
        return this.cellsKnow(grid) && (!index || (index[0] % width === 0 && ((index[1] + 1) % width === 0 || index[1] >= grid.len - 1)));
      });
    },

    // Tells whether a bucket, or a bin that begins with it, and a byte are selected.
    chosenBuckets(grid, index = Rows.range(state.index)) {
      if (grid.outside || (state.index !== "" && grid.array !== selection().array)) return () => false;
      const [structure, field] = state.part.split(".");
      const other = state.part !== "" && (grid.segments[0][0] === "ctrl") !== (structure === "group");
      if (other) return () => false;
      const bytes = partsOf(grid).map((segment) => state.part === "" || segment?.[0] === field);
      return (bucket, off) => (bytes[off] ?? state.part === "") && (!index || (bucket >= index[0] && bucket <= index[1]));
    },

    // A grid as it is drawn: the selected buckets alone, one by one where they fit, and where its numbers
    // are from: all accesses ("all": the grid's own cells; "fine": finer ones) or the raw ones of the page.
    zoomed(grid) {
      if (!grid) return grid;
      const raw = this.measureShown() === P95;
      const keys = active();
      if (!raw && keys.every((key) => key === "map")) return { ...grid, first: 0, source: "all" };
      const known = !raw && this.cellsKnow(grid);
      const { width } = known ? fine.grids[grid.n] : { width: 1 };
      const index = Rows.range(state.index);
      if (grid.outside || !index || index[0] >= grid.len) return { ...grid, first: 0, source: known && width <= grid.per_row ? "fine" : "raw" };
      const wanted = [index[0], Math.min(index[1], grid.len - 1)];
      const source = known && (width === 1 || wanted[1] - wanted[0] >= width) ? "fine" : "raw";
      const whole = source === "fine" ? width : 1;
      const first = wanted[0] - (wanted[0] % whole);
      const end = Math.min(grid.len, Math.ceil((wanted[1] + 1) / whole) * whole);
      const per_row = whole * Math.ceil((end - first) / whole / ZOOMED);
      return { ...grid, first, end, widened: first < wanted[0] || end > wanted[1] + 1, per_row, rows: Math.ceil((end - first) / per_row), source };
    },

    // What is drawn.
    shown() {
      const chosen = this.grid();
      if (!chosen) return [];
      // Buckets are selected of one array.
      return state.array === "" && state.index === "" ? this.arrays(chosen) : [this.zoomed(chosen)];
    },

    prepare(width) {
      const name = this.measureShown();
      this.measure.querySelector("select").value = name;
      this.scale.querySelector("select").value = state.scale === "linear" ? "linear" : "";
      const grown = this.shown();
      if (!grown.length) {
        const none = "No bucket or group of the selected map was hit.";
        return { name, height: 24, draw: () => none };
      }
      this.array.querySelector("select").value = state.array;
      const most = 560 / Math.max(1, grown.filter(({ outside }) => !outside).length);
      let height = 0;
      const pieces = grown.map((grid) => {
        const above = height + 22;
        const plotHeight = grid.outside ? Math.max(28, grid.rows * 14) : Math.max(80, Math.min(most, grid.rows * Math.max(2, Math.min(14, Math.floor(440 / grid.rows)))));
        height = above + plotHeight + 84;
        return { grid, above, plotHeight };
      });
      return { name: `${name} by byte of ${this.grid().name}`, height, draw: (pen, marks) => this.pieces(pen, marks, pieces, name, width) };
    },

    // The arrays of a grid's map in the order of its growth, the costliest of them where there are many.
    arrays(grid) {
      if (grid.map === null) return [this.zoomed(grid)];
      const own = data.grids.filter(({ map }) => map === grid.map);
      const arrays = own.filter(({ outside }) => !outside).slice(0, 6);
      arrays.sort((a, b) => b.old - a.old || a.len - b.len || a.array - b.array);
      return [...arrays, ...own.filter(({ outside }) => outside)].map((each) => this.zoomed(each));
    },

    pieces(pen, marks, pieces, name, width) {
      this.spans = [];
      const said = pieces.map(({ grid, above, plotHeight }) => {
        const own = [];
        pen.translate(0, above);
        write(pen, grid.name, 0, -8, { size: 12, colour: "--ink" });
        const says = this.draw(pen, own, grid, name, width, plotHeight);
        pen.translate(0, -above);
        this.spans.push({ grid, top: above + 46, height: plotHeight });
        for (const mark of own) {
          mark.y += above;
          marks.push(mark);
        }
        return says;
      });
      return [...said.map(({ drawn }) => drawn), ...this.depth(pieces), ...new Set(said.map(({ borders }) => borders))].join(" ");
    },

    // Whether what is drawn was counted over all samples.
    countsAll() {
      return this.shown().every(({ source }) => source !== "raw");
    },

    draw(pen, marks, grid, name, width, height) {
      const [left, top] = [84, 46];
      const plot = width - left - 12;
      const cells = this.cells(grid, name);
      const { values } = cells;
      const [, unit] = data.measures.find(([known]) => known === name);
      const x = (off) => left + (off * plot) / grid.stride;
      const y = (row) => top + (row * height) / grid.rows;
      const most = values.reduce((a, b) => Math.max(a, b), 0);
      const linear = state.scale === "linear";
      const shade = (value) => (most === 1 ? 1 : linear ? value / most : Math.log(value) / Math.log(most));
      const segments = partsOf(grid);
      pen.fillStyle = css("--wash");
      pen.fillRect(left, top, plot, height);
      const chart = {
        text: (i) => this.text(grid, cells, i, segments[cells.off[i]]),
        select: (i) => this.pickRow(grid, cells.row[i], segments[cells.off[i]]),
      };
      const cellWidth = Math.max(1.5, (plot * (grid.outside?.per_column ?? 1)) / grid.stride);
      const cellHeight = Math.max(1, height / grid.rows);
      let total = 0;
      values.forEach((value, i) => {
        if (!value) return;
        total += value;
        const [across, down] = [x(cells.off[i]), y(cells.row[i])];
        pen.fillStyle = cividis(shade(value));
        pen.fillRect(across, down, cellWidth, cellHeight);
        marks.push(new Cell(chart, i, across, down, cellWidth, cellHeight));
      });
      marks.sort((a, b) => values[b.key] - values[a.key]);
      this.axis(pen, grid, x, top);
      this.borders(pen, grid, x, y, top, height);
      // A tick stands at the upper edge of the row that it names.
      if (grid.outside) {
        grid.outside.begins.forEach((at, row) => write(pen, at === null ? "?" : String(at), left - 8, y(row + 0.5), { align: "right", size: 10 }));
      } else {
        const ticks = new Set([0, 1, 2, 3].map((tick) => Math.floor((grid.rows * tick) / 4)));
        for (const row of ticks) write(pen, count(grid.first + row * grid.per_row), left - 8, y(row) + 6, { align: "right" });
      }
      write(pen, "byte", left - 8, top - 7, { size: 9, align: "right" });
      write(pen, grid.outside ? "begins at" : one(grid.unit), 0, y(0) + 6, { size: grid.outside ? 10 : 11 });
      const foot = top + height + 22;
      this.legend(pen, left, foot, most, unit, linear);
      const each = grid.outside ? "one row is a place in a pair of lines where one begins" : grid.per_row === 1 ? `one row is one of ${some(grid.len, grid.unit)}` : `one row is ${count(grid.per_row)} of ${count(grid.len)} ${grid.unit}`;
      const mark = grid.source === "raw" ? about() : "";
      const sum = name === P95 || name === "mean latency" ? `up to ${mark}${count(most)}` : mark + count(total);
      const where = grid.outside ? ` on ${grid.outside.part}` : "";
      const column = grid.outside && grid.outside.per_column > 1 ? `${grid.outside.per_column} bytes` : "a byte";
      return {
        drawn: `${name}: ${sum} ${unit}${where} drawn${active().length ? " of the selection" : ""}; ${each}${this.widened(grid)}, one column ${column}.`,
        borders: grid.borders.replace(/; a row is .*$/, grid.per_row === 1 ? "." : `; a row is ${count(grid.per_row)} ${grid.unit}, so they are not drawn.`),
      };
    },

    // The ends of the scale, and on a logarithmic one the value in its middle.
    legend(pen, left, foot, most, unit, linear) {
      if (!most) return write(pen, `no ${unit} to draw`, left, foot);
      if (most === 1) {
        pen.fillStyle = cividis(1);
        pen.fillRect(left, foot - 6, 12, 12);
        return write(pen, `1 ${one(unit)} in a cell`, left + 18, foot);
      }
      for (let step = 0; step < 40; step++) {
        pen.fillStyle = cividis(step / 39);
        pen.fillRect(left + 14 + step * 4, foot - 6, 4, 12);
      }
      const half = linear ? most / 2 : Math.sqrt(most);
      write(pen, linear ? "0" : "1", left + 8, foot, { align: "right" });
      if (most > 8) write(pen, count(Math.round(half)), left + 94, foot + 13, { size: 9, align: "center" });
      write(pen, `${count(most)} ${unit} in a cell, ${linear ? "linear" : "logarithmic"} scale`, left + 182, foot);
    },

    widened(grid) {
      return grid.widened ? `: ${grid.unit} ${count(grid.first)}-${count(grid.end - 1)}, whole rows that hold the selected` : "";
    },

    // Down to what a zoom is exact, where the raw accesses are some of all.
    depth(pieces) {
      const arrays = pieces.map(({ grid }) => grid).filter(({ outside }) => fine && !outside);
      if (!arrays.length) return [];
      const of = arrays.map(({ n, len, unit }) => [fine.grids[n].width, `${count(len)} ${unit}`]);
      const binned = of.filter(([width]) => width > 1).map(([width, what]) => `of ${what} down to ${count(width)} in a row`);
      const single = binned.length < arrays.length ? [`down to a single ${one(arrays[0].unit)}`] : [];
      return [`Zooming is exact ${[...single, ...binned].join(", ")}${binned.length ? "; below that raw accesses tell" : ""}.`];
    },

    // Cells by row and byte with the values of one measure, and what gives any of one.
    cells(grid, name) {
      if (grid.source === "all") {
        const values = (name) => grid.values[data.measures.findIndex(([known]) => known === name)];
        return { row: grid.row, off: grid.off, values: values(name), value: (i, name) => values(name)?.[i] };
      }
      const sums = [...(grid.source === "fine" ? this.fineCells(grid) : this.rawCells(grid))];
      return {
        row: sums.map(([key]) => Math.floor(key / grid.stride)),
        off: sums.map(([key]) => key % grid.stride),
        values: sums.map(([, sum]) => Rows.measure(sum, name)),
        value: (i, name) => (name === P95 && grid.source === "fine" ? undefined : Rows.measure(sums[i][1], name)),
      };
    },

    cellOf: (grid) => (index, off) => Math.floor((index - grid.first) / grid.per_row) * grid.stride + off,

    rawCells(grid) {
      const chosen = pickedMask();
      const own = places().of[grid.n].filter((i) => chosen[i]);
      return Rows.sums(rows, own, this.rawKeys(grid));
    },

    // The cells of an array that is drawn whole are the same for every selection.
    rawKeys(grid) {
      const at = places();
      const cell = this.cellOf(grid);
      const key = (i) => (at.grid[i] === grid.n + 1 && at.off[i] < grid.stride && at.row[i] >= grid.first ? cell(at.row[i], at.off[i]) : undefined);
      if (grid.end !== undefined) return key;
      return (groupings[`cells of ${grid.n}`] ??= Rows.grouping(rows, key, at.of[grid.n]));
    },

    fineCells(grid) {
      const own = this.chosenBuckets(grid, grid.end === undefined ? undefined : [grid.first, grid.end - 1]);
      const cell = this.cellOf(grid);
      return Rows.cellSums(fine, fine.grids[grid.n], (index, off) => (own(index, off) ? cell(index, off) : undefined));
    },

    pickRow(grid, row, segment) {
      if (grid.outside) return select({ map: grid.map === null ? "" : String(grid.map), part: grid.outside.part });
      const first = grid.first + row * grid.per_row;
      const part = segment && rows.parts.find(([part]) => part.endsWith(`.${segment[0]}`));
      select({ map: grid.map === null ? "" : String(grid.map), array: String(grid.n), index: `${first}-${first + grid.per_row - 1}`, part: part ? part[0] : "" });
    },

    // A stretch of rows, from a drag.
    brush(from, to) {
      const spans = this.spans?.filter(({ grid }) => !grid.outside);
      const span = spans?.find(({ top, height }) => from.y < top + height) ?? spans?.at(-1);
      if (!span) return;
      const { grid } = span;
      const at = (y) => Math.max(0, Math.min(grid.rows - 1, Math.floor(((y - span.top) * grid.rows) / span.height)));
      const [first, last] = [at(Math.min(from.y, to.y)), at(Math.max(from.y, to.y))];
      select({ array: String(grid.n), index: `${grid.first + first * grid.per_row}-${grid.first + (last + 1) * grid.per_row - 1}` });
    },

    axis(pen, grid, x, top) {
      let last = 0;
      for (const [part, slot, start, end] of grid.segments) {
        pen.fillStyle = PARTS[part] ?? "#999999";
        pen.fillRect(x(start), top - 20, Math.max(1, x(end) - x(start) - 1), 6);
        pen.strokeStyle = css("--line");
        pen.beginPath();
        pen.moveTo(x(start), top);
        pen.lineTo(x(start), top + 4);
        pen.stroke();
        const text = slot === null ? part : slot === 0 || grid.segments.length && x(end) - x(start) > 46 ? `${part} ${slot}` : String(slot);
        setFont(pen, 10);
        const width = pen.measureText(text).width;
        let at = part === "overflow" ? x(end) - width : x(start);
        // After a label that is wider than its part, where there is room.
        if (at < last + 4 && last + 4 + width < x(end)) at = last + 4;
        if (at < last + 4) continue;
        write(pen, text, at, top - 30, { size: 10, colour: "--ink" });
        last = at + width;
      }
      const step = grid.stride > 512 ? 128 : 16;
      for (let off = 0; off < grid.stride; off += step) write(pen, String(off), x(off), top - 7, { size: 9 });
    },

    borders(pen, grid, x, y, top, height) {
      pen.strokeStyle = css("--line");
      pen.lineWidth = 1;
      for (const [, , start] of grid.segments.slice(1)) line(pen, x(start), top, x(start), top + height);
      if (grid.phase === null && !grid.outside) return;
      pen.fillStyle = css("--ink");
      // 64-byte borders, and whether a pair of lines begins there.
      const borders = (index) => {
        if (grid.outside && grid.outside.begins[index] === null) return [];
        const start = grid.outside ? grid.outside.begins[index] : (grid.phase + (index % 128) * (grid.stride % 128)) % 128;
        const offsets = [];
        for (let off = (64 - (start % 64)) % 64; off < grid.stride; off += 64) if (off > 0) offsets.push([off, (start + off) % 128 === 0]);
        return offsets;
      };
      const draw = (off, pair, from, to) => pen.fillRect(x(off) - (pair ? 1.5 : 0.5), from, pair ? 3 : 1, to - from);
      if (grid.outside) {
        for (let row = 0; row < grid.rows; row++) for (const [off, pair] of borders(row)) draw(off, pair, y(row), y(row + 1));
        return;
      }
      if (grid.stride % 64 === 0) {
        for (const [off, pair] of borders(0)) draw(off, pair && grid.stride % 128 === 0, top - 4, top + height);
      }
      if (grid.stride % 128 !== 0 && grid.per_row === 1) {
        // They are many and say less than the cells do.
        pen.fillStyle = css("--faint");
        for (let row = 0; row < grid.rows; row++) for (const [off, pair] of borders(grid.first + row)) draw(off, pair, y(row), y(row + 1));
      }
    },

    text(grid, cells, i, segment) {
      const first = grid.first + cells.row[i] * grid.per_row;
      const last = Math.min(first + grid.per_row, Math.max(grid.len, first + 1)) - 1;
      const unit = one(grid.unit);
      const begin = grid.outside?.begins[cells.row[i]];
      const object = begin === undefined ? "" : begin === null ? "begins at an unknown address" : `begins at byte ${begin} of a pair of lines`;
      const where = object || (first === last ? `${unit} ${count(first)}` : `${grid.unit} ${count(first)}-${count(last)}`);
      const part = segment ? `, ${segment[0]}${segment[1] === null ? "" : ` ${segment[1]}`}` : "";
      const loads = cells.value(i, "loads");
      const lines = data.measures.flatMap(([name, unit]) => {
        const value = cells.value(i, name);
        if (value === undefined) return [];
        if (value !== null) return `${name}: ${grid.source === "raw" ? about() : ""}${count(value)} ${unit}`;
        return `${name}: ${unit === "loads" && loads === 0 ? "not applicable" : "unknown"}`;
      });
      return [`${where}, byte ${cells.off[i]}${part}`, ...lines].join("\n");
    },
  };

  const one = (units) => units.replace(/s$/, "");
  const some = (n, units) => `${count(n)} ${n === 1 ? one(units) : units}`;

  function line(pen, x0, y0, x1, y1) {
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
  }

  // Round times below a plot, and what they are.
  function timeAxis(pen, first, ns, left, width, bottom) {
    const rough = ns / 6;
    const ten = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
    const step = [1, 2, 5, 10].map((n) => n * ten).find((step) => step >= rough);
    const [unit, by] = ns < 2e3 ? ["ns", 1] : ns < 2e6 ? ["µs", 1e3] : ns < 2e9 ? ["ms", 1e6] : ["s", 1e9];
    pen.strokeStyle = css("--faint");
    for (let at = Math.ceil(first / step) * step; at <= first + ns; at += step) {
      const x = left + ((at - first) * width) / ns;
      line(pen, x, bottom, x, bottom + 4);
      const text = String(Number((at / by).toFixed(3)));
      if (x < left + width - 30) write(pen, text, x, bottom + 13, { align: "center" });
    }
    write(pen, unit, left + width, bottom + 13, { align: "right" });
    write(pen, "time since the first sample", left + width / 2, bottom + 28, { align: "center" });
  }

  // Stretches of marking and growth behind a plot; gives what there was.
  function shadeWindows(pen, marks, ofMap, inside, x, top, bottom) {
    const shaded = new Set();
    pen.globalAlpha = 0.22;
    for (const [what, map, from, to] of data.order.windows) {
      if (!ofMap(map, what) || !inside(from, to)) continue;
      shaded.add(what);
      pen.fillStyle = what === "growth" ? "#56b4e9" : "#cc79a7";
      const wide = Math.max(1, x(to) - x(from));
      pen.fillRect(x(from), top, wide, bottom - top);
      marks.push({ x: x(from), y: top - 8, w: Math.max(6, wide), h: 8, text: () => `${what}${map === null ? "" : ` of ${data.maps[map]}`}\n${duration(from)} to ${duration(to)}` });
    }
    pen.globalAlpha = 1;
    return shaded;
  }

  const sayShaded = (shaded) => `shaded: ${[...shaded].sort().map((what) => `${what} (${what === "growth" ? "blue" : "pink"})`).join(", ")}`;

  // A latency's bin is a byte (src/tables/aggregate.rs).
  const BINS = 256;
  const UNPLACED = 2 ** 32 - 1;

  const latency = {
    countsAll() {
      return active().every((key) => key === "level" || (key === "map" && data.latency.by_map));
    },

    // The axes, and of each map its rows of the cube.
    axes() {
      const { time, bin } = data.latency;
      const most = (column) => column.reduce((a, b) => Math.max(a, b), 0);
      const least = bin.reduce((a, b) => Math.min(a, b), 1e9);
      this.bounds ??= { bins: most(time) + 1, low: Math.floor(least / 8) * 8, high: Math.floor(most(bin) / 8) * 8 + 8 };
      return this.bounds;
    },

    ofMap(map) {
      this.maps ??= Map.groupBy(data.latency.map.keys(), (i) => data.latency.map[i]);
      return this.maps.get(map) ?? [];
    },

    // The time bin and the latency bin of each raw access.
    rawPlaces() {
      if (this.places) return this.places;
      const { latency, time } = rows.column;
      const bins = Uint8Array.from({ length: 4096 }, (_, cycles) => latencyBin(cycles));
      this.places = new Uint32Array(rows.rows).fill(UNPLACED);
      for (let i = 0; i < rows.rows; i++) {
        if (!latency[i] || !time[i]) continue;
        const bin = bins[latency[i] - 1] ?? latencyBin(latency[i] - 1);
        this.places[i] = Math.floor(((time[i] - 1) * rows.time_unit_ns) / data.latency.time_bin_ns) * BINS + bin;
      }
      return this.places;
    },

    // The selected cells of the cube over all samples.
    ofCube(add) {
      const { samples, level, levels, time, bin } = data.latency;
      const ofLevel = state.level === "" ? null : levels.indexOf(state.level);
      const one = (i) => {
        if (ofLevel === null || level[i] === ofLevel) add(time[i], bin[i], level[i], samples[i]);
      };
      if (state.map === "") for (let i = 0; i < samples.length; i++) one(i);
      else for (const i of this.ofMap(Number(state.map))) one(i);
    },

    prepare(width) {
      return { name: "Latency over time by level", height: 360, draw: (pen, marks) => this.draw(pen, marks, width, 360) };
    },

    draw(pen, marks, width, height) {
      const cube = data.latency;
      const [left, top, bottom] = [64, 34, 38];
      const [plotWidth, plotHeight] = [width - left - 16, height - top - bottom];
      const { bins, low, high } = this.axes();
      const x = (bin) => left + (bin * plotWidth) / bins;
      const y = (bin) => top + plotHeight - ((bin - low) * plotHeight) / (high - low);
      // Of each cell the samples by level, level by level.
      const names = [...new Set([null, ...cube.levels, ...rows.kinds.map(([, level]) => level)])];
      const idOf = new Map(names.map((level, id) => [level, id]));
      const ids = new Map([[-1, 0], ...cube.levels.map((level, id) => [id, idOf.get(level)])]);
      const size = bins * BINS;
      const cells = new Uint32Array(names.length * size);
      const totals = new Uint32Array(size);
      let samples = 0;
      const add = (time, bin, id, n) => {
        if (time >= bins || bin >= BINS) return;
        cells[id * size + time * BINS + bin] += n;
        totals[time * BINS + bin] += n;
        samples += n;
      };
      const exact = this.countsAll();
      if (exact) {
        this.ofCube((time, bin, level, n) => add(time, bin, ids.get(level), n));
      } else {
        const { kind } = rows.column;
        const kinds = rows.kinds.map(([, level, [n]]) => [idOf.get(level), n]);
        const places = this.rawPlaces();
        pickedRows().forEach((i) => {
          if (places[i] === UNPLACED) return;
          const [id, n] = kinds[kind[i] - 1];
          add(Math.floor(places[i] / BINS), places[i] % BINS, id, n);
        });
      }
      this.span = { left, width: plotWidth, ns: bins * cube.time_bin_ns };
      pen.strokeStyle = css("--line");
      for (let octave = low; octave <= high; octave += 8) {
        line(pen, left, y(octave), width - 16, y(octave));
        write(pen, count(2 ** (octave / 8)), left - 8, y(octave), { align: "right" });
      }
      const at = (time) => left + (Math.min(time, this.span.ns) * plotWidth) / this.span.ns;
      // Some map grows nearly always: growth is that of the selected one.
      const shown = (map, what) => (what === "growth" ? map !== null && String(map) === state.map : map === null);
      const shaded = shadeWindows(pen, marks, shown, (from) => from < this.span.ns, at, top, top + plotHeight);
      const fullest = Math.log1p(totals.reduce((a, b) => Math.max(a, b), 1));
      const seen = new Set();
      const colour = names.map(levelColour);
      const mostOf = (key) => {
        let most = 0;
        for (let id = 1; id < names.length; id++) if (cells[id * size + key] > cells[most * size + key]) most = id;
        return most;
      };
      const chart = {
        text: (key) => this.text(Math.floor(key / BINS), key % BINS, names, names.map((_, id) => cells[id * size + key]), exact),
        select: (key) => {
          const time = Math.floor(key / BINS);
          select({ time: `${time * cube.time_bin_ns}-${(time + 1) * cube.time_bin_ns - 1}`, level: names[mostOf(key)] ?? "" });
        },
      };
      const cellWidth = Math.max(1.5, plotWidth / bins);
      const cellHeight = Math.max(1.5, plotHeight / (high - low));
      for (let key = 0; key < size; key++) {
        if (!totals[key]) continue;
        for (let id = 0; id < names.length; id++) if (cells[id * size + key]) seen.add(id);
        pen.globalAlpha = 0.4 + (0.6 * Math.log1p(totals[key])) / fullest;
        pen.fillStyle = colour[mostOf(key)];
        const [at, down] = [x(Math.floor(key / BINS)), y((key % BINS) + 1)];
        pen.fillRect(at, down, cellWidth, cellHeight);
        marks.push(new Cell(chart, key, at, down, cellWidth, cellHeight));
      }
      pen.globalAlpha = 1;
      this.gaps(pen, marks, left, top, plotWidth, plotHeight);
      timeAxis(pen, 0, this.span.ns, left, plotWidth, top + plotHeight);
      write(pen, "cycles", left - 8, 12, { align: "right" });
      const end = levelLegend(pen, [...seen].map((id) => names[id]).sort(byDistance), left, 12);
      if (shaded.size) write(pen, sayShaded(shaded), end + 8, 12, { size: 12, colour: "--ink" });
      const how = exact ? "" : about();
      return `${how}${count(samples)} samples with a latency${state.level ? ` from ${state.level}` : ""}.`;
    },

    // A stretch of time, from a drag.
    brush(from, to) {
      if (!this.span) return;
      const at = (x) => Math.max(0, Math.min(this.span.ns, Math.round(((x - this.span.left) * this.span.ns) / this.span.width)));
      select({ time: `${at(Math.min(from.x, to.x))}-${at(Math.max(from.x, to.x))}` });
    },

    gaps(pen, marks, left, top, plotWidth, plotHeight) {
      if (!data.time) return;
      const span = Math.max(1, data.time[1] - data.time[0]);
      pen.strokeStyle = pen.fillStyle = css("--ink");
      pen.lineWidth = 1;
      for (const [time, kind, lost] of data.gaps) {
        const x = left + ((time - data.time[0]) * plotWidth) / span;
        if (x < left || x > left + plotWidth) continue;
        line(pen, x, top, x, top + plotHeight);
        pen.fillRect(x - 2, top - 6, 5, 6);
        marks.push({ x: x - 4, y: top - 8, w: 9, h: 10, text: () => `${kind.replaceAll("_", " ")}${lost ? `: ${count(lost)} lost` : ""}` });
      }
    },

    text(time, bin, names, levels, exact) {
      const from = time * data.latency.time_bin_ns;
      const cycles = `${count(Math.ceil(2 ** (bin / 8)))} to ${count(Math.ceil(2 ** ((bin + 1) / 8)) - 1)} cycles`;
      const told = names.map((level, id) => [level, levels[id]]).filter(([, n]) => n);
      const lines = told.sort((a, b) => b[1] - a[1]).map(([level, n]) => `${level ?? "level unknown"}: ${exact ? "" : about()}${count(n)} samples`);
      return [`${duration(from)} to ${duration(from + data.latency.time_bin_ns)}`, cycles, ...lines].join("\n");
    },
  };

  const path = {
    least: 700,

    countsAll() {
      return active().every((key) => key === "map" || key === "level");
    },

    prepare(width) {
      const told = data.levels.filter(([map, level]) => String(map ?? "") === state.map && (state.level === "" || level === state.level));
      const sums = this.countsAll()
        ? told.map(([, level, loads, latency_n, p50, p95]) => [level, { loads, latency_n, quantiles: [p50, p95] }])
        : [...loadsByLevel((_, level) => level)];
      const levels = sums.sort(([a], [b]) => byDistance(a, b));
      const height = Math.max(1, levels.length) * 30 + 16;
      return { name: "Loads by the level that served them", height, draw: (pen, marks) => this.draw(pen, marks, levels, width) };
    },

    draw(pen, marks, levels, width) {
      const [left, beside] = [150, 350];
      const bar = Math.max(80, width - left - beside);
      exactly = this.countsAll();
      const most = levels.reduce((a, [, sum]) => Math.max(a, sum.loads), 1);
      const known = levels.reduce((n, [level, sum]) => n + (level === null ? 0 : sum.loads), 0);
      levels.forEach(([level, sum], i) => {
        const y = 8 + i * 30;
        write(pen, level ?? "level unknown", left - 12, y + 11, { size: 13, colour: "--ink", align: "right" });
        pen.fillStyle = css("--wash");
        pen.fillRect(left, y, bar, 22);
        pen.fillStyle = levelColour(level);
        pen.fillRect(left, y, Math.max(1, (bar * sum.loads) / most), 22);
        const share = level === null ? "" : `${percent(sum.loads, known)}, `;
        const cycles = sum.latency_n ? `; p50 ${count(Rows.quantile(sum, 0.5))}, p95 ${count(Rows.quantile(sum, 0.95))} cycles` : "";
        const text = `${share}${about()}${count(sum.loads)} loads${cycles}`;
        write(pen, text, left + bar + 12, y + 11, { size: 12 });
        marks.push({ x: left, y, w: bar, h: 22, text: () => `${level ?? "level unknown"}: ${text}`, select: () => select({ level: level ?? "" }) });
      });
      const says = `${about()}${count(known)} loads${active().length ? " of the selection" : ""} have a level.`;
      exactly = false;
      return says;
    },
  };

  // Samples on the memory of maps by cause, as src/report/charts/background.rs.
  const background = {
    least: 800,

    countsAll() {
      return active().length === 0;
    },

    prepare(width) {
      const { sums, all } = this.countsAll() ? { sums: new Map(), all: null } : causes();
      const bars = data.causes.flatMap(({ name, samples, cycles, interval: told }) => {
        if (this.countsAll()) return [{ name, samples, cycles, share: told }];
        const sum = sums.get(name);
        return sum ? [{ name, samples: sum.samples, cycles: sum.latency_sum, share: interval(sum, all) }] : [];
      });
      const height = Math.max(1, bars.length) * 30 + 16;
      return { name: "Samples on the memory of maps by cause", height, draw: (pen, marks) => this.draw(pen, marks, bars, width) };
    },

    draw(pen, marks, bars, width) {
      const [left, beside] = [150, 500];
      const bar = Math.max(80, width - left - beside);
      const all = bars.reduce((n, { samples }) => n + samples, 0);
      exactly = this.countsAll();
      bars.forEach(({ name, samples, cycles, share }, i) => {
        const y = 8 + i * 30;
        write(pen, name, left - 12, y + 11, { size: 13, colour: "--ink", align: "right" });
        pen.fillStyle = css("--wash");
        pen.fillRect(left, y, bar, 22);
        pen.fillStyle = onDark() ? "#3d9be0" : "#0072b2";
        pen.fillRect(left, y, Math.max(1, (bar * samples) / Math.max(1, all)), 22);
        pen.strokeStyle = css("--ink");
        pen.lineWidth = 1;
        line(pen, left + bar * share[0], y + 11, left + bar * share[1], y + 11);
        const told = share.map((share) => (100 * share).toFixed(1)).join("-");
        const text = `${tenths(samples, all)} (95 % interval ${told} %), ${about()}${count(samples)} samples${cycles === null ? "" : `, ${about()}${count(cycles)} cycles`}`;
        write(pen, text, left + bar + 12, y + 11, { size: 12 });
        marks.push({ x: left, y, w: bar, h: 22, text: () => `${name}: ${text}` });
      });
      const says = `${about()}${count(all)} samples${active().length ? " of the selection" : ""} on the memory of maps.`;
      exactly = false;
      return says;
    },
  };

  // One run through each operation, as src/report/charts/operations.rs.
  const operations = {
    least: 760,

    countsAll() {
      return active().length === 0;
    },

    prepare(width) {
      const sums = this.countsAll() ? null : pickedCode(2);
      const runs = data.operations.map(({ title, steps }) => {
        const counted = steps.map((step) => {
          if (!sums) return step;
          const own = step.rows.flatMap((row) => sums.get(row) ?? []);
          const add = (name) => own.reduce((n, sum) => n + (sum[name] ?? 0), 0);
          return { ...step, samples: add("samples"), stores: add("stores"), latency_sum: own.some((sum) => sum.latency_sum !== null) ? add("latency_sum") : null };
        });
        return { title, all: steps.length, steps: counted.filter(({ samples }) => samples > 0) };
      });
      const drawn = runs.filter(({ steps }) => steps.length).map((run) => ({ ...run, steps: run.steps.slice(0, 60) }));
      const height = drawn.reduce((sum, { steps }) => sum + 56 + steps.length * 17 + 18, 8);
      return { name: "Operations step by step", height, draw: (pen, marks) => this.draw(pen, marks, drawn, width) };
    },

    draw(pen, marks, runs, width) {
      exactly = this.countsAll();
      let top = 0;
      for (const run of runs) {
        this.run(pen, marks, run, top, width);
        top += 56 + run.steps.length * 17 + 18;
      }
      const says = runs.length ? runs.map(({ title, steps, all }) => `${title.split(/[ ,]/)[1]}: ${steps.length} of ${all} steps`).join("; ") + ". Circle: loads only; square: stores too. Size and shade: latency, else samples." : "No step of the selection.";
      exactly = false;
      return says;
    },

    run(pen, marks, { title, steps }, top, width) {
      const [left, lane, row] = [150, 62, 17];
      const lanes = STAGES.filter((stage) => steps.some((step) => step.stage === stage));
      const first = top + 50;
      const x = (stage) => left + lanes.indexOf(stage) * lane + lane / 2;
      const weight = ({ latency_sum, samples }) => latency_sum ?? samples;
      const most = Math.max(1, ...steps.map(weight));
      write(pen, title, 0, top + 10, { size: 13, colour: "--ink" });
      pen.strokeStyle = css("--line");
      pen.lineWidth = 1;
      for (const stage of lanes) {
        line(pen, x(stage), first, x(stage), first + steps.length * row);
        write(pen, stage === "control" ? "tophash/ctrl" : stage, x(stage), first - 12, { size: 10, align: "center" });
      }
      pen.strokeStyle = css("--faint");
      pen.globalAlpha = 0.5;
      const drawn = steps.map((step, i) => ({ step, y: first + i * row + row / 2 })).filter(({ step }) => lanes.includes(step.stage));
      drawn.slice(1).forEach(({ step, y }, i) => line(pen, x(drawn[i].step.stage), drawn[i].y, x(step.stage), y));
      pen.globalAlpha = 1;
      let before;
      steps.forEach((step, i) => {
        const y = first + i * row + row / 2;
        if (step.phase !== before) write(pen, step.phase ?? "unknown", left - 12, y, { colour: "--ink", align: "right" });
        before = step.phase;
        if (!lanes.includes(step.stage)) return;
        const share = weight(step) / most;
        const radius = 3 + Math.round(Math.sqrt(share) * 5);
        pen.fillStyle = cividis(share);
        pen.beginPath();
        if (step.stores > 0) pen.rect(x(step.stage) - radius, y - radius, 2 * radius, 2 * radius);
        else pen.arc(x(step.stage), y, radius, 0, 7);
        pen.fill();
        const text = `${step.part ?? "unknown"}: ${about()}${some(step.samples, "samples")}${step.latency_sum === null ? "" : `, ${about()}${count(step.latency_sum)} cycles`}`;
        write(pen, text, left + lanes.length * lane + 10, y, { colour: "--ink" });
        marks.push({ x: 0, y: y - row / 2, w: width, h: row, text: () => `${step.phase ?? "phase unknown"}, ${text}`, select: () => select({ part: step.part ?? "" }) });
      });
    },
  };

  const bracketChosen = ({ map, tid, begin, end }) => {
    const time = Rows.range(state.time);
    return (state.map === "" || String(map) === state.map) && (state.tid === "" || String(tid) === state.tid) && (!time || (begin <= time[1] && (end ?? Infinity) >= time[0]));
  };

  // Writing operations by their duration, as src/report/charts/brackets.rs.
  const OPERATIONS = { assign: "#0072b2", delete: "#e69f00", clear: "#cc79a7" };
  const DRAWN = 36;

  const brackets = {
    least: 860,

    prepare(width) {
      const own = data.brackets.filter(bracketChosen);
      const odd = ({ between, deviates }) => between > 0 || deviates;
      const shown = [...own].sort((a, b) => odd(b) - odd(a) || (a.growth === null) - (b.growth === null) || a.begin - b.begin).slice(0, DRAWN);
      shown.sort((a, b) => a.begin - b.begin);
      return { name: "Writing operations by their duration", height: 46 + 18 * Math.max(1, shown.length) + 8, draw: (pen, marks) => this.draw(pen, marks, { own, shown, width }) };
    },

    draw(pen, marks, { own, shown, width }) {
      const [left, top, row] = [260, 46, 18];
      const bar = Math.max(120, width - left - 420);
      const longest = Math.max(1, ...shown.filter(({ end }) => end !== null).map(({ begin, end }) => end - begin));
      const wide = (ns) => (Math.min(ns, longest) * bar) / longest;
      let at = left;
      for (const [name, colour] of Object.entries(OPERATIONS)) {
        pen.fillStyle = colour;
        pen.fillRect(at, 4, 12, 12);
        write(pen, name, at + 17, 10, { size: 12, colour: "--ink" });
        at += 80;
      }
      pen.fillStyle = css("--alarm");
      pen.fillRect(at, 4, 3, 12);
      write(pen, "access of another thread inside", at + 10, 10, { size: 12, colour: "--ink" });
      pen.fillStyle = "#009e73";
      pen.fillRect(at + 220, 7, 12, 6);
      write(pen, "growth", at + 237, 10, { size: 12, colour: "--ink" });
      pen.strokeStyle = css("--line");
      pen.lineWidth = 1;
      for (let tick = 0; tick <= 4; tick++) {
        line(pen, left + (bar * tick) / 4, top - 4, left + (bar * tick) / 4, top + row * shown.length);
        write(pen, span(Math.floor((longest * tick) / 4)), left + (bar * tick) / 4, top - 12, { size: 10, align: "center" });
      }
      shown.forEach((b, i) => {
        const y = top + row * i;
        const name = `${b.operation} by thread ${b.tid} at ${span(b.begin)}`;
        write(pen, name, left - 10, y + 7, { colour: "--ink", align: "right" });
        pen.fillStyle = OPERATIONS[b.operation] ?? css("--faint");
        pen.globalAlpha = b.end === null ? 0.4 : 1;
        pen.fillRect(left, y + 2, Math.max(2, b.end === null ? bar : wide(b.end - b.begin)), 10);
        pen.globalAlpha = 1;
        if (b.growth) {
          pen.fillStyle = "#009e73";
          pen.fillRect(left + wide(b.growth[0] - b.begin), y + 8, Math.max(2, wide(b.growth[1] - b.begin) - wide(b.growth[0] - b.begin)), 6);
        }
        pen.fillStyle = css("--alarm");
        for (const time of b.others) pen.fillRect(left + wide(Math.max(0, time - b.begin)) - 1, y - 1, 3, 16);
        const length = b.end === null ? "not over at the end" : span(b.end - b.begin);
        const said = `${length}${b.growth ? `, ${span(b.growth[1] - b.growth[0])} of it growth` : ""}; ${b.deviates ? "not the source's order: " : ""}${b.phases.join(", ")}`;
        write(pen, said.length > 66 ? `${said.slice(0, 65)}…` : said, left + bar + 12, y + 7);
        const others = b.between ? `\n${count(b.between)} accesses of other threads inside` : "";
        marks.push({ x: left, y, w: bar, h: row, text: () => `${name}\n${said}${others}`, select: () => select({ map: String(b.map), tid: String(b.tid) }) });
      });
      const of = data.brackets.length < data.bracketed ? `${count(own.length)} (the page holds ${count(data.brackets.length)} of ${count(data.bracketed)})` : count(own.length);
      return `${count(shown.length)} of ${of} operations${active().length ? " of the selection" : ""} drawn, those with an access of another thread inside, a store out of order or growth first.`;
    },
  };

  // The accesses of one structure instance, all of those in the page; or the raw accesses of the
  // selection, which of a large recording are one of each few.
  function instanceAccesses() {
    const o = data.order;
    const text = (id) => (id < 0 ? null : o.strings[id]);
    const number = (n) => (n < 0 ? null : n);
    const time = Rows.range(state.time);
    const index = Rows.range(state.index);
    const { array } = selection();
    const tests = [];
    for (const key of ["map", "cpu", "tid"]) if (state[key] !== "") tests.push([o[key], Number(state[key])]);
    for (const key of ["part", "level", "op"]) if (state[key] !== "") tests.push([o[key], o.strings.indexOf(state[key])]);
    // -1 is what is not known, and no string that is not there.
    const wanted = (i) =>
      (!index || (o.array[i] === array && o.index[i] >= index[0] && o.index[i] <= index[1])) &&
      tests.every(([column, value]) => value >= 0 && column[i] === value) &&
      (!time || (o.time[i] >= time[0] && o.time[i] <= time[1]));
    o.own ??= ownRows(o);
    let instance = Number(state.instance || 0);
    const map = Number(state.map);
    const ofMap = (own) => state.map === "" || own.some((i) => o.map[i] === map);
    if (!o.own[instance] || !ofMap(o.own[instance])) instance = Math.max(0, o.own.findIndex(ofMap));
    const own = o.own[instance] ?? [];
    return {
      name: o.instances[instance],
      instance: String(instance),
      rows: own.filter(wanted),
      of: `of ${count(own.length)} accesses to this instance drawn; ${count(o.instance.length)} of ${count(o.of)} accesses to hot instances are in this page`,
      map: own.length ? number(o.map[own[0]]) : null,
      time: (i) => number(o.time[i]),
      cpu: (i) => number(o.cpu[i]),
      tid: (i) => number(o.tid[i]),
      op: (i) => text(o.op[i]),
      level: (i) => text(o.level[i]),
      latency: (i) => number(o.latency[i]),
      part: (i) => text(o.part[i]),
      slot: (i) => number(o.slot[i]),
      code: (i) => text(o.function[i]),
      hitm: (i) => o.hitm[i] === 1,
      from: (i) => number(o.from[i]),
      after: (i) => number(o.after[i]),
      rule: (i) => o.rules[text(o.rule[i])],
    };
  }

  // The rows of each instance.
  function ownRows({ instances, instance }) {
    const own = instances.map(() => []);
    instance.forEach((n, i) => own[n].push(i));
    return own;
  }

  function rawAccesses() {
    const { column, kinds, parts, tids, time_unit_ns } = rows;
    const kind = (i) => kinds[column.kind[i] - 1];
    const null_ = () => null;
    const chosen = Array.from(pickedRows());
    return {
      name: "the selection",
      instance: "all",
      rows: chosen.sort((a, b) => column.time[a] - column.time[b]),
      of: `of ${count(rows.rows)} raw accesses in this page drawn${rows.whole ? "" : ", each for several of the recording"}`,
      map: state.map === "" ? null : Number(state.map),
      time: (i) => (column.time[i] ? (column.time[i] - 1) * time_unit_ns : null),
      cpu: (i) => (column.cpu[i] ? column.cpu[i] - 1 : null),
      tid: (i) => (column.tid[i] ? tids[column.tid[i] - 1] : null),
      op: (i) => kind(i)[0],
      level: (i) => kind(i)[1],
      latency: (i) => (column.latency[i] ? column.latency[i] - 1 : null),
      part: (i) => (column.part[i] ? parts[column.part[i] - 1][0] : null),
      slot: null_,
      code: null_,
      hitm: (i) => kind(i)[2][7] > 0,
      from: null_,
      after: null_,
      rule: null_,
    };
  }

  // An access that may be a load or a store.
  function diamond(pen, x, y) {
    pen.beginPath();
    pen.moveTo(x, y - 5);
    pen.lineTo(x + 5, y);
    pen.lineTo(x, y + 5);
    pen.lineTo(x - 5, y);
    pen.closePath();
    pen.fill();
  }

  // Accesses with a mark each; more are binned, so many pixels to a bin.
  const EXACT_MARKS = 2_500;
  const BIN = 4;
  const LANE = 24;

  const order = {
    setup(controls) {
      const instances = data.order.instances.map((name, i) => [String(i), name]);
      this.instance = chooser("of", [...instances, ["all", "all raw accesses of the selection"]], (instance) => select({ instance }));
      this.lane = chooser("lanes", [["cpu", "by CPU"], ["tid", "by thread"]], (lane) => select({ lane }));
      controls.append(this.lane, this.instance);
    },

    prepare(width) {
      const lane = state.lane === "tid" ? "tid" : "cpu";
      const accesses = state.instance === "all" ? rawAccesses() : instanceAccesses();
      this.lane.querySelector("select").value = lane;
      this.instance.querySelector("select").value = accesses.instance;
      const lanes = [...new Set(accesses.rows.map(accesses[lane]))].sort((a, b) => (a === null) - (b === null) || a - b);
      const height = 44 + Math.max(1, lanes.length) * LANE + 38;
      return { name: `Order of accesses to ${accesses.name}`, height, draw: (pen, marks) => this.draw(pen, marks, { ...accesses, width, height, lane, lanes }) };
    },

    draw(pen, marks, a) {
      const { width, height, lane, lanes, rows } = a;
      const [left, top] = [84, 44];
      const plot = width - left - 16;
      let [first, last, timed] = [Infinity, 0, true];
      for (const i of rows) {
        const time = a.time(i);
        if (time === null) timed = false;
        else [first, last] = [Math.min(first, time), Math.max(last, time)];
      }
      const zoomed = Rows.range(state.time);
      if (zoomed && timed && rows.length) [first, last] = [Math.max(zoomed[0], 0), Math.max(zoomed[0] + 1, Math.min(zoomed[1], data.time ? data.time[1] - data.time[0] : zoomed[1]))];
      const span = last - first;
      timed &&= span > 0;
      this.span = timed ? { left: left + 5, width: plot - 10, first, ns: span } : null;
      const place = new Map(lanes.map((name, n) => [name, top + n * LANE + LANE / 2 + 4]));
      const y = (i) => place.get(a[lane](i));
      const x = (i, n) => left + 5 + (timed ? (a.time(i) - first) / span : n / Math.max(1, rows.length - 1)) * (plot - 10);
      const shaded = timed ? this.around(pen, marks, a, { left, plot, top, first, span, height }) : new Set();
      pen.strokeStyle = css("--line");
      for (const [name, at] of place) {
        line(pen, left, at, width - 16, at);
        write(pen, name === null ? "unknown" : `${lane === "cpu" ? "CPU" : "thread"} ${name}`, left - 8, at, { align: "right" });
      }
      const binned = timed && rows.length > EXACT_MARKS;
      const levels = new Set();
      for (const i of rows) levels.add(a.level(i));
      if (binned) this.bins(pen, marks, a, { x, y, left, first, span, plot });
      else this.exact(pen, marks, a, x, y);
      pen.fillStyle = css("--faint");
      pen.beginPath();
      pen.arc(left + 6, 14, 4, 0, 7);
      pen.fill();
      write(pen, "load", left + 16, 14, { size: 12, colour: "--ink" });
      pen.fillStyle = css("--faint");
      pen.fillRect(left + 58, 10, 8, 8);
      write(pen, "store", left + 72, 14, { size: 12, colour: "--ink" });
      let beside = left + 126;
      if (rows.some((i) => a.op(i) === null)) {
        pen.fillStyle = css("--faint");
        diamond(pen, beside, 14);
        write(pen, "load or store", beside + 10, 14, { size: 12, colour: "--ink" });
        beside += 112;
      }
      const end = levelLegend(pen, [...levels].sort(byDistance), beside, 14);
      if (shaded.size) write(pen, sayShaded(shaded), end + 8, 14, { size: 12, colour: "--ink" });
      const bottom = top + Math.max(1, lanes.length) * LANE + 2;
      if (timed) timeAxis(pen, first, span, left + 5, plot - 10, bottom);
      const kind = data.order.every ? "Every access" : "Sampled order";
      const edges = rows.reduce((n, i) => n + (a.from(i) !== null), 0);
      const hung = edges ? ` ${count(edges)} loads hang on another CPU's store (HITM)${binned ? ", drawn when zoomed in" : ""}.` : "";
      const how = binned ? ` Binned, ${duration(Math.round((span * BIN) / plot))} to a bin: drag over a stretch to see single accesses.` : "";
      return `${kind}: ${count(rows.length)} ${a.of}.${hung}${how}`;
    },

    exact(pen, marks, a, x, y) {
      const at = new Map(a.rows.map((i, n) => [i, x(i, n)]));
      pen.strokeStyle = css("--alarm");
      pen.lineWidth = 1;
      pen.globalAlpha = 0.55;
      for (const i of a.rows) {
        const from = a.from(i);
        if (from !== null && at.has(from)) line(pen, at.get(from), y(from), at.get(i), y(i));
      }
      pen.globalAlpha = 1;
      const chart = { text: (i) => this.text(a, i), select: (i) => select({ cpu: String(a.cpu(i) ?? ""), tid: String(a.tid(i) ?? "") }) };
      for (const i of a.rows) {
        const store = a.op(i)?.includes("store");
        const cycles = a.latency(i);
        pen.fillStyle = levelColour(a.level(i));
        if (!store && cycles !== null) {
          const stroke = Math.min(LANE - 4, 2 + 2 * Math.max(0, Math.floor(Math.log2(Math.max(1, cycles))) - 3));
          pen.fillRect(at.get(i) - 1, y(i) - stroke, 2, stroke);
        }
        if (a.op(i) === null) {
          diamond(pen, at.get(i), y(i));
        } else {
          pen.beginPath();
          if (store) pen.rect(at.get(i) - 4, y(i) - 4, 8, 8);
          else pen.arc(at.get(i), y(i), 4, 0, 7);
          pen.fill();
        }
        marks.push(new Cell(chart, i, at.get(i) - 5, y(i) - 5, 10, 10));
      }
    },

    // One column of a lane: as high as it has accesses (logarithmic), in the colours of their levels.
    bins(pen, marks, a, { x, y, left, first, span, plot }) {
      const bins = new Map();
      for (const i of a.rows) {
        const column = Math.floor((x(i) - left) / BIN);
        const key = y(i) * 4096 + column;
        let bin = bins.get(key);
        if (!bin) bins.set(key, (bin = { column, y: y(i), n: 0, stores: 0, hitm: 0, levels: new Map() }));
        bin.n++;
        if (a.op(i)?.includes("store")) bin.stores++;
        if (a.hitm(i)) bin.hitm++;
        bin.levels.set(a.level(i), (bin.levels.get(a.level(i)) ?? 0) + 1);
      }
      let most = 1;
      for (const { n } of bins.values()) most = Math.max(most, n);
      for (const bin of bins.values()) {
        const height = 3 + ((LANE - 8) * Math.log1p(bin.n)) / Math.log1p(most);
        const box = { x: left + bin.column * BIN, y: bin.y - height + 4, w: BIN - 0.5, h: height };
        let from = box.y;
        for (const [level, n] of [...bin.levels].sort(([a], [b]) => byDistance(a, b))) {
          pen.fillStyle = levelColour(level);
          pen.fillRect(box.x, from, box.w, (height * n) / bin.n);
          from += (height * n) / bin.n;
        }
        const at = (column) => Math.round(first + ((column * BIN - 5) * span) / (plot - 10));
        const [begin, end] = [Math.max(0, at(bin.column)), at(bin.column + 1)];
        const text = () => [`${duration(begin)} to ${duration(end)}: ${count(bin.n)} accesses, ${count(bin.stores)} of them stores`, ...[...bin.levels].map(([level, n]) => `${level ?? "level unknown"}: ${count(n)}`), ...(bin.hitm ? [`HITM: ${count(bin.hitm)}`] : [])].join("\n");
        marks.push({ ...box, text, select: () => select({ time: `${begin}-${end}` }) });
      }
    },

    // Marking, growth and gaps.
    around(pen, marks, a, { left, plot, top, first, span, height }) {
      const x = (time) => left + 5 + (Math.max(0, Math.min(span, time - first)) / span) * (plot - 10);
      const inside = (from, to) => to >= first && from <= first + span;
      const ofMap = (map, what) => (what === "growth" ? map !== null && map === a.map : map === null);
      const shaded = shadeWindows(pen, marks, ofMap, inside, x, top, height - 38);
      if (!data.time) return shaded;
      pen.strokeStyle = css("--ink");
      pen.lineWidth = 1;
      pen.setLineDash([4, 4]);
      for (const [time, kind, lost] of data.gaps) {
        const since = time - data.time[0];
        if (!inside(since, since)) continue;
        line(pen, x(since), top, x(since), height - 38);
        marks.push({ x: x(since) - 4, y: top - 8, w: 9, h: 10, text: () => `${kind.replaceAll("_", " ")}${lost ? `: ${count(lost)} lost` : ""}` });
      }
      pen.setLineDash([]);
      return shaded;
    },

    // A stretch of time, from a drag.
    brush(from, to) {
      if (!this.span) return;
      const at = (x) => Math.max(0, Math.round(this.span.first + ((x - this.span.left) * this.span.ns) / this.span.width));
      select({ time: `${at(Math.min(from.x, to.x))}-${at(Math.max(from.x, to.x))}` });
    },

    text(a, i) {
      const time = a.time(i);
      const cycles = a.latency(i);
      const what = (i) => `${a.op(i) ?? "op unknown"} of ${a.part(i) ?? "an unknown part"}${a.slot(i) === null ? "" : `, slot ${a.slot(i)}`}`;
      const lines = [`${time === null ? "time unknown" : duration(time)} after the first sample`, what(i)];
      lines.push(`${a.level(i) ?? "level unknown"}${cycles === null ? "" : `, ${count(cycles)} cycles`}${a.hitm(i) ? ", HITM" : ""}`);
      lines.push(`${a.cpu(i) === null ? "CPU unknown" : `CPU ${a.cpu(i)}`}, ${a.tid(i) === null ? "thread unknown" : `thread ${a.tid(i)}`}`);
      if (a.code(i) !== null) lines.push(a.code(i));
      const [from, after] = [a.from(i), a.after(i)];
      if (from !== null) lines.push(`last sampled store of another CPU: ${what(from)} by CPU ${a.cpu(from)}, ${duration(time - a.time(from))} before`);
      if (after !== null && a.rule(i)) {
        const [kept, why] = a.rule(i);
        lines.push(`after its ${what(after)}: ${kept ? "order kept" : "others may see this one first"}; ${why}`);
      }
      return lines.join("\n");
    },
  };

  // Keys.

  const HELP = [["/", "search"], ["Esc", "clear the selection"], ["n  p", "next, previous finding"], ["]  [", "next, previous view"], ["arrows", "in a chart: from mark to mark"], ["Enter", "in a chart: select the mark; a drag selects a stretch"], ["click", "on a row's ◎: select what it names"], ["?", "these keys"]];

  function buildKeys() {
    const list = make("dl");
    for (const [key, does] of HELP) list.append(make("dt", {}, make("code", {}, key)), make("dd", {}, does));
    document.body.append(make("div", { id: "keys", role: "dialog", "aria-label": "Keys", tabindex: "-1", hidden: "" }, make("h2", {}, "Keys"), list), tip);
  }

  function toggleKeys() {
    const keys = byId("keys");
    keys.hidden = !keys.hidden;
    if (!keys.hidden) keys.focus();
  }

  let finding = -1;

  function nextFinding(step) {
    const findings = all(".findings > li");
    if (!findings.length) return;
    finding = (finding + step + findings.length) % findings.length;
    findings[finding].focus();
  }

  function nextView(step) {
    const views = all("main section[id]");
    const at = views.findIndex((section) => section.getBoundingClientRect().top > 90);
    const here = at < 0 ? views.length : at;
    show(views[Math.max(0, Math.min(views.length - 1, step > 0 ? here : here - 2))].id);
  }

  function show(id) {
    const section = byId(id);
    if (!section) return;
    view = id;
    section.scrollIntoView();
    writeFragment();
  }

  addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (!byId("keys").hidden) return toggleKeys();
      document.activeElement?.blur();
      return clearAll();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const does = { "?": toggleKeys, "/": () => selects.q.focus(), n: () => nextFinding(1), p: () => nextFinding(-1), "]": () => nextView(1), "[": () => nextView(-1) }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  });

  addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    if (!link) return;
    event.preventDefault();
    if (link.dataset.map !== undefined) select({ map: link.dataset.map });
    show(link.hash.slice(1));
  });

  addEventListener("hashchange", () => {
    readFragment();
    apply();
    if (view) byId(view)?.scrollIntoView();
  });

  const KINDS = { heatmap, latency, order, path, background, operations, brackets };
  document.documentElement.classList.add("scripted");
  buildKeys();
  buildBar();
  document.querySelector("h1").after(make("p", { id: "selected", class: "selected" }));
  equipTables();
  offerListings();
  for (const element of all("[data-plot]")) plots.push(new Plot(element, KINDS[element.dataset.plot]));
  readFragment();
  if (view) byId(view)?.scrollIntoView();
  buildViews();
  equipDetails();
  apply();
  let resized = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(resized);
    resized = requestAnimationFrame(() => {
      wide = 0;
      apply();
    });
  });
  dark.addEventListener("change", () => {
    forgetColours();
    apply();
  });
})();
