"use strict";
// The raw accesses of the page as columns: unpacked, selected and counted. Knows nothing of the
// document, so that its tests run without one.
const Rows = (() => {
  const COUNTS = ["samples", "loads", "stores", "l1_hit", "lfb", "l1_miss", "llc_miss", "hitm", "level_unknown"];

  // One line of JSON, then the columns plane by plane (src/report/planes.rs).
  function columnsOf(bytes) {
    const end = bytes.indexOf(10);
    const packed = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
    const n = packed.rows;
    packed.column = {};
    let at = end + 1;
    for (const [name, width] of packed.columns) {
      const values = width > 4 ? new Float64Array(n) : new Uint32Array(n);
      for (let plane = 0; plane < width; plane++, at += n) {
        if (plane < 4 && width <= 4) for (let i = 0; i < n; i++) values[i] |= bytes[at + i] << (8 * plane);
        else for (let i = 0; i < n; i++) values[i] += bytes[at + i] * 2 ** (8 * plane);
      }
      packed.column[name] = values;
    }
    return packed;
  }

  function unpack(bytes) {
    const rows = columnsOf(bytes);
    rows.whole = rows.kinds.every(([, , [samples]]) => samples === 1);
    return rows;
  }

  // The heatmap's cells in fine bins (src/report/cells.rs). Of each grid the buckets or groups in one bin,
  // and where its cells are.
  function unpackCells(bytes) {
    const cells = columnsOf(bytes);
    let first = 0;
    cells.grids = cells.grids.map(([width, n]) => ({ width, first, end: (first += n) }));
    return cells;
  }

  // Sums of a grid's cells by what `key` makes of a bucket or group, the first of its bin, and a byte;
  // undefined leaves the cell out.
  function cellSums(cells, { width, first, end }, key) {
    const { bin, off, ...counts } = cells.column;
    const groups = new Map();
    for (let i = first; i < end; i++) {
      const k = key((bin[i] - 1) * width, off[i] - 1);
      if (k === undefined) continue;
      let group = groups.get(k);
      if (group === undefined) groups.set(k, (group = zero()));
      for (const name in counts) if (counts[name][i]) add(group, name, counts[name][i] - 1, 1);
    }
    return groups;
  }

  function range(text) {
    const match = /^(\d+)-(\d+)$/.exec(text ?? "");
    return match && Number(match[1]) <= Number(match[2]) ? [Number(match[1]), Number(match[2])] : null;
  }

  // Numbers of the rows that a selection leaves: { map, part, level, op, cpu, tid, time, index, array }.
  function pick(rows, selection) {
    const { column } = rows;
    const picked = new Uint32Array(rows.rows);
    let n = rows.rows;
    for (let i = 0; i < n; i++) picked[i] = i;
    const among = (values, wanted) => {
      const allowed = new Uint8Array(Math.max(0, ...wanted) + 1);
      for (const value of wanted) allowed[value] = 1;
      let kept = 0;
      for (let p = 0; p < n; p++) if (allowed[values[picked[p]]]) picked[kept++] = picked[p];
      n = kept;
    };
    const within = (values, first, last) => {
      let kept = 0;
      for (let p = 0; p < n; p++) {
        const value = values[picked[p]];
        if (value >= first && value <= last) picked[kept++] = picked[p];
      }
      n = kept;
    };
    const ids = (list, fits) => list.flatMap((item, i) => (fits(item) ? [i + 1] : []));
    const is = (key) => selection[key] !== undefined && selection[key] !== "";
    const same = (key) => within(column[key], Number(selection[key]) + 1, Number(selection[key]) + 1);
    if (is("map")) same("map");
    if (is("part")) among(column.part, ids(rows.parts, ([part]) => part === selection.part));
    if (is("level") || is("op")) {
      const fits = ([op, level]) => (!is("level") || level === selection.level) && (!is("op") || op === selection.op);
      among(column.kind, ids(rows.kinds, fits));
    }
    if (is("cpu")) same("cpu");
    if (is("tid")) among(column.tid, ids(rows.tids, (tid) => String(tid) === selection.tid));
    const time = range(selection.time);
    if (time) {
      const [first, last] = time.map((ns) => Math.floor(ns / rows.time_unit_ns) + 1);
      within(column.time, first, last);
    }
    const index = range(selection.index);
    if (index && selection.array !== undefined) {
      within(column.array, Number(selection.array) + 1, Number(selection.array) + 1);
      within(column.index, index[0] + 1, index[1] + 1);
    }
    return picked.subarray(0, n);
  }

  function zero() {
    return { samples: 0, loads: 0, stores: 0, l1_hit: null, lfb: null, l1_miss: null, llc_miss: null, hitm: null, level_unknown: 0, latency_sum: null, latency_n: 0, accesses: 0, rows: 0, last: -1, chain: null };
  }

  // Numbers of groups from 1 on by row, 0 for none, and what `key` makes of a row's number by group.
  function grouping(rows, key, picked) {
    const of = new Uint32Array(rows.rows);
    const keys = [];
    const ids = new Map();
    const n = picked ? picked.length : rows.rows;
    for (let p = 0; p < n; p++) {
      const i = picked ? picked[p] : p;
      const k = key(i);
      if (k === undefined) continue;
      let id = ids.get(k);
      if (id === undefined) ids.set(k, (id = keys.push(k)));
      of[i] = id;
    }
    return { of, keys };
  }

  // Sums by group, or by what a function makes of a row's number; undefined leaves the row out. The rows of
  // a group that have a latency are chained, from the last to the first, for its quantiles.
  function sums(rows, picked, by) {
    const { of, keys } = typeof by === "function" ? grouping(rows, by, picked) : by;
    const { kind, latency } = rows.column;
    const kinds = rows.kinds.length;
    const samples = rows.kinds.map(([, , [n]]) => n);
    const next = new Int32Array(picked.length);
    // Of each group how often it has each kind, and its last row with a latency.
    const counts = new Uint32Array((keys.length + 1) * kinds);
    const last = new Int32Array(keys.length + 1).fill(-1);
    for (let p = 0; p < picked.length; p++) {
      const i = picked[p];
      const id = of[i];
      counts[id * kinds + kind[i] - 1]++;
      if (latency[i] > 0) {
        next[p] = last[id];
        last[id] = p;
      }
    }
    const chain = { rows, picked, next, samples };
    const groups = new Map();
    keys.forEach((key, n) => {
      const whole = { ...zero(), last: last[n + 1], chain };
      for (let each = 0; each < kinds; each++) {
        const times = counts[(n + 1) * kinds + each];
        if (!times) continue;
        whole.accesses += times;
        COUNTS.forEach((name, c) => add(whole, name, rows.kinds[each][2][c], times));
      }
      if (!whole.accesses) return;
      for (let p = whole.last; p >= 0; p = next[p]) {
        const i = picked[p];
        const n = samples[kind[i] - 1];
        whole.latency_sum += n * (latency[i] - 1);
        whole.latency_n += n;
        whole.rows++;
      }
      groups.set(key, whole);
    });
    return groups;
  }

  // Sums of sums, by what `key` makes of theirs; undefined leaves one out.
  function regroup(sums, key) {
    const groups = new Map();
    for (const [of, sum] of sums) {
      const k = key(of);
      if (k === undefined) continue;
      let group = groups.get(k);
      if (group === undefined) groups.set(k, (group = { ...zero(), members: [] }));
      for (const name of [...COUNTS, "accesses", "rows"]) add(group, name, sum[name], 1);
      if (sum.latency_n) for (const name of ["latency_sum", "latency_n"]) add(group, name, sum[name], 1);
      group.members.push(sum);
    }
    return groups;
  }

  // A count that one kind of access tells is known.
  function add(whole, name, n, times) {
    if (n !== null) whole[name] += n * times;
  }

  // Nearest rank, each latency as often as its row stands for.
  function quantile(sum, share) {
    if (!sum.latency_n) return null;
    // Of all samples the tables know both that are shown.
    if (sum.quantiles) return sum.quantiles[share === 0.5 ? 0 : 1];
    const { values, upTo } = (sum.steps ??= steps(sum));
    const rank = Math.ceil(share * sum.latency_n);
    return values[upTo.findIndex((n) => n >= rank)] ?? null;
  }

  // Larger latencies are sorted, these counted.
  const USUAL = 1 << 14;
  const usual = new Float64Array(USUAL);

  // The distinct latencies of a group, smallest first, and how many samples have each or less.
  function steps(sum) {
    let [least, most] = [USUAL, -1];
    const beyond = [];
    for (const { last, chain } of sum.members ?? [sum]) {
      if (last < 0) continue;
      const { rows, picked, next, samples } = chain;
      const { kind, latency } = rows.column;
      for (let p = last; p >= 0; p = next[p]) {
        const i = picked[p];
        const cycles = latency[i] - 1;
        const n = samples[kind[i] - 1];
        if (cycles >= USUAL) {
          beyond.push([cycles, n]);
          continue;
        }
        usual[cycles] += n;
        if (cycles < least) least = cycles;
        if (cycles > most) most = cycles;
      }
    }
    const [values, upTo] = [[], []];
    let seen = 0;
    const step = (cycles, n) => {
      seen += n;
      values.push(cycles);
      upTo.push(seen);
    };
    for (let cycles = least; cycles <= most; cycles++) {
      if (usual[cycles]) step(cycles, usual[cycles]);
      usual[cycles] = 0;
    }
    beyond.sort(([a], [b]) => a - b).forEach(([cycles, n]) => step(cycles, n));
    return { values, upTo };
  }

  // The same measures as the tables: null is unknown or not applicable.
  function measure(sum, name) {
    if (name === "mean latency") return sum.latency_n ? Math.floor(sum.latency_sum / sum.latency_n) : null;
    if (name === "p50") return quantile(sum, 0.5);
    if (name === "p95" || name === "p95 latency") return quantile(sum, 0.95);
    const column = { "L1 miss": "l1_miss", "LLC miss": "llc_miss", HITM: "hitm", latency: "latency_sum", accesses: "samples" }[name] ?? name;
    const untold = (name === "loads" || name === "stores") && sum.samples && !(sum.loads + sum.stores);
    return untold ? null : sum[column];
  }

  // The exact 95 % interval of a share (Clopper and Pearson), as src/tables/interval.rs.
  function clopperPearson(hits, of) {
    if (!of) return [0, 1];
    const low = hits === 0 ? 0 : root((p) => binomialTail(hits, of, p) - 0.025);
    const high = hits === of ? 1 : root((p) => binomialTail(hits + 1, of, p) - 0.975);
    return [low, high];
  }

  // Where a function that rises from below zero crosses it.
  function root(rising) {
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (rising(middle) < 0) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  // The chance of at least k hits in n: the regularized incomplete beta function of p at (k, n - k + 1),
  // by Lentz's continued fraction.
  function binomialTail(k, n, p) {
    if (k <= 0) return 1;
    if (k > n || p <= 0) return 0;
    if (p >= 1) return 1;
    const [a, b] = [k, n - k + 1];
    if (p > (a + 1) / (a + b + 2)) return 1 - fraction(b, a, 1 - p);
    return fraction(a, b, p);
  }

  function fraction(a, b, x) {
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
    const small = 1e-300;
    const safe = (value) => (Math.abs(value) < small ? small : value);
    let c = 1;
    let d = 1 / safe(1 - ((a + b) * x) / (a + 1));
    let value = d;
    for (let m = 1; m < 10_000; m++) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 / safe(1 + even * d);
      c = safe(1 + even / c);
      value *= d * c;
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 / safe(1 + odd * d);
      c = safe(1 + odd / c);
      value *= d * c;
      if (Math.abs(d * c - 1) < 1e-14) break;
    }
    return front * value;
  }

  // Lanczos, g = 7, nine terms.
  function logGamma(x) {
    const terms = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
    const t = x + 6.5;
    const sum = terms.reduce((sum, term, i) => (i ? sum + term / (x - 1 + i) : term), 0);
    return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
  }

  return { unpack, unpackCells, pick, grouping, sums, regroup, cellSums, zero, quantile, measure, range, clopperPearson };
})();
if (typeof module !== "undefined") module.exports = Rows;
